"""Real servers, started once for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.roles.team import Team
from tools import stage


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A deployment whose roles have queues of their own."""
    folder = tmp_path_factory.mktemp("team")
    with Team(folder, QSAGA_TEMPORAL__ROLE_QUEUES="true") as team:
        yield team


@pytest.fixture(autouse=True)
def _nobody_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """Workers of one test do not work for the next."""
    yield
    for name in ("team", "versioned"):
        if name in request.fixturenames:
            request.getfixturevalue(name).dismiss()
            request.getfixturevalue(name).emulator.control.reset()


@pytest.fixture(scope="module")
def versioned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """The same with versions, on a server that soon sees that one is drained."""
    quick = (
        'matching.wv.VersionDrainageStatusVisibilityGracePeriod="1s"',
        'matching.wv.VersionDrainageStatusRefreshInterval="1s"',
    )
    folder = tmp_path_factory.mktemp("versioned")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "DYNAMIC_CONFIG", stage.DYNAMIC_CONFIG + quick)
        with Team(
            folder, QSAGA_TEMPORAL__ROLE_QUEUES="true", QSAGA_TEMPORAL__VERSIONING="true"
        ) as team:
            yield team
