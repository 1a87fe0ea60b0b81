"""What error mitigation costs in shots, read from a submission without any quantum software."""

from __future__ import annotations

from typing import Any

_FACTORS = 3


def asks_for_mitigation(params: dict[str, Any]) -> bool:
    """Whether an estimator job says anything about noise."""
    options = params.get("options") or {}
    return params.get("resilience_level") is not None or any(
        options.get(name) for name in ("resilience", "twirling", "dynamical_decoupling")
    )


def repeats(params: dict[str, Any]) -> int:
    """How often the shots of an estimator job run: each noise factor, and calibrating the readout.

    Methods that are accepted and not emulated take no time.
    """
    if not asks_for_mitigation(params):
        return 1
    resilience = (params.get("options") or {}).get("resilience") or {}
    level = params.get("resilience_level", 1)
    zne = resilience.get("zne") or {}
    extrapolates = _on(resilience.get("zne_mitigation"), level, 2)
    if resilience.get("pec_mitigation") or zne.get("amplifier") == "pea":
        extrapolates = False
    calibrates = _on(resilience.get("measure_mitigation"), level, 1)
    factors = zne.get("noise_factors")
    count = _FACTORS if factors is None else len(factors)
    return (count if extrapolates else 1) + calibrates


def _on(said: Any, level: int, least: int) -> bool:
    return level >= least if said is None else bool(said)
