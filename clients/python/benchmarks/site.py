#!/usr/bin/env python3
"""The example site under load, with each cache that it runs with: requests a second, p99, and queries a request.

    python3 -m venv bench
    bench/bin/pip install ./clients/python -r clients/python/benchmarks/requirements.txt gunicorn
    bench/bin/python clients/python/benchmarks/site.py     # the table of clients/python/example/README.md
    … site.py --write                                      # puts it there, too
    … site.py --backends off,pantler --seconds 5           # some of it

Gunicorn serves the site with two workers of four threads, and eight callers ask it over kept connections: all the same
pages, drawn with one seed. Of every 25 requests one is a change (a score, a price, a comment), and the page that shows
a price or a comment is asked right behind it, over another connection: where it shows what was before, it counts as
old. Each cache has its rounds in turn with the others, begins empty, and has some seconds to fill before it is
measured; the database is seeded once and copied.

Starts Redis and Memcached itself (see servers.py); the service is PANTLER_EXECUTABLE, or .build/release/pantler.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import importlib.metadata
import itertools
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from servers import free_port, memcached, pantler, redis, running

EXAMPLE = Path(__file__).resolve().parents[1] / "example"

WORKERS, THREADS, CALLERS = 2, 4, 8
CHANGE_EVERY = 25

#: As `CACHE` names them, and as the table does.
BACKENDS = {
    "off": "none (DummyCache)",
    "locmem": "LocMem",
    "database": "DatabaseCache (SQLite)",
    "file": "FileBased",
    "memcached": "Memcached (pymemcache)",
    "redis": "Redis (Django's own)",
    "django-redis": "Redis (django-redis)",
    "pantler": "Pantler",
}


@dataclass
class Ask:
    """A request, and for a change where to look for it."""

    path: str
    form: dict[str, str] | None = None
    shown_at: str = ""
    shows: str = ""


def asks(seed: int) -> Iterator[Ask]:
    """What one caller asks for, without end: few things often, many seldom."""
    draw = random.Random(seed)
    number = itertools.count(seed * 1_000_000)

    def one_of(count: int) -> int:
        return min(int(draw.paretovariate(1.1)), count)

    while True:
        for index in range(CHANGE_EVERY):
            if index:
                kind = draw.random()
                if kind < 0.2:
                    yield Ask("/")
                elif kind < 0.45:
                    yield Ask(
                        f"/products/?page={one_of(5)}" if draw.random() < 0.5 else f"/products/?category={one_of(40)}"
                    )
                elif kind < 0.7:
                    yield Ask(f"/products/{one_of(2000)}/")
                elif kind < 0.8:
                    yield Ask("/blog/")
                elif kind < 0.92:
                    yield Ask(f"/blog/{one_of(500)}/")
                else:
                    yield Ask("/leaderboard/")
                continue
            mark = next(number)
            kind = draw.random()
            if kind < 0.4:
                yield Ask("/leaderboard/play/", {"player": str(one_of(50)), "points": str(mark % 1000)})
            elif kind < 0.6:
                pk = one_of(2000)
                yield Ask(
                    f"/products/{pk}/price/",
                    {"price": f"{mark % 10_000}.17"},
                    f"/products/{pk}/",
                    f"{mark % 10_000}.17",
                )
            else:
                pk = one_of(500)
                yield Ask(f"/blog/{pk}/comment/", {"text": f"said-{mark}-"}, f"/blog/{pk}/", f"said-{mark}-")


@dataclass
class Figures:
    seconds: float = 0.0
    took: list[float] = field(default_factory=list)
    queries: int = 0
    changes: int = 0
    old: int = 0
    looked: int = 0
    failed: int = 0
    rates: list[float] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        self.took += other.took
        self.queries += other.queries
        self.changes += other.changes
        self.old += other.old
        self.looked += other.looked
        self.failed += other.failed


class Caller(threading.Thread):
    """Asks on one kept connection, from when the site is warm until it is told to end."""

    def __init__(self, port: int, seed: int, measured: threading.Event, ended: threading.Event) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.asks = asks(seed)
        self.measured, self.ended = measured, ended
        self.figures = Figures()

    def run(self) -> None:
        for ask in self.asks:
            if self.ended.is_set():
                return
            self.ask(ask)
            if ask.shown_at:
                # As another visitor: over a connection that any worker may take.
                mine, self.connection = self.connection, http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                text = self.ask(Ask(ask.shown_at))
                self.connection.close()
                self.connection = mine
                if self.measured.is_set():
                    self.figures.looked += 1
                    self.figures.old += ask.shows not in text

    def ask(self, ask: Ask) -> str:
        body = urllib.parse.urlencode(ask.form) if ask.form else None
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if ask.form else {}
        began = time.perf_counter()
        try:
            self.connection.request("POST" if ask.form else "GET", ask.path, body, headers)
            answer = self.connection.getresponse()
            text = answer.read().decode()
            failed = answer.status >= 400
            queries = int(answer.headers.get("X-Queries") or 0)
        except (OSError, http.client.HTTPException):
            self.connection.close()
            text, failed, queries = "", True, 0
        took = time.perf_counter() - began
        if self.measured.is_set() and not self.ended.is_set():
            self.figures.took.append(took)
            self.figures.queries += queries
            self.figures.changes += ask.form is not None
            self.figures.failed += failed
        return text


def environment_of(name: str, folder: Path, stack: contextlib.ExitStack) -> dict[str, str]:
    """Starts what a cache needs."""
    if name == "pantler":
        return {"PANTLER_URL": f"{stack.enter_context(pantler(str(folder)))}/v1/namespaces/example"}
    if name in ("redis", "django-redis"):
        return {"REDIS_URL": f"redis://127.0.0.1:{stack.enter_context(redis(str(folder)))}/0"}
    if name == "memcached":
        return {"MEMCACHED": f"127.0.0.1:{stack.enter_context(memcached(str(folder)))}"}
    return {}


def manage(environment: dict[str, str], *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=EXAMPLE, env=environment, check=True, stdout=subprocess.DEVNULL
    )


def measure(name: str, seeded: Path, warm: float, seconds: float) -> Figures:
    figures = Figures()
    with tempfile.TemporaryDirectory() as made, contextlib.ExitStack() as stack:
        folder = Path(made)
        environment = {
            **os.environ,
            "CACHE": "dummy" if name == "off" else name,
            "EXAMPLE_DATABASE": str(folder / "example.sqlite3"),
            "EXAMPLE_METER": str(folder / "meter"),
            "EXAMPLE_CACHE_FOLDER": str(folder / "cache"),
            "DEBUG": "0",
            **environment_of(name, folder, stack),
        }
        shutil.copy(seeded, folder / "example.sqlite3")
        if name == "database":
            manage(environment, "createcachetable")
        port = free_port()
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            "--chdir",
            str(EXAMPLE),
            "--bind",
            f"127.0.0.1:{port}",
            "--workers",
            str(WORKERS),
            "--worker-class",
            "gthread",
            "--threads",
            str(THREADS),
            "--keep-alive",
            "60",
            "--log-level",
            "warning",
            "mysite.wsgi",
        ]
        with given(environment), running("site", command, port, str(folder)):
            measured, ended = threading.Event(), threading.Event()
            callers = [Caller(port, seed, measured, ended) for seed in range(1, CALLERS + 1)]
            for caller in callers:
                caller.start()
            time.sleep(warm)
            measured.set()
            began = time.perf_counter()
            time.sleep(seconds)
            ended.set()
            figures.seconds = time.perf_counter() - began
            for caller in callers:
                caller.join()
                figures.add(caller.figures)
    if figures.failed:
        print(f"{name}: {figures.failed} requests failed", file=sys.stderr)
    figures.rates.append(len(figures.took) / figures.seconds)
    return figures


@contextlib.contextmanager
def given(environment: dict[str, str]) -> Iterator[None]:
    """For what is started meanwhile. `running` leaves out what begins with PANTLER_, which is for the service."""
    before = dict(os.environ)
    os.environ.update(environment)
    if url := environment.get("PANTLER_URL"):
        os.environ["EXAMPLE_PANTLER_URL"] = url
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def table(found: dict[str, Figures]) -> str:
    lines = [
        "| cache | requests/s | p50 | p99 | queries a request | old pages behind a change |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, figures in found.items():
        took = sorted(figures.took)
        old = f"{100 * figures.old / figures.looked:.0f} %" if figures.looked else "–"
        lines.append(
            f"| {BACKENDS[name]} | {statistics.median(figures.rates):,.0f} | {1000 * took[len(took) // 2]:.1f} ms | "
            f"{1000 * took[int(len(took) * 0.99)]:.0f} ms | {figures.queries / len(took):.2f} | {old} |"
        )
    return "\n".join(lines)


BEGIN, END = "<!-- benchmarks/site.py --write -->\n", "<!-- end -->"


def write(lines: list[str]) -> None:
    """Puts the table between its marks in the example's README."""
    readme = EXAMPLE / "README.md"
    before, begin, rest = readme.read_text().partition(BEGIN)
    _, end, behind = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{readme} has no {BEGIN.strip()} … {END}")
    readme.write_text(before + begin + "\n".join(lines) + "\n" + end + behind)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--backends", default=",".join(BACKENDS), help=f"some of {', '.join(BACKENDS)}")
    parser.add_argument("--seconds", type=float, default=10.0, help="that each round measures (default 10)")
    parser.add_argument("--warm", type=float, default=5.0, help="seconds before that (default 5)")
    parser.add_argument("--rounds", type=int, default=3, help="of each cache (default 3)")
    parser.add_argument("--write", action="store_true", help="put the table into the example's README, too")
    parser.add_argument("--scale", type=float, default=1.0, help="of the database (default 1)")
    chosen = parser.parse_args()
    names = chosen.backends.split(",")
    if unknown := set(names) - set(BACKENDS):
        parser.error(f"there is no {', '.join(sorted(unknown))}, but {', '.join(BACKENDS)}")
    if min(chosen.seconds, chosen.rounds) <= 0 or chosen.warm < 0:
        parser.error("--seconds and --rounds are above 0, and --warm is not below it")
    found = {name: Figures() for name in names}
    with tempfile.TemporaryDirectory() as made:
        seeded = Path(made, "seeded.sqlite3")
        environment = {**os.environ, "CACHE": "dummy", "EXAMPLE_DATABASE": str(seeded)}
        manage(environment, "migrate")
        manage(environment, "seed", f"--scale={chosen.scale}")
        for each in range(chosen.rounds):
            for name in names:
                print(f"round {each + 1} of {chosen.rounds}: {name}", file=sys.stderr)
                figures = measure(name, seeded, chosen.warm, chosen.seconds)
                found[name].add(figures)
                found[name].rates += figures.rates
    changes = sum(figures.changes for figures in found.values())
    requests = sum(len(figures.took) for figures in found.values())
    lines = [
        (
            f"Python {platform.python_version()}, Django {importlib.metadata.version('django')}, {os.cpu_count()}"
            f" cores, {chosen.rounds} rounds of {chosen.seconds:g} s each; {requests:,} requests in all, {changes:,} of"
            " them changes."
        ),
        "",
        table(found),
    ]
    print("\n".join(lines))
    if chosen.write:
        write(lines)


if __name__ == "__main__":
    main()
