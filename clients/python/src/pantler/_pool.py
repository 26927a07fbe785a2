"""Blocking connections, and the pool of those that are not in use.

The rule that everything here follows: **a connection goes back to the pool only after its answer was read to its last
byte and nothing lay behind it.** It is taken out of the pool while it is in use, so that after an exception, whichever,
nothing has to be undone: it is closed, and that is all.
"""

from __future__ import annotations

import math
import os
import select
import signal
import socket
import ssl
import struct
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TypeVar

from ._address import Address
from ._failover import Standing, first_up, unreachable
from ._http import Answer, Reader, WrongID, echo_start, whole
from ._observation import Observer, observation
from .errors import BadAnswer, ConnectionLost, TimedOut, Unavailable

IDLE_SECONDS = 30.0
"""A connection that nobody used for so long is closed: the service's own bound (75 s) must not be met in mid-request."""

PIECE = 64 * 1024
"""So much is asked for at once: a batch of a hundred small values comes in one read, which is a third of the time of two."""

LARGE = 64 * 1024
"""A body from here on is sent in pieces, with an eye on an answer that comes before all of it went out."""

PIECE_OUT = 256 * 1024
"""The pieces of what is large."""

NO_SIGNAL: int = getattr(socket, "MSG_NOSIGNAL", 0)
"""A program that leaves SIGPIPE to the system is not to be ended by a connection that has ended."""

_H = ord("H")
"""The first letter of HEAD, whose answers have no body, and of no other method."""

# A timeval is two longs where longs have 64 bits. Elsewhere sockets have their timeouts from Python.
_TIMEVAL = struct.Struct("@ll")
_HAS_TIMEVAL = sys.platform != "win32" and struct.calcsize("l") == 8


class NotAsked(Exception):
    """The connection turned out closed before a byte of the request went out."""


class NotAnswered(Exception):
    """The connection ended before a byte of the answer came."""


class Connection:
    """One connection. Owned by one thread at a time, which took it out of the pool or opened it.

    This one works with every kind of socket: TLS, and those that gevent and eventlet put in the place of Python's.
    """

    __slots__ = (
        "address", "sock", "keep", "used", "_lines", "_echo", "_count", "_limit", "_send", "_recv", "poll", "__weakref__"
    )  # fmt: skip

    def __init__(self, address: Address, sock: socket.socket, lines: bytes) -> None:
        self.address = address
        self.sock: socket.socket | None = sock
        self.keep = False
        self.used = 0.0
        self._lines = lines
        # The connection's own part makes answers tell apart that a proxy mixes up between connections.
        self._echo = echo_start()
        self._count = 0
        self._limit = 0.0
        self._send = sock.send
        self._recv = sock.recv
        self.poll: Callable[[float], list[tuple[int, int]]] | None = None
        """What can be read on it, where nothing else has to be looked at to know whether it is quiet."""

    def close(self) -> None:
        sock, self.sock = self.sock, None
        self.keep = False
        if sock is not None:
            try:
                # Without a goodbye of TLS: it could block, and in a forked child it would end the parent's connection.
                sock.close()
            except OSError:
                pass

    __del__ = close

    @property
    def fresh(self) -> bool:
        """Nothing was asked on it yet."""
        return self._count == 0

    def is_quiet(self) -> bool:
        """Nothing can be read on it: no end, and no bytes that nobody asked for."""
        sock = self.sock
        if sock is None:
            return False
        try:
            sock.settimeout(0)
            # On TLS this also takes in what is no data of ours, such as tickets for later sessions.
            if self.address.tls:
                sock.recv(1)
            else:
                sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def exchange(self, start: bytes, rest: bytes, began: float, limit: float) -> Answer:
        """One request and its answer, within ``limit`` seconds from ``began`` on. ``keep`` says afterwards whether
        another one may follow.

        Raises NotAsked, NotAnswered, ConnectionLost, TimedOut, BadAnswer; the caller closes the connection then.
        """
        self.keep = False
        self._count = count = self._count + 1
        echo = b"%s%d\r\n" % (self._echo, count)
        complete = self._send_all(b"%s%s%s" % (start, self._lines, echo), rest, False, began + limit)
        return self._read_on(b"", Reader(echo, start[0] == _H), began + limit, complete)

    def _send_all(self, head: bytes, body: bytes, begun: bool, deadline: float) -> bool:
        """Sends all of it; False where the peer takes no more, and may have said why.

        ``begun``: something went out already.
        """
        # The head does not go alone: two packets are more work for everybody than a copy of a body's beginning is.
        for view in (memoryview(head + body[:LARGE]), memoryview(body)[LARGE:]):
            while view:
                try:
                    sent = self._send_by(view[:PIECE_OUT], deadline)
                except (BlockingIOError, TimeoutError, ssl.SSLWantWriteError):
                    return False
                except OSError as error:
                    if not begun:
                        raise NotAsked(str(error)) from None
                    return False
                if sent == 0:
                    return False
                begun = True
                view = view[sent:]
        return True

    def _send_by(self, view: memoryview, deadline: float) -> int:
        """Sends some of it; 0 where an answer or the end came instead."""
        assert self.sock is not None
        self.sock.settimeout(self._left(deadline, False))
        return self._send(view) if self.address.tls else self._send(view, NO_SIGNAL)

    def _recv_by(self, size: int, deadline: float, last: bool) -> bytes:
        assert self.sock is not None
        self.sock.settimeout(self._left(deadline, last))
        return self._recv(size)

    def _left(self, deadline: float, last: bool) -> float:
        """The seconds that are left. ``last``: where there are none, what is there already is looked at."""
        left = deadline - monotonic()
        if left <= 0:
            if not last:
                raise self._timed_out()
            return 0
        # Longer than this is for ever, and more than Python's sockets take.
        return min(left, 1e6)

    def _read_on(self, data: bytes, reader: Reader, deadline: float, complete: bool) -> Answer:
        """Reads the answer to its end; ``data`` is what has come of it. ``complete``: the whole request went out."""
        answer = reader.feed(data) if data else None
        while answer is None:
            try:
                last = not complete and not reader.begun
                data = self._recv_by(min(max(reader.missing, PIECE), PIECE_OUT), deadline, last)
            except (BlockingIOError, TimeoutError, ssl.SSLWantReadError):
                raise self._timed_out() from None
            except OSError as error:
                if reader.begun:
                    raise self._lost(str(error)) from None
                raise NotAnswered(str(error)) from None
            if data:
                answer = reader.feed(data)
            else:
                answer = reader.end()
                if answer is None:
                    if reader.begun:
                        raise self._lost("it ended within the answer")
                    raise NotAnswered("it was closed before the answer")
        self.keep = complete and reader.keep
        return answer

    def _timed_out(self) -> TimedOut:
        return TimedOut(f"{self.address} did not answer in time.")

    def _lost(self, why: str) -> ConnectionLost:
        return ConnectionLost(f"The connection to {self.address} was lost: {why}.")


class PlainConnection(Connection):
    """One on a socket of Python's own without TLS, whose timeouts the kernel has: no system call is spent on waiting."""

    __slots__ = ()

    def __init__(self, address: Address, sock: socket.socket, lines: bytes) -> None:
        super().__init__(address, sock, lines)
        # Cheaper than a look at what is there: no exception has to say that nothing is.
        self.poll = _poller(sock, select.POLLIN)

    def is_quiet(self) -> bool:
        return not self.poll(0) if self.poll is not None else False

    def exchange(self, start: bytes, rest: bytes, began: float, limit: float) -> Answer:
        self.keep = False
        self._count = count = self._count + 1
        echo = b"%s%d\r\n" % (self._echo, count)
        if limit != self._limit:
            self._set_limit(limit)
        if len(rest) >= LARGE:
            complete = self._send_all(b"%s%s%s" % (start, self._lines, echo), rest, False, began + limit)
            return self._read_on(b"", Reader(echo, start[0] == _H), began + limit, complete)
        request = b"%s%s%s%s" % (start, self._lines, echo, rest)
        try:
            sent = self._send(request, NO_SIGNAL)
        except BlockingIOError:
            raise self._timed_out() from None
        except OSError as error:
            raise NotAsked(str(error)) from None
        if sent != len(request):
            complete = self._send_all(request[sent:], b"", True, began + limit)
            return self._read_on(b"", Reader(echo, start[0] == _H), began + limit, complete)
        # The whole request went out at once, so that no time has passed: the wait for the answer may have all of it.
        try:
            data = self._recv(PIECE)
        except BlockingIOError:
            raise self._timed_out() from None
        except OSError as error:
            raise NotAnswered(str(error)) from None
        answer = whole(data, echo)
        if answer is not None:
            self.keep = True
            return answer
        if not data:
            raise NotAnswered("it was closed before the answer")
        return self._read_on(data, Reader(echo, start[0] == _H), began + limit, True)

    def _send_by(self, view: memoryview, deadline: float) -> int:
        assert self.sock is not None
        poll = _poller(self.sock, select.POLLIN | select.POLLOUT)
        events = poll(math.ceil(self._left(deadline, False) * 1000))
        if not events:
            raise TimeoutError
        # What can be read now is an answer to what went out so far, or the end: no more of it is wanted.
        return 0 if events[0][1] & ~select.POLLOUT else self.sock.send(view, socket.MSG_DONTWAIT | NO_SIGNAL)

    def _recv_by(self, size: int, deadline: float, last: bool) -> bytes:
        self._set_limit(self._left(deadline, last))
        return self._recv(size)

    def _set_limit(self, seconds: float) -> None:
        """The kernel ends each wait after so long. A signal that is handled begins the wait anew, once in a while."""
        assert self.sock is not None
        microseconds = max(1, int(min(seconds, 1e9) * 1e6))
        timeval = _TIMEVAL.pack(microseconds // 1_000_000, microseconds % 1_000_000)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
        self._limit = seconds


def _poller(sock: socket.socket, events: int) -> Callable[[float], list[tuple[int, int]]]:
    poll = select.poll()
    poll.register(sock.fileno(), events)
    return poll.poll


class Place(Standing):
    """An address with the connections to it that are not in use, the one used last at the end."""

    __slots__ = ("idle", "lines")

    def __init__(self, address: Address, token: str | None) -> None:
        super().__init__(address)
        self.idle: list[Connection] = []
        self.lines = lines(address, token)


def lines(address: Address, token: str | None) -> bytes:
    """The fields that a connection puts into each request, without the last CRLF."""
    text = b"Host: " + address.host_field
    if token:
        if not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError("A token is visible ASCII characters alone; this one has others in it.")
        text += b"\r\nAuthorization: Bearer " + token.encode("ascii")
    return text


class Pool:
    """Connections to a service at one or several addresses, for any number of threads, and safe for forks.

    All times are seconds. ``timeout`` bounds a whole exchange, ``connect_timeout`` the opening of a connection within
    it. At most ``max_idle`` connections are kept for later; any number may be in use.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        *,
        token: str | None = None,
        timeout: float = 2.0,
        connect_timeout: float = 0.5,
        max_idle: int = 64,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.observers: tuple[Observer, ...] = ()
        self._places = [Place(address, token) for address in addresses]
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._max_idle = max_idle
        self._tls = tls
        if tls is None and any(address.tls for address in addresses):
            self._tls = ssl.create_default_context()
        self._idle = self._places[0].idle
        """Those of the address that is asked at the moment."""
        self._look_again = float("inf")
        """When another address may be the one to ask."""
        self._sweep_at = 0.0
        self._chores_at = 0.0
        """The earlier one of the two."""
        self._alarms = _are_alarms_handled()
        _pools.add(self)
        weakref.finalize(self, _close_idle, self._places)

    def exchange(
        self, start: bytes, rest: bytes, *, safe: bool, timeout: float | None = None, _observed: bool = False
    ) -> Answer:
        """One request and its answer.

        ``start`` is the request's first line, ``rest`` further fields, an empty line and the body, each line with its
        CRLF. ``safe`` says that the request may be asked twice, as it changes nothing. Raises Unavailable,
        ConnectionLost, TimedOut and BadAnswer.
        """
        if self.observers and not _observed:
            return self._exchange_observed(start, rest, safe, timeout)
        limit = self._timeout if timeout is None else timeout
        began = monotonic()
        if began >= self._chores_at:
            self._do_chores(began)
        idle = self._idle
        connection = None
        while idle:
            try:
                connection = idle.pop()
            except IndexError:
                # Another thread was faster.
                break
            poll = connection.poll
            if began - connection.used < IDLE_SECONDS and (connection.is_quiet() if poll is None else not poll(0)):
                break
            connection.close()
            connection = None
        if connection is None:
            return self._exchange_slowly(start, rest, safe, began, limit)
        try:
            answer = connection.exchange(start, rest, began, limit)
        except BaseException as error:
            connection.close()
            if not may_ask_again(error, safe):
                if isinstance(error, TimedOut) and len(self._places) > 1:
                    self._not_in_time(connection, error, began)
                raise public(error, connection.address) from None
        else:
            if connection.keep and len(idle) < self._max_idle:
                connection.used = began
                idle.append(connection)
            else:
                connection.close()
            return answer
        return self._exchange_on_new(start, rest, safe, began, limit)

    def close(self) -> None:
        """Closes the connections that are not in use, and from now on each one behind its answer.

        The pool still answers, more slowly. May be called at any time, by any thread.
        """
        self._max_idle = 0
        _close_idle(self._places)

    def _exchange_slowly(self, start: bytes, rest: bytes, safe: bool, began: float, limit: float) -> Answer:
        """The exchange where the address that is asked at the moment has no connection to spare."""
        place, connection = self._take(began + limit, anew=False)
        kept = not connection.fresh
        try:
            now = monotonic()
            return self._finish(place, connection, connection.exchange(start, rest, now, began + limit - now))
        except BaseException as error:
            connection.close()
            if not (
                (may_ask_again(error, safe) if kept else self._is_down(place, error, safe))
                or safe and isinstance(error, WrongID)
            ):
                if isinstance(error, TimedOut) and len(self._places) > 1:
                    self._not_in_time(connection, error, began)
                raise public(error, connection.address) from None
        return self._exchange_on_new(start, rest, safe, began, limit)

    def _exchange_on_new(self, start: bytes, rest: bytes, safe: bool, began: float, limit: float) -> Answer:
        """The exchange on a connection of its own, the last try at each address."""
        while True:
            place, connection = self._take(began + limit, anew=True)
            try:
                now = monotonic()
                return self._finish(place, connection, connection.exchange(start, rest, now, began + limit - now))
            except BaseException as error:
                connection.close()
                if not self._is_down(place, error, safe):
                    raise public(error, connection.address) from None

    def _is_down(self, place: Place, error: BaseException, safe: bool) -> bool:
        """Of an error on a new connection: whether the request may be asked at another address.

        A tunnel or proxy takes connections also where there is nobody behind it, and ends them.
        """
        if len(self._places) == 1 or not isinstance(error, (NotAsked, NotAnswered)):
            return False
        now = monotonic()
        place.failed(now, str(error))
        self._choose(now)
        return safe or isinstance(error, NotAsked)

    def _not_in_time(self, connection: Connection, error: TimedOut, began: float) -> None:
        """An address that takes connections and answers nothing would otherwise be asked for ever, although there are others."""
        now = monotonic()
        for place in self._places:
            if place.address == connection.address:
                answered = max(one.used for one in (connection, *place.idle[-1:]))
                if place.timed_out(began, now, answered, str(error)):
                    self._choose(now)

    def _finish(self, place: Place, connection: Connection, answer: Answer) -> Answer:
        if connection.keep and len(place.idle) < self._max_idle:
            connection.used = monotonic()
            place.idle.append(connection)
        else:
            connection.close()
        return answer

    def _exchange_observed(self, start: bytes, rest: bytes, safe: bool, timeout: float | None) -> Answer:
        began = monotonic()
        answer: Answer | None = None
        failure: BaseException | None = None
        try:
            answer = self.exchange(start, rest, safe=safe, timeout=timeout, _observed=True)
            return answer
        except BaseException as error:
            failure = error
            raise
        finally:
            told = observation(start, answer, monotonic() - began, failure)
            for observer in self.observers:
                observer(told)

    def _take(self, deadline: float, anew: bool) -> tuple[Place, Connection]:
        """A connection to the first address that can be reached; ``anew``: none that was used before."""
        for place in self._places:
            now = monotonic()
            if place.down_until > now:
                continue
            while not anew and place.idle:
                try:
                    connection = place.idle.pop()
                except IndexError:
                    break
                if now - connection.used < IDLE_SECONDS and connection.is_quiet():
                    return place, connection
                connection.close()
            budget = min(self._connect_timeout, deadline - now)
            if budget <= 0:
                raise TimedOut(f"There was no time left to open a connection to {place.address}.")
            place.trying(now, budget)
            try:
                connection = self._connect(place, budget)
            except (OSError, UnicodeError) as error:
                if budget == self._connect_timeout or not isinstance(error, TimeoutError):
                    place.failed(monotonic(), str(error) or type(error).__name__)
                else:
                    # Who has little time cannot say of an address that it is down.
                    place.why = "it was not reached in the little time there was"
                self._choose(monotonic())
                continue
            if place.down_until:
                place.reached()
                self._choose(monotonic())
            return place, connection
        raise Unavailable(unreachable(self._places))

    def _choose(self, now: float) -> None:
        index, self._look_again = first_up(self._places, now)
        self._idle = self._places[index].idle
        self._chores_at = min(self._look_again, self._sweep_at)

    def _connect(self, place: Place, budget: float) -> Connection:
        sock = connect(place.address, budget, self._tls)
        try:
            if _is_plain(sock) and not self._alarms:
                sock.settimeout(None)
                connection: Connection = PlainConnection(place.address, sock, place.lines)
            else:
                connection = Connection(place.address, sock, place.lines)
        except BaseException:
            sock.close()
            raise
        return connection

    def _do_chores(self, now: float) -> None:
        """What is to be done now and then, by whichever call comes along."""
        if now >= self._sweep_at:
            self._sweep_at = now + 1.0
            if self._alarms != _are_alarms_handled():
                self._alarms = not self._alarms
                _close_idle(self._places)
            for place in self._places:
                # The one that lay longest is at the beginning. Another thread may take it meanwhile: whoever pops owns.
                while place.idle and _is_old(place.idle, now):
                    try:
                        oldest = place.idle.pop(0)
                    except IndexError:
                        break
                    oldest.close()
        self._choose(now)

    def _forget(self) -> None:
        """In a forked child: the sockets are the parent's, and are closed with all others (``_after_fork``)."""
        for place in self._places:
            place.idle.clear()


def _is_plain(sock: socket.socket) -> bool:
    """Whether it is a socket of Python's own, and the kernel may have its timeouts."""
    return _HAS_TIMEVAL and type(sock) is socket.socket and socket.socket.__module__ == "socket"


def _are_alarms_handled() -> bool:
    """Whether a timer may be calling a handler of the program's again and again.

    Each such signal begins a wait of the kernel anew, and frequent ones would have it never end. Where Python has the
    timeouts, it goes on with what is left.
    """
    return callable(signal.getsignal(signal.SIGALRM)) if hasattr(signal, "SIGALRM") else False


def may_ask_again(error: BaseException, safe: bool) -> bool:
    """Of a request on a connection that had been kept: whether it may be asked once more."""
    return isinstance(error, NotAsked) or safe and isinstance(error, (NotAnswered, BadAnswer))


def public(error: BaseException, address: Address) -> BaseException:
    """The error that the caller sees."""
    if isinstance(error, NotAsked):
        return Unavailable(f"{address} closed the connection before the request was sent: {error}.")
    if isinstance(error, NotAnswered):
        return ConnectionLost(f"The connection to {address} was lost: {error}.")
    return error


_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
"""All sockets, from the moment they are made: a process may be forked while another thread still connects one."""

Socket = TypeVar("Socket", bound=socket.socket)


def noted(sock: Socket) -> Socket:
    """The socket, which a forked child will close."""
    _sockets.add(sock)
    return sock


def connect(address: Address, budget: float, tls: ssl.SSLContext | None) -> socket.socket:
    """A connected socket, with TLS where the address has it. Raises OSError and UnicodeError."""
    deadline = monotonic() + min(budget, 1e6)
    sock = _connect_unix(address.path, deadline) if address.path is not None else _connect_tcp(address, deadline)
    if not address.tls:
        return sock
    try:
        assert tls is not None
        sock.settimeout(max(0.001, deadline - monotonic()))
        sock = noted(tls.wrap_socket(sock, server_hostname=address.host, do_handshake_on_connect=False))
        sock.do_handshake()
        return sock
    except BaseException:
        sock.close()
        raise


def _connect_unix(path: str, deadline: float) -> socket.socket:
    while True:
        sock = noted(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        try:
            sock.settimeout(max(0.001, deadline - monotonic()))
            sock.connect(path)
            return sock
        except BlockingIOError:
            # The listener's queue is full. The kernel waits for room on a blocking socket alone.
            sock.close()
            if monotonic() >= deadline:
                raise TimeoutError("the listener's queue is full") from None
            time.sleep(0.005)
        except BaseException:
            sock.close()
            raise


def _connect_tcp(address: Address, deadline: float) -> socket.socket:
    targets = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    failure: OSError = OSError("its name has no address")
    for index, (family, kind, protocol, _, target) in enumerate(targets):
        left = deadline - monotonic()
        if left <= 0:
            break
        try:
            sock = noted(socket.socket(family, kind, protocol))
        except OSError as error:
            failure = error
            continue
        try:
            # One that does not answer must not use up the time of those behind it.
            sock.settimeout(left / (len(targets) - index))
            sock.connect(target)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    raise failure


def _is_old(idle: list[Connection], now: float) -> bool:
    try:
        return now - idle[0].used >= IDLE_SECONDS
    except IndexError:
        return False


def _close_idle(places: list[Place]) -> None:
    for place in places:
        while place.idle:
            try:
                connection = place.idle.pop()
            except IndexError:
                break
            connection.close()


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in list(_pools):
        pool._forget()
    for sock in list(_sockets):
        # Without a goodbye, as a connection's own end.
        sock.close()
    _sockets.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
