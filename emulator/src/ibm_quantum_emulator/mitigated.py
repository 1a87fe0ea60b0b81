"""Error mitigation of the older estimator, done by the client's own code for it.

``qiskit_ibm_runtime.executor_estimator`` turns PUBs and options into a program for the executor:
folded gates, twirled gates and measurements, calibration of the readout. What the service does for
the older estimator is not public; here its jobs go the same way, and the result says what was done.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from ibm_quantum_schemas.estimator.version_0_1.options import OptionsModel as EstimatorSchema
from ibm_quantum_schemas.sampler.version_0_1.options import OptionsModel as SamplerSchema
from pydantic import ValidationError
from qiskit.primitives import PubResult
from qiskit.primitives.containers import DataBin
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit_ibm_runtime.decoders.executor_estimator.post_processor_v0_1 import (
    estimator_v2_post_processor_v0_1,
)
from qiskit_ibm_runtime.executor_estimator.finalize_options import finalize_estimator_options
from qiskit_ibm_runtime.executor_estimator.prepare import prepare
from qiskit_ibm_runtime.options_models.estimator import EstimatorOptions
from qiskit_ibm_runtime.quantum_program import QuantumProgram
from qiskit_ibm_runtime.results.quantum_program import QuantumProgramResult

from .device import Rejected
from .resilience import asks_for_mitigation

_NOT_UNDERSTOOD = 1518
_TWIRLING = (
    *("enable_gates", "enable_measure"),
    *("num_randomizations", "shots_per_randomization", "strategy"),
)
Run = Callable[[QuantumProgram, int], list[dict[str, Any]]]
"""Runs a program with a seed; for each item, name to array."""


def checked(program: str, params: dict[str, Any]) -> None:
    """Refuse options that IBM's schema of the program does not know, or knows otherwise.

    Raises:
        Rejected: With the option at fault.
    """
    schema = EstimatorSchema if program == "estimator" else SamplerSchema
    level = params.get("resilience_level")
    if level is not None and (program != "estimator" or level not in (0, 1, 2)):
        raise Rejected(f"resilience_level: {level!r} is not allowed here.", _NOT_UNDERSTOOD)
    try:
        schema.model_validate(params.get("options") or {})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Rejected(f"options.{where}: {first['msg']}", _NOT_UNDERSTOOD) from error


def unsuppressed(options: dict[str, Any]) -> dict[str, Any]:
    """Metadata of a sampler job that asks for suppression: it is accepted and not emulated."""
    off = {
        "dynamical_decoupling": {"enable": False},
        "twirling": {"enable_gates": False, "enable_measure": False},
    }
    ignored = [name for name in off if options.get(name)]
    return off | {"ignored": ignored} if ignored else {}


class Mitigated:
    """An estimator job whose options ask for something.

    Args:
        params: Parameters of the job, decoded and checked.
    """

    def __init__(self, params: dict[str, Any]) -> None:
        given = EstimatorSchema.model_validate(params.get("options") or {})
        self.ignored: list[str] = []
        self._options = finalize_estimator_options(
            self._wanted(given, params.get("resilience_level", 1))
        )

    @staticmethod
    def wanted(params: dict[str, Any]) -> bool:
        """Whether a job says anything about noise; one that does not gets nothing done."""
        return asks_for_mitigation(params)

    def _wanted(self, given: EstimatorSchema, level: int) -> EstimatorOptions:
        """The options that are acted on; what is not emulated goes to ``ignored``."""
        resilience = given.resilience
        zne = resilience.zne
        extrapolates = resilience.zne_mitigation
        if resilience.pec_mitigation:
            self.ignored.append("resilience.pec_mitigation")
            extrapolates = False
        elif zne.amplifier == "pea" and (extrapolates or (extrapolates is None and level == 2)):
            self.ignored.append("resilience.zne_mitigation")
            extrapolates = False
        if given.dynamical_decoupling.enable:
            self.ignored.append("dynamical_decoupling")
        return EstimatorOptions.model_validate(
            {
                "resilience_level": level,
                "resilience": {
                    "measure_mitigation": resilience.measure_mitigation,
                    "measure_noise_learning": {
                        "num_randomizations": resilience.measure_noise_learning.num_randomizations
                    },
                    "zne_mitigation": extrapolates,
                    "zne": {
                        "amplifier": "gate_folding" if zne.amplifier == "pea" else zne.amplifier,
                        "noise_factors": tuple(zne.noise_factors),
                        "extrapolator": zne.extrapolator,
                    },
                },
                "twirling": _told(given.twirling),
            }
        )

    def result(self, pub: EstimatorPub, run: Run, seed: int) -> PubResult:
        """Run one PUB with a precision."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # forced twirling; a fit that fails has a successor
            program, _ = prepare([pub], self._options)
            found = QuantumProgramResult(
                run(program, seed), passthrough_data=program.passthrough_data
            )
            done = estimator_v2_post_processor_v0_1(found)[0]
        kept = {name: np.asarray(array) for name, array in done.data.items()}
        metadata: dict[str, Any] = {
            "shots": math.ceil(1 / pub.precision**2),
            "target_precision": pub.precision,
            "circuit_metadata": pub.circuit.metadata or {},
        }
        if zne := done.metadata.get("resilience", {}).get("zne"):
            chosen = np.asarray(zne["extrapolators"]).tolist()
            metadata["resilience"] = {"zne": {"extrapolator": chosen}}
        return PubResult(DataBin(**kept, shape=done.data.shape), metadata)

    def metadata(self) -> dict[str, Any]:
        """What was done to all PUBs, and what was asked for and is not emulated."""
        resilience = self._options.resilience
        said: dict[str, Any] = {
            "version": 2,
            "dynamical_decoupling": {"enable": False},
            "twirling": _told(self._options.twirling),
            "resilience": {
                "measure_mitigation": resilience.measure_mitigation,
                "zne_mitigation": resilience.zne_mitigation,
                "pec_mitigation": False,
            },
        }
        if resilience.zne_mitigation:
            factors, extrapolator = resilience.zne.noise_factors, resilience.zne.extrapolator
            said["resilience"]["zne"] = {
                "noise_factors": list(factors),
                "extrapolator": [extrapolator]
                if isinstance(extrapolator, str)
                else list(extrapolator),
            }
        if self.ignored:
            said["ignored"] = self.ignored
        return said


def _told(twirling: Any) -> dict[str, Any]:
    """Twirling, as options and metadata have it."""
    return {name: getattr(twirling, name) for name in _TWIRLING}
