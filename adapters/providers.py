"""The providers that can be configured: our own, and those of the entry point group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points

from qsaga.core.errors import InvalidRequest
from qsaga.core.ports import QuantumProvider
from qsaga.settings import Settings

GROUP = "qsaga.providers"
"""Entry points of this group are factories, named as ``QSAGA_PROVIDER`` names them."""

Factory = Callable[[Settings], QuantumProvider]
_FIELD = "QSAGA_PROVIDER"


def _ibm(settings: Settings) -> QuantumProvider:
    from adapters.ibm import IBMProvider

    return IBMProvider(settings.ibm)


def _aer(settings: Settings) -> QuantumProvider:
    from adapters.aer_provider import AerProvider

    return AerProvider(settings.data_dir / "providers" / "aer")


_OWN: Mapping[str, Factory] = {"ibm": _ibm, "aer": _aer}


def names() -> tuple[str, ...]:
    """Names of all providers that can be configured, sorted."""
    return tuple(sorted({*_OWN, *(point.name for point in entry_points(group=GROUP))}))


def provider(settings: Settings) -> QuantumProvider | None:
    """The configured provider; None where nothing is configured and no account is there.

    Raises InvalidRequest, with ``QSAGA_PROVIDER`` as field, for an unknown name, for a name that
    two packages claim, and for a factory that cannot be imported or is not callable.
    """
    name = settings.provider
    if name is None:
        return _ibm(settings) if settings.ibm.has_account else None
    return _factory(name)(settings)


def _factory(name: str) -> Factory:
    found = tuple(entry_points(group=GROUP, name=name))
    own = [_OWN[name]] if name in _OWN else []
    if not found and not own:
        raise InvalidRequest(_FIELD, f"unknown provider {name!r}", ", ".join(names()))
    if len(found) + len(own) > 1:
        claims = ", ".join(point.value for point in found)
        raise InvalidRequest(_FIELD, f"{name!r} is claimed more than once: {claims}")
    if own:
        return own[0]
    try:
        factory = found[0].load()
    except Exception as error:  # importing a package may raise anything
        raise InvalidRequest(
            _FIELD, f"{name!r} cannot be loaded from {found[0].value}: {error}"
        ) from error
    if not callable(factory):
        raise InvalidRequest(_FIELD, f"{found[0].value} is not a factory of a provider")
    return factory  # type: ignore[no-any-return]
