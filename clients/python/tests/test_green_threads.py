"""The blocking client under gevent and eventlet, which put sockets of their own in the place of Python's."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

PATCH = {
    "gevent": "from gevent import monkey; monkey.patch_all()\n"
    "from gevent import spawn as go, sleep\nget = lambda thread: thread.get()\n",
    "eventlet": "import eventlet; eventlet.monkey_patch()\n"
    "from eventlet import spawn as go, sleep\nget = lambda thread: thread.wait()\n",
}
WORK = """
import os, time
from pantler import Client, TimedOut

cache = Client(os.environ["PANTLER_URL"], namespace="green")
cache.flush()
loads = 0

def load():
    global loads
    loads += 1
    sleep(0.2)
    return "loaded"

def fetch():
    return cache.fetch("key", load, ttl=60)

begin = time.monotonic()
assert [get(thread) for thread in [go(fetch) for _ in range(50)]] == ["loaded"] * 50
assert loads == 1, loads
# Side by side, not one after the other.
assert time.monotonic() - begin < 5

def own(number):
    for turn in range(20):
        cache.set(f"key-{number}", [number, turn])
        assert cache.get(f"key-{number}") == [number, turn]
    return number

assert [get(thread) for thread in [go(own, number) for number in range(50)]] == list(range(50))

# A time-out is one here, too, and holds nobody else up.
import socket
listener = socket.create_server(("127.0.0.1", 0))
silent = Client(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.3)

def ask():
    begin = time.monotonic()
    try:
        silent.get("key")
    except TimedOut:
        return time.monotonic() - begin

asking = go(ask)
for _ in range(10):
    assert cache.get("key") == "loaded"
    sleep(0)
assert 0.25 < get(asking) < 2
"""


@pytest.mark.parametrize("library", PATCH)
def test_green_threads_wait_side_by_side(library: str, service: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    script = tmp_path / "work.py"
    script.write_text(PATCH[library] + WORK)
    # Without -W error: both libraries use what Python warns of.
    told = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PANTLER_URL": service},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.returncode == 0, told.stderr[-4000:]
