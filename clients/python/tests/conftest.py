"""The real service, started once for all tests of a run and stopped the way an operator stops it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def executable() -> Path:
    path = Path(os.environ.get("PANTLER_EXECUTABLE", ROOT / ".build/debug/pantler"))
    assert path.exists(), f"{path} is not there: run `swift build`, or set PANTLER_EXECUTABLE"
    return path


class Service:
    """A running service: with a data folder of its own, at a port and a Unix socket that stay the same over restarts."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # Not in the folder: the path of a socket has 107 bytes at most.
        self.socket = f"/tmp/pantler-{os.getpid()}-{self.port}.sock"
        self.log = folder / "log"
        self._arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PANTLER_")}
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(str(executable()), "serve", "--data-dir", str(self.folder / "data"), "--host", "127.0.0.1"),
                    *("--port", str(self.port), "--socket", self.socket, *self._arguments),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=self.folder,
            )
        deadline = time.monotonic() + 30
        while not self._is_ready():
            assert self.process.poll() is None, f"the service ended:\n{self.log.read_text()[-4000:]}"
            assert time.monotonic() < deadline, f"the service was not ready:\n{self.log.read_text()[-4000:]}"
            time.sleep(0.02)

    def stop(self) -> None:
        """As an operator does; it has to end well."""
        process, self.process = self.process, None
        assert process is not None
        try:
            assert process.poll() is None, f"the service died:\n{self.log.read_text()[-4000:]}"
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0, self.log.read_text()[-4000:]
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def kill(self) -> None:
        """As the kernel does when memory is out."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def _is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as asked:
                asked.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return asked.makefile("rb").readline().startswith(b"HTTP/1.1 200")
        except OSError:
            return False


@pytest.fixture(scope="session")
def running_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service that all tests share. Who stops or kills one starts one of his own: ``Service(tmp_path)``."""
    service = Service(tmp_path_factory.mktemp("pantler"))
    try:
        service.start()
        yield service
        service.stop()
    finally:
        service.kill()


@pytest.fixture(scope="session")
def service(running_service: Service) -> str:
    """Its base URL."""
    return running_service.url


@pytest.fixture(scope="session")
def service_socket(running_service: Service) -> str:
    """The path of its Unix socket."""
    return running_service.socket
