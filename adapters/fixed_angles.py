"""QAOA angles for MaxCut on regular graphs that need no optimisation.

They maximise the expected cut of an edge whose neighbourhood is a tree, which is what the fixed
angles of Wurtz and Lykov are (2021, arXiv:2107.00677; their table for degree 3 agrees); on
3-regular graphs they are conjectured to guarantee their ratio on every graph. The values were
found with the recursion of Basso, Farhi, Marwaha, Villalonga and Zhou (2021, arXiv:2110.14206,
section 3) and BFGS, depth by depth; a test evaluates the recursion on them again.

Convention: the state is the product over layers of exp(-i beta sum X) exp(-i gamma C) on |+...+>
with C = sum over edges of (1 - ZZ) / 2, to be maximised. Radians.
"""

from __future__ import annotations

from typing import NamedTuple


class FixedAngles(NamedTuple):
    """Angles of one degree and depth, and the expected share of edges cut on a large graph."""

    gammas: tuple[float, ...]
    betas: tuple[float, ...]
    share: float


FIXED_ANGLES: dict[tuple[int, int], FixedAngles] = {
    (2, 1): FixedAngles((0.78540,), (0.39270,), 0.75000),
    (2, 2): FixedAngles((0.65587, 1.24286), (0.62143, 0.32794), 0.83333),
    (2, 3): FixedAngles((0.59214, 1.15609, 1.36458), (0.68229, 0.57804, 0.29607), 0.87500),
    (2, 4): FixedAngles(
        (0.55136, 1.10838, 1.30627, 1.41749), (0.70874, 0.65313, 0.55419, 0.27568), 0.90000
    ),
    (2, 5): FixedAngles(
        (0.52201, 1.07471, 1.27588, 1.37317, 1.44657),
        (0.72329, 0.68659, 0.63794, 0.53735, 0.26101),
        0.91667,
    ),
    (3, 1): FixedAngles((0.61548,), (0.39270,), 0.69245),
    (3, 2): FixedAngles((0.48784, 0.89784), (0.55490, 0.29238), 0.75591),
    (3, 3): FixedAngles((0.42186, 0.79840, 0.93698), (0.60895, 0.45957, 0.23567), 0.79240),
    (3, 4): FixedAngles(
        (0.40875, 0.78057, 0.98804, 1.15691), (0.59956, 0.43434, 0.29676, 0.15904), 0.81688
    ),
    (3, 5): FixedAngles(
        (0.35924, 0.70609, 0.82209, 1.00420, 1.15394),
        (0.63167, 0.52253, 0.39014, 0.27599, 0.14930),
        0.83638,
    ),
    (4, 1): FixedAngles((0.52360,), (0.39270,), 0.66238),
    (4, 2): FixedAngles((0.40784, 0.73974), (0.53411, 0.28296), 0.71609),
    (4, 3): FixedAngles((0.35450, 0.65137, 0.75426), (0.58794, 0.42317, 0.22301), 0.74856),
    (4, 4): FixedAngles(
        (0.31500, 0.58755, 0.67322, 0.77120), (0.60499, 0.47780, 0.36127, 0.18753), 0.76902
    ),
    (4, 5): FixedAngles(
        (0.29091, 0.54678, 0.60334, 0.68721, 0.78447),
        (0.62254, 0.50507, 0.41672, 0.32534, 0.16280),
        0.78412,
    ),
    (5, 1): FixedAngles((0.46365,), (0.39270,), 0.64311),
    (5, 2): FixedAngles((0.35869, 0.64501), (0.52410, 0.27883), 0.69071),
    (5, 3): FixedAngles((0.31164, 0.56351, 0.64771), (0.57834, 0.40764, 0.21894), 0.71990),
    (5, 4): FixedAngles(
        (0.27744, 0.50965, 0.57688, 0.66124), (0.59711, 0.46319, 0.34484, 0.18258), 0.73855
    ),
    (5, 5): FixedAngles(
        (0.25555, 0.47382, 0.51872, 0.58967, 0.67086),
        (0.61385, 0.49044, 0.40256, 0.30893, 0.15767),
        0.75227,
    ),
    (6, 1): FixedAngles((0.42053,), (0.39270,), 0.62940),
    (6, 2): FixedAngles((0.32420, 0.57975), (0.51824, 0.27656), 0.67264),
    (6, 3): FixedAngles((0.28142, 0.50404, 0.57682), (0.57266, 0.39893, 0.21694), 0.69932),
    (6, 4): FixedAngles(
        (0.25087, 0.45621, 0.51213, 0.58733), (0.59205, 0.45391, 0.33548, 0.18011), 0.71650
    ),
    (6, 5): FixedAngles(
        (0.23076, 0.42447, 0.46194, 0.52315, 0.59406),
        (0.60920, 0.48248, 0.39349, 0.29927, 0.15521),
        0.72915,
    ),
    (7, 1): FixedAngles((0.38760,), (0.39270,), 0.61901),
    (7, 2): FixedAngles((0.29819, 0.53116), (0.51440, 0.27513), 0.65892),
    (7, 3): FixedAngles((0.25866, 0.46035, 0.52531), (0.56889, 0.39333, 0.21573), 0.68362),
    (7, 4): FixedAngles(
        (0.23075, 0.41674, 0.46517, 0.53371), (0.58862, 0.44772, 0.32952, 0.17864), 0.69961
    ),
    (7, 5): FixedAngles(
        (0.21216, 0.38809, 0.42036, 0.47463, 0.53840),
        (0.60615, 0.47710, 0.38714, 0.29296, 0.15380),
        0.71140,
    ),
    (8, 1): FixedAngles((0.36137,), (0.39270,), 0.61078),
    (8, 2): FixedAngles((0.27763, 0.49312), (0.51169, 0.27415), 0.64804),
    (8, 3): FixedAngles((0.24069, 0.42645, 0.48565), (0.56620, 0.38942, 0.21492), 0.67114),
    (8, 4): FixedAngles(
        (0.21484, 0.38608, 0.42919, 0.49260), (0.58618, 0.44333, 0.32541, 0.17767), 0.68614
    ),
    (8, 5): FixedAngles(
        (0.19744, 0.35969, 0.38828, 0.43744, 0.49595),
        (0.60384, 0.47314, 0.38258, 0.28856, 0.15289),
        0.69721,
    ),
}
"""By degree of the graph (2 to 8) and depth (1 to 5)."""

DEGREES = (2, 8)
MAX_DEPTH = 5
