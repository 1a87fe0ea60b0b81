"""What the sandbox has to load for each workflow that is begun."""

from __future__ import annotations

import subprocess
import sys

LISTED = "import sys, workflows; print(*[n for n in sys.modules if n.startswith('workflows.')])"


def test_the_package_loads_no_workflow() -> None:
    """The sandbox loads it anew for each workflow that is begun, with all that it imports."""
    done = subprocess.run([sys.executable, "-c", LISTED], capture_output=True, check=True)
    assert done.stdout.strip() == b""
