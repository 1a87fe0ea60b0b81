"""An application without Qiskit: qsaga works, and the primitives say what they need."""

import subprocess
import sys

WITHOUT = """
import sys
import qsaga, qsaga.client, qsaga.cli
print("qiskit" in sys.modules)
sys.modules["qiskit"] = None
try:
    import qsaga.primitives
except ModuleNotFoundError as error:
    print(error)
"""


def test_qsaga_is_imported_without_qiskit() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True, timeout=60
    )
    loaded, complaint = ended.stdout.splitlines()
    assert loaded == "False"
    assert complaint == 'qsaga.primitives needs Qiskit: pip install "qsaga[qiskit]"'
