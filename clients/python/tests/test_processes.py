"""Pools in processes of their own: with the sockets of gevent and eventlet, and when the interpreter ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hostile import Peer, Request, Server

SOURCES = Path(__file__).resolve().parents[1] / "src"


def run(program: str, *arguments: str) -> str:
    """Runs a program with every warning an error; it has to say nothing but what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCES), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


GREEN = '''
{patch}
import os, sys, time
from pantler import _pool
from pantler._address import parse_addresses
from pantler.errors import TimedOut, Unavailable

addresses, _ = parse_addresses(sys.argv[1])
pool = _pool.Pool(addresses, max_idle=4)
target = b"/v1/namespaces/default/values/green-%d"

def ask(number):
    body = b"%d" % number * 50_000
    start = b"PUT " + target % number + b" HTTP/1.1\\r\\n"
    assert pool.exchange(start, b"Content-Length: %d\\r\\n\\r\\n" % len(body) + body, safe=False)[0] in (200, 201)
    for _ in range(20):
        assert pool.exchange(b"GET " + target % number + b" HTTP/1.1\\r\\n", b"\\r\\n", safe=True)[2] == body
    return number

numbers = list(range(20))
assert run_all(ask, numbers) == numbers
connections = pool._places[0].idle
assert len(connections) == 4 and {{type(connection) for connection in connections}} == {{_pool.Connection}}

# While one waits, the others go on.
lease = b"POST /v1/namespaces/default/leases/green-lease-%d HTTP/1.1\\r\\n" % os.getpid()
def rest(wait): return b"Content-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(wait), wait)
assert pool.exchange(lease, rest(b'{{"ttl":2}}'), safe=False)[0] == 201
def wait(number):
    try:
        pool.exchange(lease, rest(b'{{"ttl":2,"wait":1}}'), safe=False, timeout=0.5)
    except TimedOut:
        return number
began = time.monotonic()
assert run_all(wait, numbers) == numbers
assert time.monotonic() - began < 1.5
assert ask(1) == 1
pool.close()
down = _pool.Pool(parse_addresses("http://127.0.0.1:1")[0])
try:
    down.exchange(b"GET / HTTP/1.1\\r\\n", b"\\r\\n", safe=True)
except Unavailable:
    print("done")
'''

GEVENT = """
import gevent.monkey; gevent.monkey.patch_all()
import gevent
def run_all(work, numbers):
    jobs = [gevent.spawn(work, number) for number in numbers]
    gevent.joinall(jobs, raise_error=True)
    return [job.value for job in jobs]
"""

EVENTLET = """
import warnings; warnings.simplefilter("ignore")
import eventlet; eventlet.monkey_patch()
def run_all(work, numbers):
    return list(eventlet.GreenPool(100).imap(work, numbers))
"""


@pytest.mark.parametrize(("name", "patch"), [("gevent", GEVENT), ("eventlet", EVENTLET)])
def test_green_threads_share_a_pool(name: str, patch: str, service: str) -> None:
    pytest.importorskip(name, exc_type=Exception)
    assert run(GREEN.format(patch=patch), service) == "done\n"


ENDS = '''
import asyncio, sys, threading
from pantler._address import parse_addresses
from pantler._async_pool import AsyncPool
from pantler._pool import Pool

addresses, _ = parse_addresses(sys.argv[1])
pool, other = Pool(addresses), AsyncPool(addresses)
start = b"GET /v1/namespaces/default/values/none HTTP/1.1\\r\\n"

async def main():
    await asyncio.gather(*(other.exchange(start, b"\\r\\n", safe=True) for _ in range(5)))

def forever():
    while True:
        pool.exchange(start, b"\\r\\n", safe=True)

pool.exchange(start, b"\\r\\n", safe=True)
{end}
print("done")
'''


@pytest.mark.parametrize(
    "end",
    [
        "pass",
        "asyncio.run(main())",
        "asyncio.run(main()); asyncio.run(main())",
        "loop = asyncio.new_event_loop(); loop.run_until_complete(main()); loop.close()",
        "circle = [pool, other]; circle.append(circle); asyncio.run(main()); del pool, other",
        "pool.close(); other.close(); asyncio.run(main())",
        "[threading.Thread(target=forever, daemon=True).start() for _ in range(8)]; import time; time.sleep(0.1)",
        "threading.Thread(target=lambda: pool.exchange(start, b'\\r\\n', safe=True)).start()",
        "import atexit; atexit.register(lambda: pool.exchange(start, b'\\r\\n', safe=True))",
        "class C:\n    def __del__(self): pool.close(); other.close()\nc = C(); asyncio.run(main())",
    ],
)
def test_an_interpreter_ends_quietly(end: str, service: str) -> None:
    assert run(ENDS.format(end=end), service) == "done\n"


def test_an_interpreter_ends_quietly_with_uvloop(service: str) -> None:
    pytest.importorskip("uvloop")
    end = "import uvloop; loop = uvloop.new_event_loop(); loop.run_until_complete(main()); loop.close()"
    assert run(ENDS.format(end=end), service) == "done\n"


def test_a_call_is_interrupted_by_the_keyboard(service: str) -> None:
    program = '''
import os, signal, sys, threading, time
from pantler._address import parse_addresses
from pantler._pool import Pool

addresses, _ = parse_addresses(sys.argv[1])
pool = Pool(addresses)
lease = b"POST /v1/namespaces/default/leases/keyboard HTTP/1.1\\r\\n"
def rest(wait): return b"Content-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(wait), wait)
assert pool.exchange(lease, rest(b'{"ttl":5}'), safe=False)[0] == 201
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
began = time.monotonic()
try:
    pool.exchange(lease, rest(b'{"ttl":5,"wait":4}'), safe=False, timeout=5)
except KeyboardInterrupt:
    assert time.monotonic() - began < 2
    assert not pool._places[0].idle
    print("interrupted")
'''
    assert run(program, service) == "interrupted\n"


@pytest.mark.parametrize("kind", ["plain", "any", "async"])
def test_sigpipe_does_not_end_a_program_that_leaves_it_to_the_system(kind: str) -> None:
    program = '''
import asyncio, signal, sys
from pantler import _pool
from pantler._address import parse_addresses
from pantler._async_pool import AsyncPool

signal.signal(signal.SIGPIPE, signal.SIG_DFL)
_pool._HAS_TIMEVAL = sys.argv[2] != "any"
addresses, _ = parse_addresses(sys.argv[1])
start, rest = b"PUT / HTTP/1.1\\r\\n", b"Content-Length: 9000000\\r\\n\\r\\n" + b"x" * 9000000
for _ in range(20):
    if sys.argv[2] == "async":
        answer = asyncio.run(AsyncPool(addresses).exchange(start, rest, safe=False))
    else:
        answer = _pool.Pool(addresses).exchange(start, rest, safe=False)
    assert answer[0] == 413
print("done")
'''

    def refuse(peer: Peer) -> None:
        head = peer.sock.recv(65536)
        peer.send(Request(head, b"").answer(b"no", b"413 Content Too Large", b"connection: close\r\n"))

    with Server(refuse) as server:
        assert run(program, str(server.address), kind) == "done\n"
