"""Other projects' own tests, from their source distributions, run against our backends."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

BUILD = Path(__file__).resolve().parents[4] / ".build"


def sources(project: str) -> Path:
    """Where the source distribution of the version that is installed lies unpacked; fetched by pip where it is not there yet."""
    version = importlib.metadata.version(project)
    folder = BUILD / f"{project.lower().replace('-', '_')}-{version}"
    if folder.exists():
        return folder
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as scratch:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", ":all:"]
            + ["--dest", scratch, f"{project}=={version}"],
            check=True,
        )
        (archive,) = Path(scratch).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            if hasattr(tarfile, "data_filter"):
                tar.extractall(scratch, filter="data")
            else:
                tar.extractall(scratch)
        (unpacked,) = (entry for entry in Path(scratch).iterdir() if entry.is_dir())
        # Renamed when it is whole, so that a run that was interrupted leaves no half of it.
        try:
            unpacked.rename(folder)
        except OSError:
            if not folder.exists():
                raise
    return folder


def run(tests: Path, ours: Path, into: Path, url: str, *arguments: str) -> int:
    """Runs `ours` within a copy of a project's tests, and returns how many tests passed; none may fail."""
    shutil.copytree(tests, into)
    # Their conftest.py starts servers by it, which nobody asks for here.
    (into / "xprocess.py").write_text(
        "import pytest\n\nclass ProcessStarter: pass\n\n"
        "@pytest.fixture(scope='session')\ndef xprocess():\n    pytest.skip('a server of another cache')\n"
    )
    shutil.copy(ours, into / "test_pantler.py")
    (into / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider -p xprocess\nmarkers =\n    network\n    time_intensive\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--quiet", "-c", "pytest.ini", "--rootdir", ".", *(arguments or ["test_pantler.py"])],
        cwd=into,
        env={**os.environ, "PANTLER_URL": url, "PYTHONPATH": os.pathsep.join([str(into), str(into.parent)])},
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and "failed" not in done.stdout, done.stdout[-8000:]
    return int(passed[1])
