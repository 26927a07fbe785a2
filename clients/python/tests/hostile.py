"""A server that does to its clients whatever a test wants, and clients of each kind to do it to."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from pantler import _pool
from pantler._address import Address
from pantler._async_pool import AsyncPool
from pantler._http import Answer
from pantler._pool import Pool


class Request(NamedTuple):
    head: bytes
    body: bytes

    @property
    def target(self) -> bytes:
        return self.head.split(b" ")[1]

    @property
    def id(self) -> bytes:
        found = re.search(rb"\r\nx-request-id: (\S+)", self.head, re.IGNORECASE)
        assert found is not None, self.head
        return found[1]

    def answer(self, body: bytes | None = None, status: bytes = b"200 OK", more: bytes = b"", echo: bool = True) -> bytes:
        """A good answer: its body is the request's target where nothing else is said."""
        body = self.target if body is None else body
        head = b"HTTP/1.1 %s\r\ndate: Mon, 30 Nov 2026 18:14:16 GMT\r\n" % status
        if echo:
            head += b"x-request-id: %s\r\n" % self.id
        return head + more + b"content-type: text/plain\r\ncontent-length: %d\r\n\r\n" % len(body) + body


class Peer:
    """The server's end of a connection."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        """How many connections there were before it."""
        self._buffer = b""

    def request(self) -> Request | None:
        """The next one, whole; None where the client has gone."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                return None
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        length = int(found[1]) if found else 0
        while len(self._buffer) < length:
            if not self._more():
                return None
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return Request(head + b"\r\n\r\n", body)

    def _more(self) -> bool:
        try:
            data = self.sock.recv(65536)
        except OSError:
            return False
        self._buffer += data
        return bool(data)

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.sock.sendall(piece)

    def wait_for_end(self) -> None:
        """Until the client has gone."""
        while self._more():
            pass

    def reset(self) -> None:
        """Ends the connection the hard way."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Script = Callable[[Peer], None]


class Server:
    """Runs a script, in a thread of its own, for each connection; it is closed where the script returns."""

    def __init__(self, script: Script, kind: str = "tcp", folder: Path | None = None) -> None:
        self.script = script
        self.peers: list[Peer] = []
        self.requests: list[bytes] = []
        self.failures: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._tls: ssl.SSLContext | None = None
        if kind == "unix":
            assert folder is not None
            path = str(folder / "s")
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(path)
            self.address = Address(None, None, path, False, b"localhost")
        else:
            self._listener = socket.socket()
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(("127.0.0.1", 0))
            port = self._listener.getsockname()[1]
            self.address = Address("127.0.0.1", port, None, kind == "tls", b"127.0.0.1:%d" % port)
            if kind == "tls":
                assert folder is not None
                self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                self._tls.load_cert_chain(certificate(folder))
        self._listener.listen(512)
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # A listener that is shut down wakes who accepts at it; closing alone does not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        if kind is None:
            assert not self.failures, self.failures

    def stop_listening(self) -> None:
        """Nobody can connect any more; what is open stays open."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            peer = Peer(sock, len(self.peers))
            self.peers.append(peer)
            thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: Peer) -> None:
        try:
            if peer.sock.family != socket.AF_UNIX:
                peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                peer.sock = self._tls.wrap_socket(peer.sock, server_side=True)
            self.script(peer)
        except OSError:
            # The client has gone first, which most tests are about.
            pass
        except BaseException as error:
            self.failures.append(error)
        finally:
            peer.sock.close()


def serving(answer: Callable[[Peer, Request], None]) -> Script:
    """A script that answers each request by a function, for as long as the client asks."""

    def script(peer: Peer) -> None:
        while (request := peer.request()) is not None:
            answer(peer, request)

    return script


def certificate(folder: Path) -> str:
    """The path of a certificate for 127.0.0.1 and localhost with its key, which is its own authority."""
    path = folder / "certificate.pem"
    if not path.exists():
        key = folder / "key.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
                *("-keyout", str(key), "-out", str(path), "-days", "2", "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            ],
            check=True,
            capture_output=True,
        )
        path.write_text(path.read_text() + key.read_text())
    return str(path)


class Caller:
    """A pool of one kind or the other, asked as if it were a blocking one."""

    def __init__(self, kind: str, *addresses: Address, folder: Path | None = None, **options: object) -> None:
        if "tls" not in options and any(address.tls for address in addresses):
            assert folder is not None
            options["tls"] = ssl.create_default_context(cafile=certificate(folder))
        self.loop: asyncio.AbstractEventLoop | None = None
        self.pool: Pool | AsyncPool
        if kind in ("async", "uvloop"):
            self.pool = AsyncPool(addresses, **options)  # type: ignore[arg-type]
            if kind == "uvloop":
                import uvloop

                self.loop = uvloop.new_event_loop()
            else:
                self.loop = asyncio.new_event_loop()
        else:
            self.pool = Pool(addresses, **options)  # type: ignore[arg-type]

    def ask(self, start: bytes, rest: bytes = b"\r\n", *, safe: bool = True, timeout: float | None = None) -> Answer:
        if self.loop is not None:
            assert isinstance(self.pool, AsyncPool)
            return self.loop.run_until_complete(self.pool.exchange(start, rest, safe=safe, timeout=timeout))
        assert isinstance(self.pool, Pool)
        return self.pool.exchange(start, rest, safe=safe, timeout=timeout)

    def get(self, target: str = "/a", **options: object) -> tuple[int, bytes]:
        status, _, body = self.ask(f"GET {target} HTTP/1.1\r\n".encode(), **options)  # type: ignore[arg-type]
        return status, body

    def put(self, body: bytes = b"value", target: str = "/a", **options: object) -> tuple[int, bytes]:
        rest = b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        status, _, answer = self.ask(f"PUT {target} HTTP/1.1\r\n".encode(), rest, safe=False, **options)  # type: ignore[arg-type]
        return status, answer

    @property
    def kept(self) -> int:
        """How many connections are kept for later."""
        if isinstance(self.pool, Pool):
            return sum(len(place.idle) for place in self.pool._places)
        return sum(len(idle) for home in self.pool._homes.values() for idle in home.idle)

    def close(self) -> None:
        self.pool.close()
        if self.loop is not None:
            self.loop.close()


KINDS = ["plain", "any", "async", "uvloop"]
"""``any`` is the blocking one for sockets that are not Python's own."""


@contextlib.contextmanager
def calling(kind: str, *addresses: Address, folder: Path | None = None, **options: object) -> Iterator[Caller]:
    if kind == "uvloop":
        import pytest

        pytest.importorskip("uvloop")
    has_timeval = _pool._HAS_TIMEVAL
    _pool._HAS_TIMEVAL = has_timeval and kind != "any"
    try:
        caller = Caller(kind, *addresses, folder=folder, **options)
        try:
            yield caller
        finally:
            caller.close()
    finally:
        _pool._HAS_TIMEVAL = has_timeval
