"""Callers by the thousand in one process: keep-alive connections on an epoll by hand, and what a cache-aside application does over them. Not
run by itself.

An answer has two moments: when the kernel had it (SO_TIMESTAMPNS), and when Python had read it. Latencies are told of the former: while one
answer is read others lie ready, and that wait is the client's and not the server's. Both moments are seconds of CLOCK_REALTIME, as the
kernel's are.
"""

import collections
import heapq
import itertools
import json
import select
import socket
import struct
import time

from servers import NAMESPACE, compact

# <asm-generic/socket.h>: Python's module does not have it.
SO_TIMESTAMPNS = 35
# Seconds after which an answer that has not come is taken for lost.
PATIENCE = 120
# The kernel takes its time to begin with stamps where nobody wanted any: so that all of ours have one, there is one socket that does.
STAMPED = socket.socket()
STAMPED.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

Answer = collections.namedtuple("Answer", "status head body at read_at")


def percentile(numbers, share):
    ascending = sorted(numbers)
    return ascending[int((len(ascending) - 1) * share)]


def request(method, path, body=None, *fields):
    """The bytes of a request, with a body of JSON or none."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *fields]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n" + (body or "")).encode()


# Connections


class Connection:
    """One that waits for an answer before it asks again."""

    __slots__ = ("socket", "input", "then")

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.input = b""
        self.then = None

    def ask(self, text, then):
        """Sends a request; `then` is called with its answer."""
        self.then = then
        if self.socket.send(text) != len(text):
            raise SystemExit("a server does not take a request")

    def take(self):
        """Reads what is there, and hands it on if that is all of an answer."""
        data, ancillary, _, _ = self.socket.recvmsg(1 << 16, 64)
        read_at = time.time()
        if not data:
            raise SystemExit("a server has closed a connection")
        at = read_at
        if ancillary:
            seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
            at = seconds + nanoseconds / 1e9
        if self.input:
            data = self.input + data
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            head = data[:end].lower()
            field = head.find(b"\r\ncontent-length:")
            length = int(head[field + 17:].split(b"\r", 1)[0]) if field >= 0 else 0
            if len(data) >= end + 4 + length:
                self.input = b""
                self.then(Answer(int(head[9:12]), head, data[end + 4:], at, read_at))
                return
        self.input = data


class Loop:
    """Connections, and calls at a later time."""

    def __init__(self):
        self.epoll = select.epoll()
        self.connections = {}
        self.timers = []
        self.order = itertools.count()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for connection in self.connections.values():
            connection.socket.close()
        self.epoll.close()

    def connect(self, port):
        connection = Connection(port)
        self.connections[connection.socket.fileno()] = connection
        self.epoll.register(connection.socket, select.EPOLLIN)
        return connection

    def after(self, seconds, call):
        self.at(time.monotonic() + seconds, call)

    def at(self, moment, call):
        heapq.heappush(self.timers, (moment, next(self.order), call))

    def run(self, until):
        """Turns until the condition holds."""
        last = time.monotonic()
        while not until():
            wait = max(0, self.timers[0][0] - time.monotonic()) if self.timers else PATIENCE
            ready = self.epoll.poll(wait, 4096)
            for descriptor, _ in ready:
                self.connections[descriptor].take()
            now = time.monotonic()
            while self.timers and self.timers[0][0] <= now:
                heapq.heappop(self.timers)[2]()
                last = now
            if ready:
                last = now
            elif now - last >= PATIENCE:
                raise SystemExit("a server has left a caller without an answer")


# What an application does


class CacheAside:
    """Asks for a key; loads and puts what is not there. The two ways to do so are below.

    `load(key, then)` calls `then` with the text of a value once it is loaded. `life` is what is put beside it: `{"ttl": 2}`. What becomes of
    a call is told by `done(outcome, at)`, with the kernel's moment of the answer: `hit`, `filled` by this caller, `stale`, `early` (a
    stale, or a still fresh entry in hand, which this caller refreshes meanwhile).
    """

    def __init__(self, loop, port, load, life):
        self.loop = loop
        self.port = port
        self.load = load
        self.life = compact(life)[1:-1]
        self.idle = []
        # Loads in all; of these, begun while the same key was already being loaded; that run; fills that came too late.
        self.loads = self.doubled = self.running = self.lost = 0
        self.loading = collections.Counter()

    def refresh(self, connection, key, fields, done):
        """Loads and puts. `done` gets the moment at which the put was answered."""
        self.loads += 1
        self.doubled += self.loading[key] > 0
        self.loading[key] += 1
        self.running += 1

        def put(text):
            body = f'{{"value":{text},{self.life}}}'
            connection.ask(request("PUT", f"/v1/namespaces/{NAMESPACE}/entries/{key}", body, *fields), finish)

        def finish(answer):
            self.running -= 1
            self.loading[key] -= 1
            if not self.loading[key]:
                del self.loading[key]
            if answer.status == 412:
                self.lost += 1
            elif answer.status not in (200, 201):
                raise unexpected("a put", answer)
            done(answer.at)

        self.load(key, put)

    def refresh_beside(self, key, fields):
        """The same over a connection of its own: the caller goes on."""
        connection = self.idle.pop() if self.idle else self.loop.connect(self.port)
        self.refresh(connection, key, fields, lambda _: self.idle.append(connection))


class Plain(CacheAside):
    """Get; on a miss load and put."""

    def fetch(self, connection, key, done):
        def got(answer):
            if answer.status == 200:
                done("hit", answer.at)
            elif answer.status == 404:
                self.refresh(connection, key, (), lambda at: done("filled", at))
            else:
                raise unexpected("a get", answer)

        connection.ask(request("GET", f"/v1/namespaces/{NAMESPACE}/entries/{key}"), got)


class Leases(CacheAside):
    """Asks for a lease, and waits while somebody else fills."""

    body = compact({"ttl": 30, "wait": 30})

    def fetch(self, connection, key, done):
        text = request("POST", f"/v1/namespaces/{NAMESPACE}/leases/{key}", self.body)

        def got(answer):
            if answer.status == 200:
                done("stale" if b"detail=stale" in answer.head else "hit", answer.at)
            elif answer.status == 201:
                given = json.loads(answer.body)
                fields = [f"Lease: {given['lease']['token']}"]
                if "stale_entry" in given:
                    done("early" if given.get("fresh") else "stale", answer.at)
                    self.refresh_beside(key, fields)
                else:
                    self.refresh(connection, key, fields, lambda at: done("filled", at))
            elif answer.status == 409:
                # The wait is over, the fill is not.
                connection.ask(text, got)
            else:
                raise unexpected("a lease request", answer)

        connection.ask(text, got)


def unexpected(what, answer):
    return SystemExit(f"{what} was answered {answer.status}: {answer.body[:500]!r}")
