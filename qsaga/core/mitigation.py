"""Error suppression and mitigation: what a provider is to do about the noise of a device.

Fields and their words are those of the options of qiskit-ibm-runtime's ``SamplerV2`` and
``EstimatorV2``. What is left out is left to the provider, and nothing is sent about it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from qsaga.core.contract import StrictContract
from qsaga.core.shots import MAX_SHOTS

DEFAULT_LEVEL = 1
"""Resilience level of an estimate that says something else about mitigation, but no level."""
DEFAULT_NOISE_FACTORS = (1.0, 3.0, 5.0)
DEFAULT_EXTRAPOLATORS = ("exponential", "linear")
DEFAULT_OVERHEAD = 100.0
"""Sampling overhead that probabilistic error cancellation may have unless it is told otherwise."""
LEARNING_SHOTS = 4 * 9 * 6 * 32 * 128
"""Of layer noise learning by its defaults: layers, bases, depths, randomisations, shots of each."""
TWIRLS = 32
"""Randomisations that shots are spread over where nothing is said."""
FEWEST_SHOTS = 64
"""Of each randomisation where nothing is said."""

Extrapolator = Literal[
    "linear",
    "exponential",
    "double_exponential",
    "polynomial_degree_1",
    "polynomial_degree_2",
    "polynomial_degree_3",
    "polynomial_degree_4",
    "polynomial_degree_5",
    "polynomial_degree_6",
    "polynomial_degree_7",
    "fallback",
]
_NEEDED: dict[str, int] = {
    "linear": 2,
    "exponential": 2,
    "double_exponential": 4,
    "fallback": 2,
    **{f"polynomial_degree_{degree}": degree + 1 for degree in range(1, 8)},
}


def _each_once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) != len(values):
        raise ValueError("a value is there twice (allowed: each once)")
    return values


NoiseFactors = Annotated[
    tuple[Annotated[float, Field(ge=1, le=25)], ...],
    Field(min_length=2, max_length=10),
    AfterValidator(_each_once),
]
Extrapolators = Annotated[
    tuple[Extrapolator, ...],
    Field(min_length=1, max_length=5),
    AfterValidator(_each_once),
    BeforeValidator(lambda given: (given,) if isinstance(given, str) else given),
]
_Auto = BeforeValidator(lambda given: None if given == "auto" else given)
"""The provider's word for what is left to it."""


class _Said(StrictContract):
    """Options of which only those that were set are told."""

    @model_serializer(mode="wrap")
    def _told(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        body: dict[str, Any] = handler(self)
        return {name: value for name, value in body.items() if value not in (None, {})}

    @property
    def silent(self) -> bool:
        """Whether nothing is set."""
        return not self.model_dump(mode="json")


Options = TypeVar("Options", bound=_Said)


class DynamicalDecoupling(_Said):
    """Pulses on idle qubits that cancel slow noise.

    Args:
        enable: whether it is done; the provider's default is that it is not.
        sequence_type: of the pulses.
    """

    enable: bool | None = None
    sequence_type: Literal["XX", "XpXm", "XY4"] | None = None

    @model_validator(mode="after")
    def _is_on(self) -> Self:
        if self.sequence_type is not None and not self.enable:
            raise _refused("sequence_type", "decoupling is not switched on", "with enable: true")
        return self


class Twirling(_Said):
    """Random Paulis around gates or measurements, which make coherent errors into random ones.

    Args:
        enable_gates: around two-qubit gates.
        enable_measure: around measurements.
        num_randomizations: over how many random circuits the shots are spread; ``auto`` is the
            same as nothing.
        shots_per_randomization: of each of them; likewise.
        strategy: which qubits are twirled in a layer.
    """

    enable_gates: bool | None = None
    enable_measure: bool | None = None
    num_randomizations: Annotated[int | None, Field(ge=1, le=10_000), _Auto] = None
    shots_per_randomization: Annotated[int | None, Field(ge=1, le=MAX_SHOTS), _Auto] = None
    strategy: Literal["active", "active-accum", "active-circuit", "all"] | None = None

    @property
    def wanted(self) -> bool:
        """Whether something is twirled by these options alone."""
        return bool(self.enable_gates or self.enable_measure)

    @property
    def tuned(self) -> str | None:
        """The first option that says how to twirl."""
        names = ("num_randomizations", "shots_per_randomization", "strategy")
        return next((name for name in names if getattr(self, name) is not None), None)

    def shots(self, shots: int) -> int:
        """Shots that run for so many that are asked: whole randomisations of equal size."""
        many, each = self.num_randomizations, self.shots_per_randomization
        if many is None and each is None:
            each = max(FEWEST_SHOTS, math.ceil(shots / TWIRLS))
        if each is None:
            each = math.ceil(shots / (many or 1))
        return each * (many or math.ceil(shots / each))


class Zne(_Said):
    """Zero-noise extrapolation (Temme, Bravyi, Gambetta 2017, arXiv:1612.02058).

    Args:
        noise_factors: by which the noise is amplified; 1, 3 and 5 unless told otherwise.
        extrapolator: one, or several that are tried in this order.
        amplifier: how the noise is amplified.
    """

    noise_factors: NoiseFactors | None = None
    extrapolator: Extrapolators | None = None
    amplifier: Literal["gate_folding", "gate_folding_front", "gate_folding_back", "pea"] | None = (
        None
    )

    @property
    def factors(self) -> tuple[float, ...]:
        """The noise factors, whoever chooses them."""
        return self.noise_factors or DEFAULT_NOISE_FACTORS

    @model_validator(mode="after")
    def _enough_points(self) -> Self:
        for name in self.extrapolator or DEFAULT_EXTRAPOLATORS:
            if len(self.factors) < _NEEDED[name]:
                raise _refused(
                    "noise_factors",
                    f"{len(self.factors)} of them are too few for {name}",
                    f"at least {_NEEDED[name]}",
                )
        return self


class Pec(_Said):
    """Probabilistic error cancellation (van den Berg et al. 2023, arXiv:2201.09866).

    Args:
        max_overhead: by which factor it may multiply the shots; 100 unless told otherwise.
        noise_gain: share of the noise that is left: 0 removes all of it.
    """

    max_overhead: Annotated[float, Field(gt=0, le=10_000)] | None = None
    noise_gain: Annotated[float | None, Field(ge=0, le=100), _Auto] = None


class Resilience(_Said):
    """Methods of mitigation, each on its own; what is left out follows from the level.

    Args:
        measure_mitigation: of readout errors, by twirled readout (van den Berg, Minev and Temme
            2022, arXiv:2012.09738).
        zne_mitigation: zero-noise extrapolation.
        zne: how.
        pec_mitigation: probabilistic error cancellation; not beside ``zne_mitigation``.
        pec: how.
    """

    measure_mitigation: bool | None = None
    zne_mitigation: bool | None = None
    zne: Zne | None = None
    pec_mitigation: bool | None = None
    pec: Pec | None = None

    @model_validator(mode="after")
    def _one_method(self) -> Self:
        if self.pec_mitigation and self.zne_mitigation:
            raise _refused(
                "pec_mitigation", "it cannot go with zne_mitigation", "one of the two switched on"
            )
        if self.pec is not None and not self.pec.silent and not self.pec_mitigation:
            raise _refused("pec", "pec_mitigation is not switched on", "with pec_mitigation: true")
        return self


class Suppression(_Said):
    """What samples can be asked for: suppression of errors while the circuit runs."""

    dynamical_decoupling: DynamicalDecoupling | None = None
    twirling: Twirling | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_samples(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            for name in ("resilience_level", "resilience"):
                if name in given and name not in cls.model_fields:
                    raise _refused(
                        name,
                        "mitigation is of expectation values",
                        "dynamical_decoupling and twirling; or an estimate workload",
                    )
        return given

    @model_validator(mode="after")
    def _twirls(self) -> Self:
        if self.twirling and (name := self.twirling.tuned) and not self.twirls:
            raise _refused(
                f"twirling.{name}",
                "twirling is not switched on",
                "with enable_gates or enable_measure: true",
            )
        return self

    @property
    def twirls(self) -> bool:
        """Whether anything is twirled."""
        return self.twirling is not None and self.twirling.wanted

    def executions(self, shots: int) -> int:
        """Shots that the machine is expected to run where so many are asked for."""
        return self.twirling.shots(shots) if self.twirling and self.twirls else shots

    def suits(self, shots: int) -> None:
        """Refuse randomisations that come to fewer shots than are asked for."""
        found = self.twirling.shots(shots) if self.twirling else shots
        if found < shots:
            raise _refused(
                "mitigation.twirling.num_randomizations",
                f"with shots_per_randomization it comes to {found} shots, {shots} are asked for",
                "at least as many, or only one of the two",
            )


class Mitigation(Suppression):
    """What estimates can be asked for.

    Args:
        resilience_level: 0 is no mitigation, 1 mitigates readout errors, 2 extrapolates to zero
            noise as well and twirls gates.
        resilience: single methods, beside or in place of a level.
    """

    resilience_level: Annotated[int, Field(ge=0, le=2)] | None = None
    resilience: Resilience | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        said = self.resilience
        if said is None:
            return self
        if said.pec_mitigation and said.zne_mitigation is None and self._level == 2:
            raise _refused(
                "resilience.pec_mitigation",
                "resilience_level 2 switches zne_mitigation on, and it cannot go with that",
                "with zne_mitigation: false, or a lower level",
            )
        if said.zne is not None and not said.zne.silent and not self.extrapolates:
            raise _refused(
                "resilience.zne",
                "zne_mitigation is not switched on",
                "with zne_mitigation: true or resilience_level: 2",
            )
        return self

    @property
    def _level(self) -> int:
        return DEFAULT_LEVEL if self.resilience_level is None else self.resilience_level

    def _on(self, method: str, level: int) -> bool:
        said = getattr(self.resilience, method, None)
        return self._level >= level if said is None else bool(said)

    @property
    def extrapolates(self) -> bool:
        """Whether values are extrapolated to zero noise."""
        return self._on("zne_mitigation", 2)

    @property
    def cancels(self) -> bool:
        """Whether errors are cancelled with learned probabilities."""
        return bool(self.resilience and self.resilience.pec_mitigation)

    @property
    def reads(self) -> bool:
        """Whether readout errors are mitigated."""
        return self._on("measure_mitigation", 1)

    @property
    def _zne(self) -> Zne:
        return (self.resilience and self.resilience.zne) or Zne()

    @property
    def twirls(self) -> bool:
        """Whether anything is twirled: all methods need it but folding of gates."""
        said = self.twirling or Twirling()
        by_level = (said.enable_gates is None and self._level == 2) or (
            said.enable_measure is None and self._level >= 1
        )
        return said.wanted or by_level or self.reads or self.cancels

    def executions(self, shots: int) -> int:
        """Shots that the machine is expected to run where so many are asked for.

        Each noise factor takes all shots, calibrating the readout as many again. Cancelling is
        counted with the whole overhead that it may have. Learning the noise of layers, for
        cancelling and for the amplifier ``pea``, is counted with IBM's defaults.
        """
        total = run = (self.twirling or Twirling()).shots(shots) if self.twirls else shots
        if self.extrapolates:
            total *= len(self._zne.factors)
        if self.cancels:
            pec = self.resilience and self.resilience.pec
            total = math.ceil(total * max(1.0, (pec and pec.max_overhead) or DEFAULT_OVERHEAD))
        if self.reads:
            total += run
        if self.cancels or (self.extrapolates and self._zne.amplifier == "pea"):
            total += LEARNING_SHOTS
        return total


def unless_silent(given: Options | None) -> Options | None:
    """Options; None where none is set, which is the same as no options."""
    return None if given is None or given.silent else given


def for_run(asked: Suppression | None) -> Mitigation | None:
    """What a run is sent with; None where nothing is set."""
    if asked is None:
        return None
    return Mitigation.model_validate(asked.model_dump(mode="json"))


def _refused(at: str, problem: str, allowed: str) -> PydanticCustomError:
    context = {"problem": problem, "at": at, "allowed": allowed}
    return PydanticCustomError("mitigation", "{problem}", context)
