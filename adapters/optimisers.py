"""SPSA, Adam with the parameter-shift rule, and CMA-ES: each asks points and is told values.

Their states are JSON. Random numbers come from the seed and the number of the iteration, so that
nothing of a generator has to be kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, JsonValue, ValidationError

from qsaga.core.contract import StrictContract
from qsaga.core.errors import InvalidRequest
from qsaga.core.optimisers import MAX_POINTS, Asked, Measured, Optimiser, Setup
from qsaga.core.validation import invalid_request

GROUP = "qsaga.optimisers"

Floats = NDArray[np.float64]
Options = TypeVar("Options", bound=StrictContract)
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


def options_of(kind: type[Options], setup: Setup) -> Options:
    """The options of an optimiser. Raises InvalidRequest with the path of the option."""
    try:
        return kind.model_validate(setup.options)
    except ValidationError as error:
        raise invalid_request(error, "optimiser.options") from error


def _tuples(rows: Sequence[Floats]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in row) for row in rows)


class SpsaOptions(StrictContract):
    """Gain sequences a / (A + k + 1)**alpha and c / (k + 1)**gamma (Spall 1998, section III).

    Args:
        a: numerator of the step; None has it calibrated.
        c: of the perturbation, radians.
        alpha: exponent of the step.
        gamma: exponent of the perturbation.
        stability: A, as a fraction of the iterations.
        calibration: random directions that are measured before the search where ``a`` is None;
            two points each.
        first_step: radians that calibration aims at for the first change of each parameter
            (Kandala et al. 2017, arXiv:1704.05018, supplement, section VI).
        blocking: measure the new point as well, and go back where it is worse than the one before
            by more than ``tolerated`` standard errors of the difference.
        tolerated: see ``blocking``.
    """

    a: Positive | None = None
    c: Positive = 0.2
    alpha: Positive = 0.602
    gamma: Positive = 0.101
    stability: Annotated[float, Field(ge=0, le=1)] = 0.1
    calibration: Annotated[int, Field(ge=1, le=MAX_POINTS // 2)] = 5
    first_step: Positive = 2 * math.pi / 10
    blocking: bool = False
    tolerated: Annotated[float, Field(ge=0)] = 2.0


class Spsa:
    """Simultaneous perturbation stochastic approximation (Spall 1992).

    Two points an iteration, whatever the number of parameters; three with blocking.
    """

    version = "spsa/1"

    def evaluations(self, setup: Setup) -> int:
        """Two or three an iteration, after calibration."""
        options = options_of(SpsaOptions, setup)
        calibration = 0 if options.a is not None else 2 * options.calibration
        return calibration + setup.iterations * (3 if options.blocking else 2)

    def begin(self, setup: Setup) -> Asked:
        """Calibration, or the first two points."""
        options = options_of(SpsaOptions, setup)
        start = list(setup.initial)
        if options.a is not None:
            return self._ask(setup, {"k": 0, "at": start, "a": options.a})
        rows = [
            np.array(start) + sign * options.c * self._direction(setup, -1 - turn)
            for turn in range(options.calibration)
            for sign in (1, -1)
        ]
        return Asked(state={"k": -1, "at": start}, points=_tuples(rows), purpose="calibrate")

    def tell(self, setup: Setup, state: JsonValue, values: Sequence[Measured]) -> Asked:
        """One step down the estimated gradient."""
        return self._ask(setup, self._moved(setup, state, values))

    def estimate(self, setup: Setup, state: JsonValue, values: Sequence[Measured]) -> list[float]:
        """The point that the next step would begin at."""
        at: list[float] = self._moved(setup, state, values)["at"]
        return at

    def _moved(self, setup: Setup, state: Any, values: Sequence[Measured]) -> dict[str, Any]:
        options = options_of(SpsaOptions, setup)
        if state["k"] < 0:
            return {"k": 0, "at": state["at"], "a": self._calibrated(setup, options, values)}
        k, at = state["k"], np.array(state["at"])
        c = options.c / (k + 1) ** options.gamma
        moved = {"k": k + 1, "a": state["a"]}
        if options.blocking and self._worse(state, values[2], options.tolerated):
            return moved | {"at": state["from"]["at"], "from": state["from"]}
        slope = (values[0].value - values[1].value) / (2 * c)
        step = state["a"] / (k + 1 + options.stability * setup.iterations) ** options.alpha
        moved["at"] = (at - step * slope * self._direction(setup, k)).tolist()
        if options.blocking:
            moved["from"] = {"at": state["at"], **values[2].model_dump()}
        return moved

    def _worse(self, state: Any, now: Measured, tolerated: float) -> bool:
        before = state.get("from")
        if before is None or before["at"] == state["at"]:
            return False
        noise = math.hypot(before["standard_error"], now.standard_error)
        return bool(now.value > before["value"] + tolerated * noise)

    def _calibrated(self, setup: Setup, options: SpsaOptions, values: Sequence[Measured]) -> float:
        pairs = zip(values[::2], values[1::2], strict=True)
        slopes = [abs(up.value - down.value) / (2 * options.c) for up, down in pairs]
        mean = sum(slopes) / len(slopes)
        # On a plateau of zero slope any step is as good as another: take the aim itself.
        a = options.first_step / (mean or 1.0)
        return float(a * (1 + options.stability * setup.iterations) ** options.alpha)

    def _ask(self, setup: Setup, state: dict[str, Any]) -> Asked:
        options = options_of(SpsaOptions, setup)
        at, k = np.array(state["at"]), state["k"]
        shift = options.c / (k + 1) ** options.gamma * self._direction(setup, k)
        rows = [at + shift, at - shift, *([at] if options.blocking else [])]
        return Asked(state=state, points=_tuples(rows))

    @staticmethod
    def _direction(setup: Setup, k: int) -> Floats:
        draw = np.random.default_rng([setup.seed, k + MAX_POINTS])
        return draw.choice((-1.0, 1.0), size=len(setup.initial))


class AdamOptions(StrictContract):
    """Of Adam (Kingma and Ba 2015, arXiv:1412.6980, algorithm 1).

    Args:
        rate: of learning, radians.
        beta1: decay of the mean of the gradient.
        beta2: decay of the mean of its square.
        epsilon: keeps the step finite.
    """

    rate: Positive = 0.1
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: Positive = 1e-8


class Adam:
    """Adam on the gradient of the general parameter-shift rule.

    The rule is exact where the value is a trigonometric polynomial in each parameter (Wierichs et
    al. 2022, arXiv:2107.12390, equation 6); of degree 1, one rotation, it is the rule of Schuld et
    al. 2019, arXiv:1811.11184. Other circuits are refused. An iteration has the point itself, then
    two points for each parameter and degree.
    """

    version = "adam/2"

    def evaluations(self, setup: Setup) -> int:
        """Those of the gradient and the point itself, each iteration."""
        return setup.iterations * self._points(setup)

    def begin(self, setup: Setup) -> Asked:
        """The first point and its shifts."""
        options_of(AdamOptions, setup)
        if None in setup.spectrum or len(setup.spectrum) != len(setup.initial):
            raise InvalidRequest(
                "optimiser.name",
                "no parameter-shift rule is known for this circuit",
                "circuits in which parameters turn rotations by constant factors that are "
                "multiples of one another, or spsa, cma_es",
            )
        if (count := self._points(setup)) > MAX_POINTS:
            raise InvalidRequest(
                "optimiser.name",
                f"adam needs {count} points an iteration for {len(setup.initial)} parameters",
                f"at most {MAX_POINTS} points, or spsa",
            )
        zero = [0.0] * len(setup.initial)
        return self._ask(setup, {"k": 0, "at": list(setup.initial), "mean": zero, "square": zero})

    def tell(self, setup: Setup, state: JsonValue, values: Sequence[Measured]) -> Asked:
        """One step."""
        return self._ask(setup, self._moved(setup, state, values))

    def estimate(self, setup: Setup, state: JsonValue, values: Sequence[Measured]) -> list[float]:
        """The point after one more step."""
        at: list[float] = self._moved(setup, state, values)["at"]
        return at

    def _moved(self, setup: Setup, state: Any, values: Sequence[Measured]) -> dict[str, Any]:
        options = options_of(AdamOptions, setup)
        told = np.array([one.value for one in values[1:]])
        gradient = np.zeros(len(setup.initial))
        # The point itself is the first; each shift has one on either side.
        for (place, _, weight), rise in zip(
            self._shifts(setup), told[::2] - told[1::2], strict=True
        ):
            gradient[place] += weight * rise
        k = state["k"] + 1
        mean = options.beta1 * np.array(state["mean"]) + (1 - options.beta1) * gradient
        square = options.beta2 * np.array(state["square"]) + (1 - options.beta2) * gradient**2
        first, second = mean / (1 - options.beta1**k), square / (1 - options.beta2**k)
        step = options.rate * first / (np.sqrt(second) + options.epsilon)
        return {
            "k": k,
            "at": (np.array(state["at"]) - step).tolist(),
            "mean": mean.tolist(),
            "square": square.tolist(),
        }

    def _ask(self, setup: Setup, state: dict[str, Any]) -> Asked:
        at = np.array(state["at"])
        rows = [at]
        for place, shift, _ in self._shifts(setup):
            for sign in (1, -1):
                rows.append(at.copy())
                rows[-1][place] += sign * shift
        return Asked(state=state, points=_tuples(rows))

    @staticmethod
    def _points(setup: Setup) -> int:
        return 1 + 2 * sum(one.degree for one in setup.spectrum if one is not None)

    @staticmethod
    def _shifts(setup: Setup) -> Iterator[tuple[int, float, float]]:
        """The parameter, how far it is shifted to both sides, and the weight of the difference."""
        for place, one in enumerate(setup.spectrum):
            if one is None:
                raise ValueError(f"no spectrum of parameter {place}")
            for turn in range(one.degree):
                angle = (2 * turn + 1) * math.pi / (2 * one.degree)
                weight = (-1) ** turn / (4 * one.degree * math.sin(angle / 2) ** 2)
                yield place, angle / one.unit, one.unit * weight


class CmaOptions(StrictContract):
    """Of CMA-ES.

    Args:
        sigma: standard deviation of the first points, radians.
        population: points of an iteration; None is 4 + 3 ln(parameters).
    """

    sigma: Positive = 0.5
    population: Annotated[int, Field(ge=4, le=MAX_POINTS)] | None = None


class CmaEs:
    """Covariance matrix adaptation (Hansen 2016, arXiv:1604.00772), by the library ``cma``.

    The state is what was asked and told so far: the search is made again from it each time, which
    takes milliseconds, and no pickle has to be kept or trusted.
    """

    def __init__(self) -> None:
        import cma

        self._cma: Any = cma
        self.version = f"cma {cma.__version__}"

    def evaluations(self, setup: Setup) -> int:
        """A population each iteration."""
        return setup.iterations * int(self._search(setup, []).popsize)

    def begin(self, setup: Setup) -> Asked:
        """The first population."""
        options_of(CmaOptions, setup)
        if len(setup.initial) < 2:
            raise InvalidRequest(
                "optimiser.name", "cma_es needs two parameters at least", "spsa, adam"
            )
        return self._ask(self._search(setup, []), [])

    def tell(self, setup: Setup, state: JsonValue, values: Sequence[Measured]) -> Asked:
        """The next population; none where the search has ended by its own criteria."""
        told = self._told(state, values)
        search = self._search(setup, told)
        if search.stop():
            return Asked(state={"told": told}, points=())
        return self._ask(search, told)

    def estimate(self, setup: Setup, state: JsonValue, values: Sequence[Measured]) -> list[float]:
        """The mean of the distribution: noise moves it less than the best of a population."""
        search = self._search(setup, self._told(state, values))
        return [float(value) for value in search.result.xfavorite]

    @staticmethod
    def _told(state: Any, values: Sequence[Measured]) -> list[Any]:
        return [*state["told"], [state["asked"], [one.value for one in values]]]

    @staticmethod
    def _ask(search: Any, told: list[Any]) -> Asked:
        points = _tuples(search.ask())
        asked = [list(point) for point in points]
        return Asked(state={"told": told, "asked": asked}, points=points)

    def _search(self, setup: Setup, told: Sequence[Any]) -> Any:
        options = options_of(CmaOptions, setup)
        search = self._cma.CMAEvolutionStrategy(
            list(setup.initial),
            options.sigma,
            {
                "randn": _normal(setup.seed),
                "seed": math.nan,  # leave NumPy's global generator alone
                "verbose": -9,
                "verb_log": 0,
                "signals_filename": "",
                **({"popsize": options.population} if options.population else {}),
            },
        )
        for points, values in told:
            search.ask()  # draws what was drawn then
            search.tell([np.array(point) for point in points], values)
        return search


def _normal(seed: int) -> Callable[..., Any]:
    """Standard normal numbers of a generator of its own, as ``numpy.random.randn`` gives them."""
    draw = np.random.default_rng(seed)
    return lambda *shape: draw.standard_normal(shape)


BUILT_IN: Mapping[str, Callable[[], Optimiser]] = {"spsa": Spsa, "adam": Adam, "cma_es": CmaEs}


def optimiser(name: str) -> Optimiser:
    """The optimiser of that name: one of ours, or one that was installed by entry point.

    An entry point of the group ``qsaga.optimisers`` names a class, or a function, that makes an
    ``Optimiser`` without arguments.

    Raises InvalidRequest.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]()
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        raise InvalidRequest(
            "optimiser.name", f"unknown optimiser {name!r}", ", ".join(sorted({*BUILT_IN, *found}))
        )
    made: Optimiser = found[name].load()()
    return made
