"""An account to try the adapter on: a real one, or an emulator that stands in for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from qsaga.settings import Settings

if TYPE_CHECKING:
    from tests.real_account.account import Account

SPENT = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("a real IBM account")
    group.addoption(
        "--spending-limit",
        type=float,
        metavar="SECONDS",
        help="quantum seconds that this run may use; nothing is submitted without it",
    )
    group.addoption(
        "--patience",
        type=float,
        default=1800.0,
        metavar="SECONDS",
        help="how long to wait for one job to end (default: 1800)",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in terminalreporter.config.stash.get(SPENT, []):
        terminalreporter.write_line(line)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def account(pytestconfig: pytest.Config) -> AsyncIterator[Account]:
    """The account; whatever jobs of this suite stand at the end are cancelled."""
    limit = pytestconfig.getoption("--spending-limit", default=None)
    if limit is None:
        pytest.exit(
            "--spending-limit SECONDS is needed (make test-account LIMIT=60): quantum seconds",
            returncode=pytest.ExitCode.USAGE_ERROR,
        )
    given = Settings().ibm
    if not given.has_account or given.instance is None:
        pytest.exit(
            "no account: set QSAGA_IBM__TOKEN (or QSAGA_IBM__TOKEN_FILE) and QSAGA_IBM__INSTANCE",
            returncode=pytest.ExitCode.USAGE_ERROR,
        )
    # The vendor's client takes seconds to import; whoever is turned away need not wait for it.
    from tests.real_account.account import Account

    opened = await Account.open(given, limit, pytestconfig.getoption("--patience"))
    try:
        yield opened
    finally:
        pytestconfig.stash[SPENT] = [*await opened.close(), *opened.notes]
