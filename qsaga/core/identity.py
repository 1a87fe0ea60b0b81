"""Who calls, and what he may do. The signature of a token is checked by an adapter, not here."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Protocol

from qsaga.core.contract import Contract
from qsaga.core.errors import Forbidden, Unauthenticated

CALLER_HEADER = "qsaga-caller"
"""Temporal header that carries the caller's token (a signed JWT) with start, signal and update."""
SEAL_HEADER = "qsaga-seal"
"""Temporal header by which one workflow of qsaga proves itself to another."""
EVERY_TENANT = "*"


class Role(StrEnum):
    """What a caller may do: see ``docs/identity.md``."""

    SUBMITTER = "submitter"
    APPROVER = "approver"
    OPERATOR = "operator"
    AUDITOR = "auditor"


class Caller(Contract):
    """A caller as his token says.

    Args:
        subject: who, the ``sub`` of the token.
        tenants: for which tenants he may act; ``*`` is every one.
        roles: what he may do there.
        verified: the token was checked; False is somebody's own word, where identity is off.
    """

    subject: str
    tenants: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ()
    verified: bool = True

    def acts_for(self, tenant: str) -> bool:
        """Whether he may act for the tenant at all."""
        return EVERY_TENANT in self.tenants or tenant in self.tenants


def said_to_be(subject: str | None) -> Caller:
    """The caller where identity is off: whoever he says he is, allowed everything."""
    return Caller(
        subject=subject or "anonymous",
        tenants=(EVERY_TENANT,),
        roles=tuple(Role),
        verified=False,
    )


def require(caller: Caller | None, role: Role, tenant: str | None) -> Caller:
    """The caller, if he may act in that role.

    Args:
        caller: None where no token came.
        role: that the action takes.
        tenant: whose job or account it is about; None is an action on the whole deployment.

    Raises:
        Unauthenticated: there is no caller.
        Forbidden: he has another role, or acts for other tenants.
    """
    if caller is None:
        raise Unauthenticated(f"token: missing (allowed: a signed token with role {role.value!r})")
    if role not in caller.roles:
        has = ", ".join(sorted(caller.roles)) or "none"
        raise Forbidden(f"role: {caller.subject!r} is not {role.value!r} (his roles: {has})")
    if tenant is not None and not caller.acts_for(tenant):
        raise Forbidden(f"tenant: {caller.subject!r} may not act for tenant {tenant!r}")
    if tenant is None and EVERY_TENANT not in caller.tenants:
        raise Forbidden(f"tenant: {caller.subject!r} does not act for every tenant")
    return caller


class IdentityVerifier(Protocol):
    """Checks tokens. Fast and without waiting where it can: keys are kept."""

    def verify(self, token: str) -> Caller:
        """The caller. Raises Unauthenticated: expired, foreign, damaged, for another audience."""


IdentityMode = Literal["off", "required"]
