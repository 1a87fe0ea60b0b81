"""The notebook runs from top to bottom on real servers, and shows what it says."""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tools.stage import Stage

NOTEBOOK = Path(__file__).parents[2] / "examples" / "durable_primitives.ipynb"


def shown(cell: nbformat.NotebookNode) -> str:
    """The text of a cell's outputs."""
    return "".join(
        output.get("text", "") or output.get("data", {}).get("text/plain", "")
        for output in cell.outputs
    )


def test_notebook(stage: Stage) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code), "kept without outputs"
    client = NotebookClient(
        notebook, timeout=90, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    )
    # As in an environment that is activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    client.execute(env=stage.environment() | {"PATH": path})

    _, durable, plot, killed, found, record = code
    assert "'source': 'simulator'" in shown(durable)
    assert any("image/png" in output.get("data", {}) for output in plot.outputs)
    job_id = shown(killed).split()[-1]
    assert job_id.startswith("examples/ghz.")
    assert shown(found).startswith("DONE True {")
    assert job_id in shown(record).replace("\n", "").replace(" ", "")
    assert "hardware (ibm, ibm_torino)" in shown(record)
