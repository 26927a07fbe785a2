"""The built service, started once for all tests of a run against it and stopped the way an operator stops it."""

import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).resolve().parents[1]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_ready(url, process, log, seconds=30):
    """Returns as soon as /readyz says so; fails at once where the process ends instead."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"the service ended with {process.returncode}:\n{log.read_text()[-4000:]}")
        try:
            if requests.get(url + "/readyz", timeout=1).status_code == 200:
                return
        except requests.ConnectionError:
            time.sleep(0.02)
    pytest.fail(f"the service was not ready within {seconds} s:\n{log.read_text()[-4000:]}")


@contextmanager
def running(folder, url, *arguments):
    """A service in a folder of its own, while the block runs: ready at a URL, and stopped at the end."""
    executable = Path(os.environ.get("PANTLER_EXECUTABLE", ROOT / ".build/debug/pantler"))
    assert executable.exists(), f"{executable} is not there: run `swift build`, or set PANTLER_EXECUTABLE"
    log = folder / "log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PANTLER_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(executable), "serve", "--data-dir", str(folder / "data"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=folder,
        )
    try:
        wait_until_ready(url, process, log)
        yield
        assert process.poll() is None, f"the service died:\n{log.read_text()[-4000:]}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0, log.read_text()[-4000:]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    """The base URL of a running service with a data folder of its own."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running(tmp_path_factory.mktemp("pantler"), url, "--host", "127.0.0.1", "--port", str(port)):
        yield url
