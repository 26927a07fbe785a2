"""
Runs Django's own cache tests against a Pantler service, with the Django that this Python has.

    python tests/django_suite/run.py [--url http://127.0.0.1:8080] [label …]

The tests stand in Django's source distribution alone, which is fetched by pip once and kept in .build/django-<version>
of the repository. A copy of its tests gets our module (tests_pantler.py) beside their cache tests, and is run by their
runtests.py: their cache, middleware and page tests with Pantler, and, with Pantler as the `default` cache, those of the
template tag and of sessions.

Without `--url` a service is started (PANTLER_EXECUTABLE, or .build/debug/pantler) and stopped again. Exits with 1 when
a test fails, or when fewer ran than Django has: a suite that was not found must not pass.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django

HERE = Path(__file__).resolve().parent
CLIENT = HERE.parents[1]
REPOSITORY = HERE.parents[3]

# How many tests `BaseCacheTests` has: what a backend must pass, the three of culling among them.
BASE = {"5.2": 54, "6.0": 54, "6.1": 62}
# How many tests run in all for the labels below. More may run with a later patch release; fewer are a fault.
WHOLE = {"5.2": 569, "6.0": 569, "6.1": 624}
SKIPPED_BY_NAME = {"test_cull", "test_zero_cull", "test_cull_delete_when_store_empty"}

SESSIONS = ["CacheSessionTests", "CacheDBSessionTests", "CacheDBSessionWithTimeZoneTests"]
LABELS = [
    "cache.tests_pantler",
    "template_tests.syntax_tests.test_cache",
    *(f"sessions_tests.tests.{name}" for name in SESSIONS),
]


def sources(version: str) -> Path:
    """Where the unpacked source distribution of Django `version` lies; fetched where it is not there yet."""
    build = REPOSITORY / ".build"
    folder = build / f"django-{version}"
    if (folder / "tests" / "runtests.py").exists():
        return folder
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build) as scratch:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--no-binary",
                "Django",
                "--dest",
                scratch,
                f"Django=={version}",
            ],
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
            if not (folder / "tests" / "runtests.py").exists():
                raise
    return folder


@contextmanager
def service() -> Iterator[str]:
    """A service with an empty data folder, for as long as the block runs: its URL."""
    executable = os.environ.get("PANTLER_EXECUTABLE") or str(REPOSITORY / ".build" / "debug" / "pantler")
    with tempfile.TemporaryDirectory() as data, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        url = f"http://127.0.0.1:{port}"
        process = subprocess.Popen(
            [executable, "serve", "--port", str(port), "--data-dir", data], stdout=subprocess.DEVNULL
        )
        try:
            for _ in range(200):
                try:
                    urllib.request.urlopen(url + "/readyz", timeout=1).close()
                    break
                except (urllib.error.URLError, OSError):
                    if process.poll() is not None:
                        raise SystemExit(f"{executable} ended with {process.returncode}") from None
                    time.sleep(0.05)
            else:
                raise SystemExit(f"{executable} does not answer at {url}")
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def package() -> str:
    """
    The folder of the package `pantler` that this process would import; the one beside these tests where none is
    installed.
    """
    found = importlib.util.find_spec("pantler")
    return (
        str(CLIENT / "src") if found is None or found.origin is None else str(Path(found.origin).resolve().parents[1])
    )


def run(url: str, labels: list[str] | None = None, *, stream: bool = True) -> tuple[int, str]:
    """
    Runs the labels against the service at `url`. Returns how many tests ran and what was printed; raises SystemExit
    where one failed.
    """
    version = django.get_version()
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "tests"
        shutil.copytree(sources(version) / "tests", copy)
        shutil.copy(HERE / "tests_pantler.py", copy / "cache" / "tests_pantler.py")
        shutil.copy(HERE / "pantler_settings.py", copy / "pantler_settings.py")
        environment = dict(os.environ, PANTLER_TEST_URL=url.rstrip("/"), PYTHONDONTWRITEBYTECODE="1")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package(), environment.get("PYTHONPATH")]))
        lines = []
        with subprocess.Popen(
            [
                sys.executable,
                "runtests.py",
                "--settings=pantler_settings",
                "--parallel=1",
                "--noinput",
                "-v2",
                *(labels or LABELS),
            ],
            cwd=copy,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if stream and not re.search(r"\.\.\. (ok|skipped .*)$", line):
                    sys.stdout.write(line)
        code = process.returncode
    output = "".join(lines)
    # "Ran …" of Python 3.12.1 does not count those that are skipped by name.
    found = re.search(r"^Found (\d+) test", output, re.MULTILINE)
    ran = int(found[1]) if found and re.search(r"^Ran \d+ tests? in", output, re.MULTILINE) else 0
    if code:
        raise SystemExit(
            f"Django {version}: a test failed (runtests.py ended with {code})" + ("" if stream else "\n" + output)
        )
    return ran, output


def judged(ran: int, output: str) -> str:
    """A line about the whole suite's run; raises SystemExit where it was not the whole."""
    version = ".".join(django.get_version().split(".")[:2])
    skipped = set(re.findall(r"^(test_\w+) .*\.\.\. skipped", output, re.MULTILINE))
    base = len(re.findall(r"^test_\w+ \(cache\.tests_pantler\.PantlerCacheTests[.)]", output, re.MULTILINE))
    if skipped - SKIPPED_BY_NAME:
        raise SystemExit(f"skipped without being named: {', '.join(sorted(skipped - SKIPPED_BY_NAME))}")
    if base < BASE.get(version, 62):
        raise SystemExit(f"{base} tests of BaseCacheTests ran, but Django {version} has {BASE.get(version, 62)}")
    if ran < WHOLE.get(version, max(WHOLE.values())):
        raise SystemExit(
            f"{ran} tests ran, but {WHOLE.get(version, max(WHOLE.values()))} are expected with Django {version}"
        )
    names = ", ".join(sorted(skipped))
    return f"Django {django.get_version()}: {ran} tests passed, BaseCacheTests {base} (skipped by name: {names})"


def main() -> None:
    parser = argparse.ArgumentParser(description="Run Django's own cache tests against Pantler.")
    parser.add_argument("--url", help="where a service listens already; without it one is started")
    parser.add_argument("labels", nargs="*", help="some of Django's tests, as runtests.py takes them")
    arguments = parser.parse_args()
    if arguments.url:
        result = run(arguments.url, arguments.labels)
    else:
        with service() as url:
            result = run(url, arguments.labels)
    print(f"{result[0]} tests ran" if arguments.labels else judged(*result))


if __name__ == "__main__":
    main()
