"""The artefact folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from adapters.artefacts import FolderArtefacts
from qsaga.core.contract import ArtefactRef


def test_put_and_get(tmp_path: Path) -> None:
    store = FolderArtefacts(tmp_path / "artefacts")
    reference = store.put(b"circuit", "application/x-qpy")
    assert reference == ArtefactRef(
        sha256=hashlib.sha256(b"circuit").hexdigest(), size=7, media="application/x-qpy"
    )
    assert store.put(b"circuit", "application/x-qpy") == reference
    assert store.put(b"", "text/plain").size == 0
    # Another process sees it.
    assert FolderArtefacts(tmp_path / "artefacts").get(reference) == b"circuit"
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2


def test_missing_and_damaged(tmp_path: Path) -> None:
    store = FolderArtefacts(tmp_path)
    reference = store.put(b"circuit", "application/x-qpy")
    path = next(path for path in tmp_path.rglob("*") if path.is_file())
    path.write_bytes(b"circus!")
    with pytest.raises(ValueError, match="is damaged"):
        store.get(reference)
    path.write_bytes(b"cut")
    with pytest.raises(ValueError, match="is damaged"):
        store.get(reference)
    # Storing it again heals a file that was cut short.
    store.put(b"circuit", "application/x-qpy")
    assert store.get(reference) == b"circuit"
    path.unlink()
    with pytest.raises(KeyError, match=reference.sha256):
        store.get(reference)
