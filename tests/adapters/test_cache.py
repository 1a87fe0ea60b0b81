"""Entries of the cache: one tenant's own, whole or not there, few, and gone when they must be."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from adapters.cache import FolderCache
from adapters.folders import SharedFiles

ROOT = Path(__file__).parents[2]
FILL = """
import sys
from pathlib import Path
from adapters.cache import FolderCache
cache, letter = FolderCache(Path(sys.argv[1])), sys.argv[2].encode()
for _ in range(100):
    cache.put("t", "k", letter * 100_000)
    assert set(cache.get("t", "k")) < set(b"ab"), "half an entry"
"""


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_an_entry_is_found_by_its_tenant_and_by_every_process(tmp_path: Path) -> None:
    FolderCache(tmp_path).put("t", "k", b"one")
    other = FolderCache(tmp_path)
    assert other.get("t", "k") == b"one"
    assert other.get("t", "other") is None
    assert other.get("stranger", "k") is None
    other.put("t", "k", b"two")
    assert FolderCache(tmp_path).get("t", "k") == b"two"


def test_two_processes_fill_the_same_entry_at_once(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", FILL, str(tmp_path), letter],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for letter in "ab"
    ]
    for process in running:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert len(files(tmp_path)) == 1


def test_a_damaged_entry_is_none_and_is_healed(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path)
    cache.put("t", "k", b"whole")
    [path] = files(tmp_path)
    for damaged in (b"", path.read_bytes()[:-1], b"x" + path.read_bytes()[1:]):
        path.write_bytes(damaged)
        assert cache.get("t", "k") is None
    cache.put("t", "k", b"whole")
    assert cache.get("t", "k") == b"whole"


def test_a_cache_that_cannot_be_written_holds_nothing_up(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = FolderCache(tmp_path / "file")
    cache.put("t", "k", b"lost")
    assert cache.get("t", "k") is None


def test_of_a_tenant_all_goes_and_of_the_others_nothing(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path)
    for tenant in ("finance", "research"):
        for key in ("a", "b"):
            cache.put(tenant, key, tenant.encode())
    cache.drop("finance")
    cache.drop("finance")
    assert cache.get("finance", "a") is None
    assert cache.get("research", "b") == b"research"
    assert not any(b"finance" in path.read_bytes() for path in files(tmp_path))
    assert len(files(tmp_path)) == 2


def test_what_was_not_used_for_longest_makes_room(tmp_path: Path) -> None:
    cache = FolderCache(tmp_path, most=10)
    long_ago = datetime.now(UTC).timestamp() - 1000
    for number in range(10):
        cache.put("t", str(number), b"x")
        newest = max(files(tmp_path), key=lambda path: path.stat().st_mtime)
        os.utime(newest, (long_ago + number, long_ago + number))
    assert cache.get("t", "0") == b"x"  # used, so the last to go
    cache.put("t", "10", b"x")
    assert len(files(tmp_path)) == 9
    assert [n for n in range(11) if cache.get("t", str(n)) is None] == [1, 2]


def test_the_sweeper_knows_its_files(tmp_path: Path) -> None:
    cache, swept = FolderCache(tmp_path), SharedFiles("cache entries", tmp_path)
    cache.put("t", "k", b"x")
    now = datetime.now(UTC)
    assert swept.unused_since(now - timedelta(minutes=1)) == []
    [file] = swept.unused_since(now + timedelta(minutes=1))
    assert swept.delete(file, now + timedelta(minutes=1))
    assert cache.get("t", "k") is None
