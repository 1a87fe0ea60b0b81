"""When the policy asks a person."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from qsaga.core.approval import ApprovalTerms, Person
from qsaga.core.contract import Seconds, StrictContract
from qsaga.core.facts import Environment, Facts, Forecast, as_sensitive
from qsaga.core.jobs import Sensitivity


class ApprovalRule(StrictContract):
    """When a person must say yes: if every condition that is given holds.

    Args:
        name: what the rule is called in decisions.
        always: True where no other condition is given.
        money_above: the forecast of a hardware run is above this, in ``currency``.
        currency: of ``money_above``; a forecast in another one counts as above.
        quantum_seconds_above: the forecast of a hardware run is above this.
        sensitivity_at_least: the data are this sensitive or more.
        environment: the job is of this environment.
        first_run_of_template: no job of the template has been answered for the tenant yet.
        hardware_only: only while hardware is on the job's ladder.
        tenants: only jobs of these tenants; empty for all, and no condition by itself.
        approvals: how many different people must say yes.
        four_eyes: the submitter may not be one of them.
        approvers: who may decide; empty is every approver of the tenant.
        escalate_to: who else may, once the request is escalated.
        expires: seconds until the request lapses.
        remind: seconds until the approvers are reminded.
        escalate: seconds until ``escalate_to`` is asked too.
        on_expiry: ``end`` ends the job; ``fallback`` lets it be answered without hardware.
        because: the reason in words.
    """

    name: str
    always: bool = False
    money_above: Annotated[Decimal, Field(ge=0)] | None = None
    currency: str = "USD"
    quantum_seconds_above: Annotated[float, Field(ge=0)] | None = None
    sensitivity_at_least: Sensitivity | None = None
    environment: Environment | None = None
    first_run_of_template: bool = False
    hardware_only: bool = False
    tenants: tuple[str, ...] = ()
    approvals: Annotated[int, Field(ge=1, le=5)] = 1
    four_eyes: bool = False
    approvers: tuple[Person, ...] = ()
    escalate_to: tuple[Person, ...] = ()
    expires: Seconds = 24 * 3600.0
    remind: Seconds | None = None
    escalate: Seconds | None = None
    on_expiry: Literal["end", "fallback"] = "end"
    because: str

    @model_validator(mode="after")
    def _says_when(self) -> Self:
        given = (
            self.money_above is not None,
            self.quantum_seconds_above is not None,
            self.sensitivity_at_least is not None,
            self.environment is not None,
            self.first_run_of_template,
            self.hardware_only,
        )
        if self.always is any(given):
            raise ValueError(
                f"approvals.{self.name}: give always = true, or conditions, and not both"
            )
        if self.escalate is not None and not self.escalate_to:
            raise ValueError(f"approvals.{self.name}: escalate needs escalate_to")
        return self

    def applies(self, facts: Facts, expected: Forecast | None) -> bool:
        """Whether the rule is about these facts; ``expected`` None is no hardware run."""
        return (
            (self.money_above is None or self._costs_more(expected))
            and (
                self.quantum_seconds_above is None
                or (expected is not None and expected.quantum_seconds > self.quantum_seconds_above)
            )
            and as_sensitive(facts, self.sensitivity_at_least)
            and self.environment in (None, facts.environment)
            and (
                not self.first_run_of_template
                or (facts.template is not None and facts.template_runs == 0)
            )
            and (not self.hardware_only or expected is not None)
            and (not self.tenants or facts.tenant in self.tenants)
        )

    def _costs_more(self, expected: Forecast | None) -> bool:
        if expected is None or self.money_above is None or expected.money == 0:
            return False
        return expected.currency != self.currency or expected.money > self.money_above

    def terms(self) -> ApprovalTerms:
        """What is asked when the rule fires."""
        return ApprovalTerms(rule=self.name, **self.model_dump(include=_TERMS))


_TERMS = set(ApprovalTerms.model_fields) - {"rule"}
