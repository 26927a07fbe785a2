"""The benchmark of all backends runs, and its values come back right; what it measures is not judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks/backends.py"
SUBJECTS = ["Pantler", "Client", "bare socket", "LocMem"]


def test_the_benchmark_measures_every_operation(tmp_path: Path) -> None:
    pytest.importorskip("django")
    executable = os.environ.get("PANTLER_EXECUTABLE") or str(SCRIPT.parents[3] / ".build/debug/pantler")
    told = subprocess.run(
        [
            *(sys.executable, str(SCRIPT), "--calls", "20", "--rounds", "2", "--backends", ",".join(SUBJECTS)),
            *("--json", str(tmp_path / "medians.json")),
        ],
        cwd=tmp_path, env={**os.environ, "PANTLER_EXECUTABLE": executable}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr[-4000:]
    medians = json.loads((tmp_path / "medians.json").read_text())
    assert {
        "get dict",
        "set pickle",
        "get_many dicts",
        "get_many pickles",
        "set_many dicts",
        "incr",
        "get_or_set",
    } <= set(medians)
    for operation, row in medians.items():
        assert {"Pantler", "LocMem"} <= set(row), operation
        assert all(0 < median < 1_000_000 for median in row.values())
    table, *_, goals = told.stdout.split("\n\n")
    assert table.count("\n") == len(medians) + 1
    assert "| get dict | ≤ 6 µs over bare socket |" in goals
