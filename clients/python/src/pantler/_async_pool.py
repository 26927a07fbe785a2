"""Connections for asyncio, and the pool of those that are not in use.

The same rule as for the blocking ones: **a connection goes back to the pool only after its answer was read to its last
byte and nothing lay behind it.** A cancelled task, a timeout, any exception closes the one that was in use.

The connections stand on the loop's ``add_reader`` and ``add_writer`` and on sockets of their own, not on transports: a
loop that is closed without further ado leaves transports behind that can neither be closed nor go quietly.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import ssl
import threading
import weakref
from collections.abc import Callable, Sequence
from time import monotonic

from ._address import Address
from ._failover import Standing, first_up, unreachable
from ._http import Answer, Reader, WrongID, echo_start, whole
from ._observation import Observer, observation
from ._pool import IDLE_SECONDS, LARGE, NO_SIGNAL, PIECE, PIECE_OUT, NotAnswered, NotAsked, lines, may_ask_again, noted, public
from ._tls import Secure
from .errors import BadAnswer, ConnectionLost, TimedOut, Unavailable

Loop = asyncio.AbstractEventLoop

Orphan = Callable[[Answer], object]
"""Takes the answer whose caller has gone."""

LONGEST_SLEEP = 10.0
"""A timer is no longer under way than that, as it keeps its connection from being forgotten."""

_NEVER = float("inf")

READS = 64
"""So often one connection is read before others have their turn."""


class AsyncConnection:
    """One connection, of one loop. While a request is under way, it belongs to the task that took it out of the pool."""

    __slots__ = (
        "address", "sock", "keep", "used", "_loop", "_fd", "_lines", "_echo_start", "_count", "_secure", "_recv", "_send",
        "_poll", "_future", "_deadline", "_wakes_at", "_echo", "_bodiless", "_reader", "_unsent", "_complete",
        "__weakref__",
    )  # fmt: skip

    def __init__(self, loop: Loop, address: Address, sock: socket.socket, lines: bytes, secure: Secure | None) -> None:
        self.address = address
        self.sock: socket.socket | None = sock
        self.keep = False
        self.used = 0.0
        # The loop has the connection, by the reader; the other way about neither would ever go.
        self._loop = weakref.ref(loop)
        self._fd = sock.fileno()
        self._lines = lines
        self._echo_start = echo_start()
        self._count = 0
        self._secure = secure
        self._recv = sock.recv
        self._send = sock.send
        self._poll = _poller(self._fd)
        self._future: asyncio.Future[Answer] | None = None
        self._deadline = 0.0
        self._wakes_at = _NEVER
        self._echo = b""
        self._bodiless = False
        self._reader: Reader | None = None
        self._unsent: list[memoryview] = []
        self._complete = True
        loop.add_reader(self._fd, self._readable)

    def close(self) -> None:
        """Closes it; only in the loop's thread, or when the loop does not run."""
        sock, self.sock = self.sock, None
        self.keep = False
        if sock is None:
            return
        loop = self._loop()
        if loop is not None and not loop.is_closed():
            loop.remove_reader(self._fd)
            if self._unsent:
                loop.remove_writer(self._fd)
        self._unsent = []
        # It has the loop, which must not live as long as the pool.
        self._future = None
        _close_socket(sock)

    def abandon(self) -> None:
        """Closes it in a forked child, where the loop's selector is still the parent's and must not be told."""
        sock, self.sock = self.sock, None
        self.keep = False
        if sock is not None:
            _close_socket(sock)

    # As long as the loop has the reader, it has the connection: who comes here is in no loop any more.
    __del__ = abandon

    @property
    def fresh(self) -> bool:
        """Nothing was asked on it yet."""
        return self._count == 0

    def is_quiet(self) -> bool:
        """Nothing can be read on it: no end, and no bytes that nobody asked for. The loop may not have seen them yet."""
        if self.sock is not None and self._poll(0):
            self._readable()
        return self.sock is not None

    def ask(self, loop: Loop, start: bytes, rest: bytes, deadline: float) -> asyncio.Future[Answer]:
        """Sends a request; its answer comes by the future, or TimedOut. Raises NotAsked; the caller closes then."""
        self.keep = False
        self._count = count = self._count + 1
        self._echo = echo = b"%s%d\r\n" % (self._echo_start, count)
        self._bodiless = start[0] == ord("H")
        self._reader = None
        self._complete = True
        future: asyncio.Future[Answer] = loop.create_future()
        self._future = future
        self._deadline = deadline
        if deadline < self._wakes_at:
            self._wake(loop)
        if len(rest) < LARGE:
            request = b"%s%s%s%s" % (start, self._lines, echo, rest)
            large = b""
        else:
            request = b"%s%s%s" % (start, self._lines, echo)
            large = rest
        if self._secure is not None:
            request = self._secure.encrypt(request)
            if large:
                large = self._secure.encrypt(large)
        try:
            sent = self._send(request, NO_SIGNAL)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise NotAsked(str(error)) from None
        if sent != len(request) or large:
            self._unsent = [view for view in (memoryview(request)[sent:], memoryview(large)) if view]
            loop.add_writer(self._fd, self._writable)
        return future

    # A timer for each request would cost as much as the rest of it. A connection has one, which is left as it is when the
    # answer comes, and goes on to the deadline of the request that it finds. Nobody but the loop has it, as a timer has
    # its loop: one that was overtaken by an earlier one finds that, and ends.

    def _wake(self, loop: Loop) -> None:
        now = monotonic()
        delay = min(max(self._deadline - now, 0.0), LONGEST_SLEEP)
        self._wakes_at = now + delay
        loop.call_later(delay, self._woken, loop, self._wakes_at)

    def _woken(self, loop: Loop, at: float) -> None:
        if at != self._wakes_at:
            return
        self._wakes_at = _NEVER
        if self._future is None:
            return
        if monotonic() < self._deadline:
            self._wake(loop)
        else:
            _set_exception(self._future, TimedOut(f"{self.address} did not answer in time."))

    def _say(self, data: bytes) -> None:
        """Sends what TLS has to say by itself, behind what has not gone out yet."""
        if not data:
            return
        sent = 0
        if not self._unsent:
            try:
                sent = self._send(data, NO_SIGNAL)
            except BlockingIOError:
                pass
        if sent < len(data):
            loop = self._loop()
            if loop is not None and not self._unsent:
                loop.add_writer(self._fd, self._writable)
            self._unsent.append(memoryview(data)[sent:])

    def _writable(self) -> None:
        unsent = self._unsent
        try:
            while unsent:
                sent = self._send(unsent[0][:PIECE_OUT], NO_SIGNAL)
                unsent[0] = unsent[0][sent:]
                if not unsent[0]:
                    del unsent[0]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            # The peer takes no more. It may have said why: the reader finds that, or the end.
            self._complete = False
            unsent.clear()
        loop = self._loop()
        if loop is not None:
            loop.remove_writer(self._fd)

    def _readable(self) -> None:
        # On, as long as there is more of an answer: uvloop does not call again where what came ends with a reset.
        for _ in range(READS):
            try:
                data = self._recv(PIECE if self._reader is None else PIECE_OUT)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._fail(str(error))
                return
            if self._handle(data):
                return

    def _handle(self, data: bytes) -> bool:
        """Takes what came, where nothing is the end; whether that was all that is wanted."""
        ended = not data
        if self._secure is not None:
            try:
                data = self._secure.decrypt(data)
                self._say(self._secure.pending())
            except OSError as error:
                self._fail(str(error))
                return True
            ended = self._secure.ended
            if not data and not ended:
                return False
        future = self._future
        if future is None or future.done():
            # Nobody asked for anything, or nobody waits for it any more.
            self.close()
            return True
        try:
            answer = self._take_in(data, ended)
        except BadAnswer as error:
            self._raise(error)
            return True
        if answer is not None:
            self._future = None
            future.set_result(answer)
        elif ended:
            self._fail("it ended within the answer" if self._reader is not None else "it was closed before the answer")
        else:
            return False
        return True

    def _take_in(self, data: bytes, ended: bool) -> Answer | None:
        """The answer, if it is whole now; ``keep`` says whether the connection may be used again."""
        may_keep = self._complete and not self._unsent and not ended
        reader = self._reader
        if reader is None:
            answer = whole(data, self._echo)
            if answer is not None:
                self.keep = may_keep
                return answer
            if not data:
                return None
            reader = self._reader = Reader(self._echo, self._bodiless)
        answer = reader.feed(data) if data else None
        if answer is None and ended:
            answer = reader.end()
        self.keep = may_keep and reader.keep
        return answer

    def _fail(self, why: str) -> None:
        if self._reader is not None and self._reader.begun:
            self._raise(ConnectionLost(f"The connection to {self.address} was lost: {why}."))
        else:
            self._raise(NotAnswered(why))

    def _raise(self, error: Exception) -> None:
        future, self._future = self._future, None
        self.close()
        _set_exception(future, error)


class Home:
    """The connections of one loop: those that are not in use, an address each, the one used last at the end."""

    __slots__ = ("loop", "idle", "open", "sweep_at", "__weakref__")

    def __init__(self, loop: Loop, addresses: int) -> None:
        self.loop = weakref.ref(loop)
        self.idle: list[list[AsyncConnection]] = [[] for _ in range(addresses)]
        self.open: weakref.WeakSet[AsyncConnection] = weakref.WeakSet()
        self.sweep_at = 0.0

    def close_idle(self) -> None:
        for idle in self.idle:
            while idle:
                idle.pop().close()

    def leave(self) -> None:
        """Closes what is not in use, from wherever this is called."""
        loop = self.loop()
        if loop is not None and loop.is_running() and not _is_running_here(loop):
            try:
                loop.call_soon_threadsafe(self.close_idle)
                return
            except RuntimeError:
                # It was closed just now.
                pass
        self.close_idle()

    def sweep(self, now: float) -> None:
        self.sweep_at = now + 1.0
        for idle in self.idle:
            while idle and now - idle[0].used >= IDLE_SECONDS:
                idle.pop(0).close()


class AsyncPool:
    """Connections to a service at one or several addresses, for asyncio.

    It may be used from any number of loops, one after the other or each in a thread of its own: each has connections
    of its own. Safe for forks. All times are seconds; see :class:`pantler._pool.Pool`.
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
        self._standings = [Standing(address) for address in addresses]
        self._lines = [lines(address, token) for address in addresses]
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._max_idle = max_idle
        self._tls = tls
        if tls is None and any(address.tls for address in addresses):
            self._tls = ssl.create_default_context()
        self._current = 0
        self._look_again = float("inf")
        self._homes: weakref.WeakKeyDictionary[Loop, Home] = weakref.WeakKeyDictionary()
        self._recent: Callable[[], Home | None] = lambda: None
        """That of the loop that asked last. Weakly too: it goes with its loop."""
        self._lock = threading.Lock()
        _pools.add(self)
        weakref.finalize(self, _leave, self._homes)

    async def exchange(
        self,
        start: bytes,
        rest: bytes,
        *,
        safe: bool,
        timeout: float | None = None,
        orphan: Orphan | None = None,
        _observed: bool = False,
    ) -> Answer:
        """One request and its answer; see :meth:`pantler._pool.Pool.exchange`.

        Where the caller is cancelled while it waits for the answer, the connection is closed; or, where there is
        ``orphan``, that is called in the loop with the answer, if it comes within a timeout of the pool.
        """
        if self.observers and not _observed:
            return await self._exchange_observed(start, rest, safe, timeout, orphan)
        limit = self._timeout if timeout is None else timeout
        loop = asyncio.get_running_loop()
        home = self._recent()
        if home is None or home.loop() is not loop:
            home = self._home(loop)
        began = monotonic()
        if began >= home.sweep_at:
            home.sweep(began)
        if began >= self._look_again:
            self._choose(began)
        index = self._current
        idle = home.idle[index]
        connection: AsyncConnection | None = None
        while idle:
            connection = idle.pop()
            if began - connection.used < IDLE_SECONDS and connection.is_quiet():
                break
            connection.close()
            connection = None
        last = False
        while True:
            if connection is None:
                index, connection = await self._take(loop, home, began + limit, anew=last)
                idle = home.idle[index]
            kept = not connection.fresh
            asked: asyncio.Future[Answer] | None = None
            try:
                asked = connection.ask(loop, start, rest, began + limit)
                answer = await (asked if orphan is None else asyncio.shield(asked))
            except BaseException as error:
                if orphan is not None and asked is not None and isinstance(error, asyncio.CancelledError):
                    self._leave_to(orphan, loop, connection, asked, idle, began)
                    # The exception holds this frame, which is not to hold the connection.
                    connection = asked = None
                    raise
                connection.close()
                again = not last and (kept and may_ask_again(error, safe) or safe and isinstance(error, WrongID))
                if not again and (kept or not self._is_down(index, error, safe)):
                    if isinstance(error, TimedOut) and len(self._standings) > 1:
                        self._not_in_time(index, error, began, max(one.used for one in (connection, *idle[-1:])))
                    raise public(error, connection.address) from None
                connection = None
                last = True
                continue
            if connection.keep and len(idle) < self._max_idle:
                connection.used = began
                idle.append(connection)
            else:
                connection.close()
            return answer

    def _is_down(self, index: int, error: BaseException, safe: bool) -> bool:
        """See :meth:`pantler._pool.Pool._is_down`."""
        if len(self._standings) == 1 or not isinstance(error, (NotAsked, NotAnswered)):
            return False
        now = monotonic()
        self._standings[index].failed(now, str(error))
        self._choose(now)
        return safe or isinstance(error, NotAsked)

    def _not_in_time(self, index: int, error: TimedOut, began: float, answered: float) -> None:
        """See :meth:`pantler._pool.Pool._not_in_time`."""
        now = monotonic()
        if self._standings[index].timed_out(began, now, answered, str(error)):
            self._choose(now)

    def close(self) -> None:
        """Closes the connections that are not in use, and from now on each one behind its answer.

        The pool still answers, more slowly. May be called at any time, by any thread, with or without a running loop.
        """
        self._max_idle = 0
        _leave(self._homes)

    def _leave_to(
        self,
        orphan: Orphan,
        loop: Loop,
        connection: AsyncConnection,
        asked: asyncio.Future[Answer],
        idle: list[AsyncConnection],
        began: float,
    ) -> None:
        """Waits for the answer of a caller who has gone.

        No task does, as nobody runs one in a loop that ends, and by its end all callers are cancelled. So only the loop
        has the connection: it is closed with that.
        """
        held = weakref.ref(connection)

        def give_up_waiting() -> None:
            connection = held()
            if connection is not None:
                connection.close()

        # Not for as long as the caller would have waited: a connection that ends gives up its place in a queue.
        timer = loop.call_later(self._timeout, give_up_waiting)

        def answered(asked: asyncio.Future[Answer]) -> None:
            timer.cancel()
            connection = held()
            if connection is None:
                return
            if asked.cancelled() or asked.exception() is not None:
                connection.close()
                return
            if connection.keep and len(idle) < self._max_idle:
                connection.used = began
                idle.append(connection)
            else:
                connection.close()
            orphan(asked.result())

        asked.add_done_callback(answered)

    async def _exchange_observed(
        self, start: bytes, rest: bytes, safe: bool, timeout: float | None, orphan: Orphan | None
    ) -> Answer:
        began = monotonic()
        answer: Answer | None = None
        failure: BaseException | None = None
        try:
            answer = await self.exchange(start, rest, safe=safe, timeout=timeout, orphan=orphan, _observed=True)
            return answer
        except BaseException as error:
            failure = error
            raise
        finally:
            told = observation(start, answer, monotonic() - began, failure)
            for observer in self.observers:
                observer(told)

    def _home(self, loop: Loop) -> Home:
        home = self._homes.get(loop)
        if home is None:
            with self._lock:
                for other, its in list(self._homes.items()):
                    if other.is_closed():
                        # It died with connections open. Nobody else is there to close them.
                        its.close_idle()
                        del self._homes[other]
                home = self._homes[loop] = Home(loop, len(self._standings))
        self._recent = weakref.ref(home)
        return home

    def _choose(self, now: float) -> None:
        self._current, self._look_again = first_up(self._standings, now)

    async def _take(self, loop: Loop, home: Home, deadline: float, anew: bool) -> tuple[int, AsyncConnection]:
        """A connection to the first address that can be reached; ``anew``: none that was used before."""
        for index, standing in enumerate(self._standings):
            now = monotonic()
            if standing.down_until > now:
                continue
            idle = home.idle[index]
            while not anew and idle:
                connection = idle.pop()
                if now - connection.used < IDLE_SECONDS and connection.is_quiet():
                    return index, connection
                connection.close()
            budget = min(self._connect_timeout, deadline - now)
            if budget <= 0:
                raise TimedOut(f"There was no time left to open a connection to {standing.address}.")
            standing.trying(now, budget)
            try:
                sock, secure = await _connect(loop, standing.address, now + budget, self._tls)
            except NotImplementedError:
                raise RuntimeError(
                    f"Pantler's connections need a loop with add_reader and add_writer, which {type(loop).__name__} "
                    "is not: on Windows use asyncio.SelectorEventLoop."
                ) from None
            except (OSError, UnicodeError) as error:
                if budget == self._connect_timeout or not isinstance(error, TimeoutError):
                    standing.failed(monotonic(), str(error) or type(error).__name__)
                else:
                    standing.why = "it was not reached in the little time there was"
                self._choose(monotonic())
                continue
            if standing.down_until:
                standing.reached()
                self._choose(monotonic())
            try:
                connection = AsyncConnection(loop, standing.address, sock, self._lines[index], secure)
            except BaseException:
                sock.close()
                raise
            home.open.add(connection)
            return index, connection
        raise Unavailable(unreachable(self._standings))

    def _forget(self) -> None:
        """In a forked child: the sockets are the parent's, and so are the loops."""
        self._lock = threading.Lock()
        for home in list(self._homes.values()):
            for connection in list(home.open):
                connection.abandon()
            for idle in home.idle:
                idle.clear()


async def _connect(
    loop: Loop, address: Address, deadline: float, tls: ssl.SSLContext | None
) -> tuple[socket.socket, Secure | None]:
    """A connected socket that does not block, and the TLS on it. Raises OSError and UnicodeError."""
    sock = await (_connect_unix(loop, address.path, deadline) if address.path else _connect_tcp(loop, address, deadline))
    if not address.tls:
        return sock, None
    try:
        assert tls is not None
        secure = Secure(tls, address.host)
        data: bytes | None = None
        while True:
            done = secure.shake_hands(data)
            out = memoryview(secure.pending())
            while out:
                try:
                    out = out[sock.send(out, NO_SIGNAL) :]
                except BlockingIOError:
                    await _ready(loop, loop.add_writer, loop.remove_writer, sock, deadline)
            if done:
                return sock, secure
            await _ready(loop, loop.add_reader, loop.remove_reader, sock, deadline)
            try:
                data = sock.recv(PIECE)
            except BlockingIOError:
                data = None
    except BaseException:
        sock.close()
        raise


async def _connect_unix(loop: Loop, path: str, deadline: float) -> socket.socket:
    while True:
        sock = noted(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        try:
            sock.setblocking(False)
            sock.connect(path)
            return sock
        except BlockingIOError:
            # The listener's queue is full.
            sock.close()
            if monotonic() >= deadline:
                raise TimeoutError("the listener's queue is full") from None
            await asyncio.sleep(0.005)
        except BaseException:
            sock.close()
            raise


async def _connect_tcp(loop: Loop, address: Address, deadline: float) -> socket.socket:
    targets = await _resolve(loop, address, deadline)
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
            sock.setblocking(False)
            try:
                sock.connect(target)
            except BlockingIOError:
                # One that does not answer must not use up the time of those behind it.
                until = monotonic() + left / (len(targets) - index)
                await _ready(loop, loop.add_writer, loop.remove_writer, sock, until)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code)) from None
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    raise failure


async def _resolve(loop: Loop, address: Address, deadline: float):  # type: ignore[no-untyped-def]
    try:
        # An address in figures needs no thread that asks for it.
        return socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        )
    except socket.gaierror:
        pass
    asked = asyncio.ensure_future(loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM))
    try:
        # Not wait_for, which before Python 3.12 may swallow a cancellation.
        await asyncio.wait([asked], timeout=max(0.0, deadline - monotonic()))
    except BaseException:
        asked.cancel()
        raise
    if not asked.done():
        asked.cancel()
        raise TimeoutError("its name was not resolved in time")
    return asked.result()


async def _ready(
    loop: Loop,
    add: Callable[..., object],
    remove: Callable[[int], object],
    sock: socket.socket,
    deadline: float,
) -> None:
    """Until a socket can be read or written."""
    future: asyncio.Future[None] = loop.create_future()
    fd = sock.fileno()
    add(fd, _set_done, future)
    handle = loop.call_later(max(0.0, deadline - monotonic()), _set_exception, future, TimeoutError("timed out"))
    try:
        await future
    finally:
        handle.cancel()
        if not loop.is_closed():
            remove(fd)


def _set_done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _set_exception(future: asyncio.Future[Answer] | asyncio.Future[None] | None, error: Exception) -> None:
    if future is not None and not future.done():
        future.set_exception(error)
        # Whoever waited may be gone before it is looked at: nobody is to be told of that.
        future.exception()


def _is_running_here(loop: Loop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _poller(fd: int):  # type: ignore[no-untyped-def]
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return poll.poll


def _close_socket(sock: socket.socket) -> None:
    try:
        sock.close()
    except OSError:
        pass


def _leave(homes: weakref.WeakKeyDictionary[Loop, Home]) -> None:
    for home in list(homes.values()):
        home.leave()


_pools: weakref.WeakSet[AsyncPool] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in list(_pools):
        pool._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
