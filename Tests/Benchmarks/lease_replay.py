#!/usr/bin/env python3
"""Recorded requests replayed by 64 clients whose loads take 50 ms, with leases and without: loads, and the latency of a request.

    PANTLER_TRACES=/path/to/traces Tests/Benchmarks/lease_replay.py          # web12 and scarab-recs, about five minutes
    Tests/Benchmarks/lease_replay.py trace.csv.gz --requests 500000

A trace is `key,size` a line, gzipped; a size of 1 stands for 256 bytes. Its first --requests are replayed as fast as they are answered, each by
the next client that is free, in the order of the trace. Memory holds all of them, and an entry lives for --ttl seconds: misses are first
requests and expired ones, and whatever is asked for a lot is missed by several clients at once.

Three ways, by turns, each on a service that has just been started: without leases (get, on a miss load and put), with leases (whoever has none
waits), and with leases and a stale TTL of a minute (while one client refreshes, the others get the stale entry). A request takes until
its client has the value, and where it loaded itself until the put is answered. `doubled` are the loads of a key that another client was
loading already. Needs nothing but Python.
"""

import gzip
import os
import time

from benchmark import Report, by_turns, medians, parser, workplace
from callers import Leases, Loop, Plain, percentile
from servers import Pantler

TRACES = ("web12", "scarab-recs")
UNKNOWN_SIZE = 256


def main():
    options = parser(__doc__, rounds=1)
    options.add_argument("traces", nargs="*", help="(default: web12 and scarab-recs in the folder that PANTLER_TRACES names)")
    options.add_argument("--requests", type=int, default=100_000, help="the most to replay (default: %(default)s)")
    options.add_argument("--clients", type=int, default=64)
    options.add_argument("--load-ms", type=float, default=50, help="that a load takes (default: %(default)s)")
    options.add_argument("--ttl", type=float, default=2, help="of an entry, in seconds (default: %(default)s)")
    arguments = options.parse_args()
    # The servers are started without it: to Pantler it would be a setting that there is not.
    folder = os.environ.pop("PANTLER_TRACES", None)
    if not arguments.traces and not folder:
        options.error("name a trace, or the folder of some in PANTLER_TRACES")
    paths = arguments.traces or [os.path.join(folder, f"{name}.csv.gz") for name in TRACES]
    ways = {
        "without leases": (Plain, {"ttl": arguments.ttl}),
        "leases": (Leases, {"ttl": arguments.ttl}),
        "leases, stale TTL": (Leases, {"ttl": arguments.ttl, "stale_ttl": 60}),
    }
    report = Report(f"Replays by {arguments.clients} clients", arguments)
    for path in paths:
        requests = read(path, arguments.requests)
        name = os.path.basename(path).split(".")[0]
        report.add(name, {"requests": len(requests), "keys": len({key for key, _ in requests})})
        taken = by_turns({
            way: lambda chosen=chosen: replay(arguments, requests, *chosen) for way, chosen in ways.items()
        }, arguments.rounds)
        for way, rounds in taken.items():
            report.add(f"{name}: {way}", medians(rounds))
    report.write()


def read(path, limit):
    requests = []
    with gzip.open(path, "rt") as lines:
        for line in lines:
            if len(requests) == limit:
                break
            key, size = line.split(",")
            requests.append((key, UNKNOWN_SIZE if int(size) == 1 else int(size)))
    return requests


def replay(arguments, requests, way, life):
    with workplace(arguments, wrk=False) as (folder, servers), Loop() as loop:
        pantler = Pantler(arguments.pantler, folder, "--max-memory", "1GiB")
        servers.append(pantler)
        pantler.set_policy(durability="memory")
        sizes = dict(requests)
        application = way(
            loop, pantler.port, lambda key, then: loop.after(arguments.load_ms / 1e3, lambda: then(f'"{"x" * sizes[key]}"')), life)
        rest, latencies, stale = iter(requests), [], 0

        def next_request(connection):
            key, _ = next(rest, (None, None))
            if key is None:
                return
            asked = time.time()

            def done(outcome, at):
                nonlocal stale
                stale += outcome == "stale"
                latencies.append(at - asked)
                next_request(connection)

            application.fetch(connection, key, done)

        begin = time.monotonic()
        for _ in range(arguments.clients):
            next_request(loop.connect(pantler.port))
        loop.run(lambda: len(latencies) == len(requests) and not application.running)
        seconds = time.monotonic() - begin
    return {"loads": application.loads, "doubled": application.doubled, "stale": stale, "lost": application.lost,
            "p50_ms": percentile(latencies, 0.5) * 1e3, "p99_ms": percentile(latencies, 0.99) * 1e3,
            "p999_ms": percentile(latencies, 0.999) * 1e3, "mean_ms": sum(latencies) / len(latencies) * 1e3,
            "seconds": seconds}


if __name__ == "__main__":
    main()
