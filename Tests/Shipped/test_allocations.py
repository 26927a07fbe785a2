"""A hit allocates nothing: counted in the executable as it is shipped, since a debug build allocates on its own."""

import os
import re
import socket
import struct
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXECUTABLE = ROOT / ".build/release/pantler"
HITS = 2000
# What goes on beside the requests, ten times a second, allocates a little.
AT_MOST = HITS // 10

PLAIN = "Host: localhost\r\n"
BEHIND_A_PROXY = (
    "Host: localhost\r\n"
    "User-Agent: node\r\n"
    "Accept: application/json, text/plain, */*\r\n"
    "Authorization: Bearer pt_abcdefgh_0123456789\r\n"
    "X-Forwarded-For: 10.0.0.7\r\n"
    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
    "Connection: keep-alive\r\n"
)
# The longest that is echoed, and one that is not.
NAMED = f"{PLAIN}X-Request-ID: {'7' * 64}\r\n"
MISNAMED = f"{PLAIN}X-Request-ID: {'7' * 65}\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """The service with one entry in it: a function that counts its allocations, and a connection."""
    folder = tmp_path_factory.mktemp("allocations")
    library, counter = folder / "count.so", folder / "count"
    source = Path(__file__).with_name("count_allocations.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    counter.write_bytes(bytes(8))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PANTLER_")}
    process = subprocess.Popen(
        [EXECUTABLE, "serve", "--data-dir", folder / "data", "--port", "0"],
        env={**environment, "LD_PRELOAD": str(library), "TEST_ALLOCATIONS": str(counter)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        port = next(int(found[1]) for line in process.stderr if (found := re.search(r"127\.0\.0\.1:(\d+)", line)))
        with socket.create_connection(("127.0.0.1", port)) as connection:
            body = b'{"value":{"name":"Ada"}}'
            ask(
                connection,
                b"PUT /v1/namespaces/app/entries/user:1 HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body),
            )
            yield lambda: struct.unpack("=Q", counter.read_bytes())[0], connection
    finally:
        process.terminate()
        process.wait()


def ask(connection, request, answers=1, statuses=(200, 201)):
    """Sends what may be several requests, and reads so many answers whole."""
    connection.sendall(request)
    left = b""
    while answers:
        left += connection.recv(1 << 16)
        while answers and b"\r\n\r\n" in left:
            head, _, rest = left.partition(b"\r\n\r\n")
            length = next(int(f.split(b":")[1]) for f in head.split(b"\r\n") if f.lower().startswith(b"content-length:"))
            if len(rest) < length:
                break
            assert head.startswith(tuple(b"HTTP/1.1 %d" % status for status in statuses)), head
            left, answers = rest[length:], answers - 1


@pytest.mark.parametrize("view", ["entries", "values"])
@pytest.mark.parametrize(
    "fields", [PLAIN, BEHIND_A_PROXY, NAMED, MISNAMED], ids=["plain", "behind a proxy", "named", "misnamed"]
)
@pytest.mark.parametrize("pipelined", [1, 16])
def test_a_hit_allocates_nothing(service, view, fields, pipelined):
    allocations, connection = service
    request = f"GET /v1/namespaces/app/{view}/user:1 HTTP/1.1\r\n{fields}\r\n".encode() * pipelined
    for _ in range(10):
        ask(connection, request, pipelined)
    before = allocations()
    for _ in range(HITS // pipelined):
        ask(connection, request, pipelined)
    assert allocations() - before < AT_MOST


@pytest.mark.parametrize("view", ["entries", "values"])
def test_a_negative_entry_is_answered_without_allocating(service, view):
    allocations, connection = service
    body = b'{"absent":true,"ttl":3600}'
    ask(
        connection,
        b"PUT /v1/namespaces/app/entries/none HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body),
    )
    request = f"GET /v1/namespaces/app/{view}/none HTTP/1.1\r\n{PLAIN}\r\n".encode()
    for _ in range(10):
        ask(connection, request, statuses=[404])
    before = allocations()
    for _ in range(HITS):
        ask(connection, request, statuses=[404])
    assert allocations() - before < AT_MOST


def test_the_count_is_of_all_allocations(service):
    """A new entry allocates: were nothing counted at all, the tests above would pass whatever a hit did."""
    allocations, connection = service
    before = allocations()
    for number in range(100):
        ask(
            connection,
            b"PUT /v1/namespaces/app/entries/%d HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"value\":1}" % number,
        )
    assert allocations() - before > 100
