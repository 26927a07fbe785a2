"""The servers that the scripts here compare: each on loopback and a free port, for as long as its block runs.

A program that is not installed is unpacked from Debian's package into `.build/tools` of the repository, and not installed: that would
start a service of the machine. Not run by itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TOOLS = ROOT / ".build/tools"

# A program's packages: its own and those of the libraries that a small Debian lacks.
PACKAGES = {
    "redis-server": ["redis-server", "redis-tools", "libjemalloc2", "liblzf1"],
    "memcached": ["memcached", "libevent-2.1-7", "libsasl2-2"],
}


def program(name: str) -> str:
    """Where a program is: in PATH, or unpacked just now. Exits with what to do where it cannot be had."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", str(TOOLS / "usr/bin"), str(TOOLS / "usr/sbin")])
    if found := shutil.which(name, path=path):
        return found
    if not shutil.which("apt-get"):
        raise SystemExit(f"{name} is not here, and neither is apt-get to bring it: install it")
    print(f"Unpacking {name}", file=sys.stderr)
    TOOLS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        # So that apt's own user may write there.
        os.chmod(folder, 0o755)
        download = ["apt-get", "download", "--quiet=2", *PACKAGES[name]]
        if subprocess.run(download, cwd=folder, stderr=subprocess.DEVNULL).returncode:
            subprocess.run([*(["sudo"] if os.getuid() else []), "apt-get", "update", "--quiet=2"], check=True)
            subprocess.run(download, cwd=folder, check=True)
        for package in Path(folder).glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", package, TOOLS], check=True)
    if found := shutil.which(name, path=path):
        return found
    raise SystemExit(f"{name} is not in Debian's packages {', '.join(PACKAGES[name])}: install it")


def executable() -> str:
    """The service: PANTLER_EXECUTABLE, or what `scripts/run` has built."""
    path = os.path.abspath(os.environ.get("PANTLER_EXECUTABLE") or ROOT / ".build/release/pantler")
    if not os.access(path, os.X_OK):
        raise SystemExit(f"{path} is no program: build it by scripts/run, or name one by PANTLER_EXECUTABLE")
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(name: str, command: list[str], port: int, folder: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process, from when its port is open to the block's end."""
    libraries = os.pathsep.join(str(path) for path in sorted(TOOLS.glob("usr/lib/*-linux-gnu*")))
    environment = {variable: value for variable, value in os.environ.items() if not variable.startswith("PANTLER_")}
    environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, [environment.get("LD_LIBRARY_PATH"), libraries]))
    log = Path(folder, f"{name}.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder, env=environment
        )
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{name} does not answer at port {port}:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.002)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def pantler(folder: str, *arguments: str) -> Iterator[str]:
    """The service, by its URL."""
    port = free_port()
    data = os.path.join(folder, "pantler-data")
    command = [executable(), "serve", "--port", str(port), "--data-dir", data, "--log-level", "warning", *arguments]
    with running("pantler", command, port, folder):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def redis(folder: str) -> Iterator[int]:
    """Redis without persistence, by its port."""
    port = free_port()
    command = [program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with running("redis", command, port, folder):
        yield port


@contextlib.contextmanager
def memcached(folder: str, megabytes: int = 256) -> Iterator[int]:
    """Memcached, by its port."""
    port = free_port()
    # Root has to name a user.
    user = ["-u", "root"] if os.getuid() == 0 else []
    with running(
        "memcached", [program("memcached"), "-l", "127.0.0.1", "-p", str(port), "-m", str(megabytes), *user], port, folder
    ):
        yield port
