#!/usr/bin/env python3
"""One call of Django's cache API to each backend: medians, of the same values, in one run.

    python -m venv /tmp/bench
    /tmp/bench/bin/pip install ./clients/python -r clients/python/benchmarks/requirements.txt
    /tmp/bench/bin/python clients/python/benchmarks/backends.py            # the tables of clients/python/README.md
    … backends.py --backends Pantler,django-redis --operations get,set     # some of them
    … backends.py --check                                                  # ends with 1 where a goal is missed
    … backends.py --write      # puts the table into clients/python/README.md

All processes run on one core: with two, the median of a call as short as this tells how long a core takes to wake up.
Each backend has its calls in rounds that take turns, so that a machine that becomes slower does so for all. The
columns beside the backends are `Client`, Pantler's client without Django, and `bare socket`, the same bytes sent to
the same service on a kept connection and the answer taken by recv: what there is to be reached. `set_many` is called
a quarter as often, FileBasedCache and DatabaseCache a twentieth, their batches less.

Starts Redis and Memcached itself (see servers.py); the service is PANTLER_EXECUTABLE, or .build/release/pantler.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import gc
import json
import os
import pickle
import platform
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from servers import memcached, pantler, redis

PANTLER, CLIENT, BARE = "Pantler", "Client", "bare socket"
LOCMEM, FILES, DATABASE, MEMCACHED, REDIS, DJANGO_REDIS = (
    "LocMem", "FileBased", "DatabaseCache (SQLite)", "PyMemcacheCache", "RedisCache", "django-redis"
)  # fmt: skip
SLOW = {FILES, DATABASE}
ALL = [PANTLER, CLIENT, BARE, MEMCACHED, REDIS, DJANGO_REDIS, LOCMEM, FILES, DATABASE]


# The values


def small(number: int) -> dict[str, Any]:
    """A dict whose compact JSON has some 220 bytes."""
    return {
        "id": number, "name": f"product {number}", "slug": f"product-{number}", "price": 19.9 + number,
        "currency": "EUR",
        "in_stock": number % 3 > 0, "tags": ["tea", "green", "loose"], "rating": 4.5, "reviews": 128 + number,
        "summary": "A green tea from the first flush, steamed, and dried slowly in the shade."[: 50 + number % 20],
    }  # fmt: skip


def dated(number: int) -> dict[str, Any]:
    """The same with a moment in it, which JSON does not bring back."""
    return small(number) | {"changed": datetime.datetime(2026, 1, 1 + number % 28, 10, tzinfo=datetime.timezone.utc)}


def instance(number: int) -> Any:
    """A model's instance whose pickle has some 2 KB."""
    from django.contrib.flatpages.models import FlatPage

    return FlatPage(
        id=number, url=f"/products/{number}/", title=f"Product {number}", enable_comments=False,
        registration_required=False,
        content=" ".join(f"line {line} of what there is to say about product {number}." for line in range(38)),
    )  # fmt: skip


# The backends


def settings_of(folder: str, urls: dict[str, str]) -> dict[str, dict[str, Any]]:
    """CACHES by the name of the backend. Nothing ends, and nothing is culled, while the run lasts."""
    common: dict[str, Any] = {"TIMEOUT": 86_400}
    return {
        PANTLER: {
            "BACKEND": "pantler.django.PantlerCache", "LOCATION": f"{urls[PANTLER]}/v1/namespaces/bench", **common
        },
        LOCMEM: {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 100_000}, **common
        },
        FILES: {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": os.path.join(folder, "files"),
            "OPTIONS": {"MAX_ENTRIES": 100_000},
            **common,
        },
        DATABASE: {
            "BACKEND": "django.core.cache.backends.db.DatabaseCache",
            "LOCATION": "cache_table",
            "OPTIONS": {"MAX_ENTRIES": 100_000},
            **common,
        },
        MEMCACHED: {
            "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache", "LOCATION": urls.get(MEMCACHED), **common
        },
        REDIS: {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": f"{urls.get(REDIS)}/0", **common},
        DJANGO_REDIS: {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"{urls.get(REDIS)}/1", **common},
    }  # fmt: skip


def set_up_django(folder: str, urls: dict[str, str], names: list[str]) -> None:
    import django
    from django.conf import settings
    from django.core.management import call_command

    caches = settings_of(folder, urls)
    settings.configure(
        CACHES={"default": caches[LOCMEM], **{name: caches[name] for name in names if name in caches}},
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(folder, "site.sqlite")}},
        INSTALLED_APPS=["django.contrib.sites", "django.contrib.flatpages"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        SECRET_KEY="a benchmark's",
        USE_TZ=True,
    )
    django.setup()
    call_command("createcachetable", verbosity=0)


# The operations


@dataclass
class Operation:
    """What is measured: how a cache (by Django's API or Client's) is prepared for it, and the call itself."""

    name: str
    what: str
    prepare: Callable[[Any], object]
    call: Callable[[Any], object]
    # Where Client says it in other words.
    client_call: Callable[[Any], object] | None = None
    # Whether a bare socket can send the same bytes again and again.
    bare: bool = True
    # Whether what the call returns is the expected value; checked once before the measuring.
    expected: Any = field(default=None)
    # How many of the full number of calls are made.
    share: float = 1.0


def operations() -> list[Operation]:
    keys = [f"product:{number}" for number in range(100)]
    found = []
    for name, value in [("dict", small(42)), ("pickle", instance(42)), ("int", 42)]:
        described = {"dict": "a dict of 220 bytes", "pickle": "a model instance, 2 KB", "int": "an int"}[name]
        found.append(
            Operation(
                f"get {name}", f"`get`, {described}",
                lambda cache, value=value, name=name: cache.set(f"one-{name}", value),
                lambda cache, name=name: cache.get(f"one-{name}"),
                expected=value,
            )
        )  # fmt: skip
        found.append(
            Operation(
                f"set {name}", f"`set`, {described}",
                lambda cache: None,
                lambda cache, value=value, name=name: cache.set(f"one-{name}", value),
            )
        )  # fmt: skip
    found.insert(
        2,
        Operation(
            "get miss",
            "`get` of a key that is not there",
            lambda cache: cache.delete("none"),
            lambda cache: cache.get("none"),
        ),
    )
    batches = [
        ("dicts", "dicts of 220 bytes", small, "small"),
        ("pickles", "dicts with a datetime", dated, "dated"),
        ("instances", "model instances", instance, "instances"),
    ]
    for name, described, make, prefix in batches:
        values = {f"{prefix}-{key}": make(number) for number, key in enumerate(keys)}
        found.append(
            Operation(
                f"get_many {name}", f"`get_many` of 100 {described}",
                lambda cache, values=values: cache.set_many(values),
                lambda cache, asked=list(values): cache.get_many(asked),
                expected=values,
            )
        )  # fmt: skip
        found.append(
            Operation(
                f"set_many {name}", f"`set_many` of 100 {described}",
                lambda cache: None,
                lambda cache, values=values: cache.set_many(values),
                bare=False, share=0.25,
            )
        )  # fmt: skip
    found.append(
        Operation("incr", "`incr`", lambda cache: cache.set("count", 0), lambda cache: cache.incr("count"), bare=False)
    )
    found.append(
        Operation(
            "get_or_set", "`get_or_set`, a hit (Client: `fetch`)",
            lambda cache: cache.set("one-loaded", small(42)),
            lambda cache: cache.get_or_set("one-loaded", dict),
            lambda client: client.fetch("one-loaded", dict),
            bare=False, expected=small(42),
        )
    )  # fmt: skip
    return found


# The bare socket


class Recorder:
    """Stands between a client and the service and keeps the bytes of the latest request and answer."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.request = b""
        self.answer = b""
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", self.port)) as service:
            while request := read_message(client):
                service.sendall(request)
                answer = read_message(service)
                client.sendall(answer)
                self.request, self.answer = request, answer

    def close(self) -> None:
        self.listener.close()


def read_message(connection: socket.socket) -> bytes:
    """A request or an answer with a Content-Length, whole; empty at the connection's end."""
    read = b""
    while (end := read.find(b"\r\n\r\n")) < 0:
        if not (more := connection.recv(262_144)):
            return b""
        read += more
    length = 0
    for line in read[:end].split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(read) < end + 4 + length:
        read += connection.recv(262_144)
    return read


class Bare:
    """The bytes of a call sent again, and the answer taken: what there is beneath any client."""

    def __init__(self, port: int, request: bytes, answer: bytes) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port))
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Blocking without a poll for each call.
        self.connection.settimeout(None)
        self.request = request
        # Taking a short answer costs one call, as little as can be; its length changes by a digit or two.
        self.short = len(answer) - 8 if len(answer) <= 4096 else 0

    def call(self) -> object:
        self.connection.sendall(self.request)
        if not self.short:
            return read_message(self.connection)
        answer = self.connection.recv(65_536)
        while len(answer) < self.short:
            more = self.connection.recv(65_536)
            if not more:
                raise ConnectionError("the service closed the bare socket's connection")
            answer += more
        return answer


# The measuring


def rounds_of(calls: dict[str, Callable[[], object]], counts: dict[str, int], rounds: int) -> dict[str, list[int]]:
    """Nanoseconds of each call, for each subject: so many calls altogether, in rounds that take turns.
    Who has fewer calls than there are rounds takes part in some."""
    taken: dict[str, list[int]] = {name: [] for name in calls}
    clock = time.perf_counter_ns
    for name, call in calls.items():
        for _ in range(min(20, counts[name] // 10)):
            call()
    gc.collect()
    gc.disable()
    for number in range(rounds):
        # Who comes behind whom changes, too.
        names = list(calls)
        names = names[number % len(names) :] + names[: number % len(names)]
        for name in names:
            call, times = calls[name], taken[name]
            if number % max(1, rounds // counts[name]):
                continue
            # The first call after another backend's finds cold caches, which is nobody's own cost.
            call()
            for _ in range(max(1, counts[name] // rounds)):
                start = clock()
                call()
                times.append(clock() - start)
        gc.collect()
    gc.enable()
    return taken


def measure(arguments: argparse.Namespace, folder: str) -> dict[str, dict[str, float]]:
    """Medians in microseconds: operation by subject."""
    names = [name for name in ALL if name in arguments.backends]
    with contextlib.ExitStack() as servers:
        url = servers.enter_context(pantler(folder))
        urls = {PANTLER: url}
        if REDIS in names or DJANGO_REDIS in names:
            urls[REDIS] = f"redis://127.0.0.1:{servers.enter_context(redis(folder))}"
        if MEMCACHED in names:
            urls[MEMCACHED] = f"127.0.0.1:{servers.enter_context(memcached(folder))}"
        set_up_django(folder, urls, names)
        from django.core.cache import caches

        subjects: dict[str, Any] = {name: caches[name] for name in names if name not in (CLIENT, BARE)}
        from pantler import Client

        port = int(url.rpartition(":")[2])
        recorder = Recorder(port)
        client = Client(url, namespace="plain", serializer="auto")
        recorded = Client(recorder.url, namespace="plain", serializer="auto")
        medians: dict[str, dict[str, float]] = {}
        for operation in operations():
            if not any(operation.name.startswith(wanted) for wanted in arguments.operations):
                continue
            calls: dict[str, Callable[[], object]] = {}
            client_call = operation.client_call or operation.call
            for name, cache in subjects.items():
                operation.prepare(cache)
                check(operation, name, operation.call(cache))
                calls[name] = lambda cache=cache: operation.call(cache)  # type: ignore[misc]
            operation.prepare(client)
            if CLIENT in names:
                check(operation, CLIENT, client_call(client))
                calls[CLIENT] = lambda: client_call(client)
            if BARE in names and operation.bare:
                client_call(recorded)
                calls[BARE] = Bare(port, recorder.request, recorder.answer).call
            count = int(arguments.calls * operation.share)
            counts = {
                name: max(10, count // ((20 if operation.share == 1 else 100) if name in SLOW else 1)) for name in calls
            }
            taken = rounds_of(calls, counts, arguments.rounds)
            medians[operation.name] = {name: statistics.median(times) / 1000 for name, times in taken.items()}
            print(
                operation.name, *(f"{name} {median:.1f}" for name, median in medians[operation.name].items()),
                sep="  ", file=sys.stderr, flush=True,
            )  # fmt: skip
        if PANTLER in names and any("async".startswith(wanted) or wanted == "" for wanted in arguments.operations):
            medians |= asyncio.run(measure_async(arguments, subjects))
        client.close()
        recorded.close()
        recorder.close()
    return medians


async def measure_async(arguments: argparse.Namespace, subjects: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The same from a coroutine: Django's own `aget` goes through a thread where a backend has no better one."""
    medians: dict[str, dict[str, float]] = {}
    for name, call in [
        ("aget", lambda cache: cache.aget("one-async")),
        ("aset", lambda cache: cache.aset("one-async", small(42))),
    ]:
        taken: dict[str, list[int]] = {subject: [] for subject in subjects}
        count = arguments.calls // 4
        for subject, cache in subjects.items():
            await cache.aset("one-async", small(42))
        gc.collect()
        gc.disable()
        for _ in range(arguments.rounds):
            for subject, cache in subjects.items():
                await call(cache)
                for _ in range(max(1, count // (20 if subject in SLOW else 1) // arguments.rounds)):
                    start = time.perf_counter_ns()
                    await call(cache)
                    taken[subject].append(time.perf_counter_ns() - start)
            gc.collect()
        gc.enable()
        medians[name] = {subject: statistics.median(times) / 1000 for subject, times in taken.items()}
        print(
            name, *(f"{key} {value:.1f}" for key, value in medians[name].items()), sep="  ", file=sys.stderr, flush=True
        )
    return medians


def check(operation: Operation, name: str, got: object) -> None:
    """A fast answer that is wrong is none."""
    if operation.expected is not None and got != operation.expected:
        raise SystemExit(f"{name}: {operation.name} brought {str(got)[:200]}, not {str(operation.expected)[:200]}")


# The report

BEGIN, END = "<!-- benchmarks/backends.py --write -->", "<!-- end -->"

WHAT = {
    operation_name: what
    for operation_name, what in [("aget", "`await aget`, a dict"), ("aset", "`await aset`, a dict")]
}


@dataclass
class Goal:
    """What Pantler's median may be at most: so many times another's, or so many microseconds above it."""

    operation: str
    other: str
    times: float | None = None
    above: float | None = None

    def told(self, medians: dict[str, dict[str, float]]) -> tuple[str, bool] | None:
        row = medians.get(self.operation, {})
        if PANTLER not in row or self.other not in row:
            return None
        own, other = row[PANTLER], row[self.other]
        if self.times is not None:
            met = own <= self.times * other
            goal, is_ = f"≤ {self.times:g} × {self.other}", f"{own / other:.2f} ×"
        else:
            assert self.above is not None
            met = own <= other + self.above
            goal, is_ = f"≤ {self.above:g} µs over {self.other}", f"{own - other:+.1f} µs"
        return f"| {self.operation} | {goal} | {is_} | {'yes' if met else '**no**'} |", met


GOALS = [
    Goal(operation, other, times, above)
    for operation in ("get dict", "get pickle", "get int", "set dict", "set pickle", "set int")
    for other, times, above in ((MEMCACHED, 1.0, None), (DJANGO_REDIS, 0.65, None), (BARE, None, 6.0))
    # A pickle of 2 KB takes more than 6 µs in Python's own pickle alone, which a bare socket does not do.
    if other != BARE or "pickle" not in operation
] + [
    Goal("get_many dicts", DJANGO_REDIS, 0.6),
    Goal("get_many pickles", DJANGO_REDIS, 1.1),
    Goal("get_many instances", DJANGO_REDIS, 1.1),
]


def report(medians: dict[str, dict[str, float]]) -> tuple[list[str], list[str], bool]:
    """The lines of the table, those of the goals, and whether every goal is met."""
    columns = [name for name in ALL if any(name in row for row in medians.values())]
    words = WHAT | {operation.name: operation.what for operation in operations()}
    lines = ["| µs a call | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for name, row in medians.items():
        told = [row.get(column) for column in columns]
        cells = ("" if median is None else f"{median:.1f}" if median < 100 else f"{median:,.0f}" for median in told)
        lines.append(f"| {words[name]} | " + " | ".join(cells) + " |")
    told = [line for goal in GOALS if (line := goal.told(medians))]
    goals = (
        ["| Pantler's | goal | is | met |", "| --- | --- | ---: | --- |", *(line for line, _ in told)] if told else []
    )
    return lines, goals, all(met for _, met in told)


def write(lines: list[str]) -> None:
    """Puts the table between its marks in the README."""
    readme = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "README.md")
    with open(readme, encoding="utf-8") as file:
        before, begin, rest = file.read().partition(BEGIN + "\n")
        _, end, behind = rest.partition(END)
    if not end:
        raise SystemExit(f"{readme} has no lines {BEGIN} and {END}, one behind the other")
    with open(readme, "w", encoding="utf-8") as file:
        file.write(before + begin + "\n".join(lines) + "\n" + end + behind)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=6000, help="of each kind to each backend (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=60, help="in which they take turns (default: %(default)s)")
    parser.add_argument("--core", type=int, default=None, help="for all processes (default: the last one)")
    parser.add_argument("--backends", default=",".join(ALL), help="some of: %(default)s")
    parser.add_argument(
        "--operations", default="", help="what their names begin with, separated by commas (default: all)"
    )
    parser.add_argument("--check", action="store_true", help="end with 1 where a goal is missed")
    parser.add_argument("--write", action="store_true", help="put the table into the README, too")
    parser.add_argument("--json", metavar="FILE", help="write the medians there, too")
    arguments = parser.parse_args()
    arguments.backends = arguments.backends.split(",")
    if unknown := set(arguments.backends) - set(ALL):
        parser.error(f"--backends: there is no {', '.join(sorted(unknown))}, but {', '.join(ALL)}")
    arguments.operations = arguments.operations.split(",")
    core = max(os.sched_getaffinity(0)) if arguments.core is None else arguments.core
    # Children inherit it.
    os.sched_setaffinity(0, {core})
    with tempfile.TemporaryDirectory(prefix="pantler-benchmark-") as folder:
        medians = measure(arguments, folder)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(medians, file, indent=1)
    lines, goals, met = report(medians)
    import django

    sizes = f"{len(json.dumps(small(42), separators=(',', ':')))} and {len(pickle.dumps(instance(42)))} bytes"
    lines += [
        "",
        f"Medians of {arguments.calls:,} calls. Python {platform.python_version()}, Django {django.__version__}; "
        f"the dict and the instance have {sizes}.",
    ]
    print("\n".join([*lines, "", *goals]))
    if arguments.write:
        write(lines)
    return 0 if met or not arguments.check else 1


if __name__ == "__main__":
    sys.exit(main())
