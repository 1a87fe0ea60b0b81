"""The published schemas are those of the code, and the examples obey them."""

import json
from pathlib import Path

import jsonschema
import pytest

from qsaga.core.jobs import JobRequest
from tools.schemas import FOLDER, schemas

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.json"))


def test_schemas_are_current() -> None:
    kept = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert kept == schemas(), "run `make schemas` and commit what it writes"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_valid_by_schema_and_by_code(path: Path) -> None:
    data = json.loads(path.read_text())
    jsonschema.validate(data, json.loads((FOLDER / "JobRequest.json").read_text()))
    JobRequest.model_validate(data)


def test_there_are_examples() -> None:
    assert EXAMPLES
