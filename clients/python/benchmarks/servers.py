"""The servers that the scripts here compare: each on loopback and a free port, for as long as its block runs.

A program that is not installed is unpacked from Debian's package into `.build/tools` of the repository, and not
installed: that would start a service of the machine. Run by itself it does that alone, for the programs that it is
given:

    servers.py redis-server memcached
"""

from __future__ import annotations

import contextlib
import os
import re
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

# The packages that a program comes in.
PACKAGES = {"redis-server": ["redis-server", "redis-tools"], "memcached": ["memcached"]}


def program(name: str) -> str:
    """Where a program is: in PATH, or unpacked just now. Exits with what to do where it cannot be had."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", str(TOOLS / "usr/bin"), str(TOOLS / "usr/sbin")])
    if found := shutil.which(name, path=path):
        return found
    if not shutil.which("apt-get"):
        raise SystemExit(f"{name} is not here, and neither is apt-get to bring it: install it")
    print(f"Unpacking {name}", file=sys.stderr)
    unpack(PACKAGES[name])
    if found := shutil.which(name, path=path):
        return found
    raise SystemExit(f"{name} is not in the packages {', '.join(PACKAGES[name])}: install it")


def unpack(packages: list[str]) -> None:
    """Unpacks packages, with the libraries of theirs that are not installed."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        # So that apt's own user may write there.
        os.chmod(folder, 0o777)

        def download(*names: str) -> bool:
            command = ["apt-get", "download", "--quiet=2", *names]
            return subprocess.run(command, cwd=folder, stderr=subprocess.DEVNULL).returncode == 0

        if not download(*packages):
            # apt knows no packages, or others than there are by now.
            subprocess.run([*(["sudo"] if os.getuid() else []), "apt-get", "update", "--quiet=2"], check=True)
            if not download(*packages):
                raise SystemExit(f"apt-get does not download {', '.join(packages)}")
        told = subprocess.run(["apt-cache", "depends", *packages], check=True, capture_output=True, text=True).stdout
        for library in sorted(set(re.findall(r"^  Depends: (lib\S+)$", told, re.MULTILINE))):
            asked = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", library]
            if subprocess.run(asked, capture_output=True, text=True).stdout != "installed":
                download(library)
        for package in Path(folder).glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", package, TOOLS], check=True)


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
        "memcached",
        [program("memcached"), "-l", "127.0.0.1", "-p", str(port), "-m", str(megabytes), *user],
        port,
        folder,
    ):
        yield port


if __name__ == "__main__":
    if wrong := set(sys.argv[1:]) - set(PACKAGES):
        raise SystemExit(f"There is no {', '.join(sorted(wrong))} here, but {', '.join(PACKAGES)}.")
    for wanted in sys.argv[1:]:
        program(wanted)
