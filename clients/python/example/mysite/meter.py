"""What each level of caching has done, and the queries of each request: what the page /caching/ shows.

Every worker counts in a file of its own, which it maps into memory: a count is a write to memory, and any worker can
add up all of them.
"""

import contextlib
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from django.db import connections
from django.http import HttpRequest, HttpResponse

LEVELS = ("page", "fragment", "value", "queryset")
# Names of the counters, each eight bytes in a worker's file.
COUNTERS = (
    "requests",
    "queries",
    "query_microseconds",
    *(f"{level}_{what}" for level in LEVELS for what in ("hits", "misses")),
)
FOLDER = Path(os.environ.get("EXAMPLE_METER") or Path(__file__).resolve().parent.parent / "counts")


class Counters:
    """The counters of this process. Safe for threads and forks: a child begins a file of its own."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process = 0
        self.memory: Any = None

    def add(self, **counts: int) -> None:
        with self.lock:
            if self.process != os.getpid():
                FOLDER.mkdir(parents=True, exist_ok=True)
                self.process = os.getpid()
                with open(FOLDER / f"{self.process}.counts", "w+b") as file:
                    file.truncate(8 * len(COUNTERS))
                    self.memory = mmap.mmap(file.fileno(), 0)
            for name, count in counts.items():
                at = 8 * COUNTERS.index(name)
                struct.pack_into("q", self.memory, at, struct.unpack_from("q", self.memory, at)[0] + count)


counters = Counters()


def totals() -> dict[str, int]:
    """The counters of all workers, also of those that have ended since."""
    found = dict.fromkeys(COUNTERS, 0)
    for path in FOLDER.glob("*.counts"):
        for name, count in zip(COUNTERS, struct.unpack(f"{len(COUNTERS)}q", path.read_bytes()), strict=True):
            found[name] += count
    return found


def forget() -> None:
    """Begins again at nothing. What is counted meanwhile may be lost."""
    for path in FOLDER.glob("*.counts"):
        with open(path, "r+b") as file:
            file.write(bytes(8 * len(COUNTERS)))


class Request:
    """What one request has done."""

    def __init__(self) -> None:
        self.queries = 0
        self.seconds = 0.0
        self.levels: dict[str, list[int]] = {}

    def count_query(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            self.queries += 1
            self.seconds += time.perf_counter() - began


current: ContextVar[Request | None] = ContextVar("current", default=None)


def count(level: str, hit: bool) -> None:
    if request := current.get():
        request.levels.setdefault(level, [0, 0])[0 if hit else 1] += 1


@contextlib.contextmanager
def watched(level: str) -> Iterator[None]:
    """A block that asks the database on a miss, and on a miss alone."""
    request = current.get()
    before = request.queries if request else 0
    yield
    if request:
        count(level, hit=request.queries == before)


class MeterMiddleware:
    """Counts a request's queries, and says in `X-Queries` and `X-Levels` what it has done."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        done = Request()
        token = current.set(done)
        try:
            with contextlib.ExitStack() as stack:
                for connection in connections.all():
                    stack.enter_context(connection.execute_wrapper(done.count_query))
                response = self.get_response(request)
        finally:
            current.reset(token)
        if not request.path.startswith("/caching/"):
            counters.add(
                requests=1,
                queries=done.queries,
                query_microseconds=round(done.seconds * 1e6),
                **{
                    f"{level}_{what}": count
                    for level, both in done.levels.items()
                    for what, count in zip(("hits", "misses"), both)
                },
            )
        response["X-Queries"] = str(done.queries)
        response["X-Levels"] = ", ".join(
            f"{level}={hits}/{hits + misses}" for level, (hits, misses) in done.levels.items()
        )
        return response
