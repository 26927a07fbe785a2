#!/usr/bin/env python3
"""GET found on disk alone against GET found in memory: CPU time of the server a request.

    Tests/Benchmarks/disk_hits.py                    # about 40 seconds
    Tests/Benchmarks/disk_hits.py --keys 1000000     # more than SQLite's page cache holds

One server with two namespaces of the same entries: one has a policy with max_memory 1, so that memory never keeps an entry of it, and each
get is read from SQLite (the file itself is in the system's cache). Needs: wrk.
"""

import json

from benchmark import Report, by_turns, medians, parser, ratio, workplace
from load import pantler_request, wrk
from servers import Pantler


def main():
    options = parser(__doc__)
    options.add_argument("--keys", type=int, default=10_000)
    options.add_argument("--connections", type=int, default=32)
    arguments = options.parse_args()
    report = Report("GET, found in memory and on disk", arguments)
    with workplace(arguments) as (folder, servers):
        pantler = Pantler(arguments.pantler, folder, "--max-memory", "2GiB")
        servers.append(pantler)
        pantler.set_policy("memory")
        pantler.set_policy("disk", max_memory=1)
        for namespace in ("memory", "disk"):
            pantler.fill(arguments.keys, namespace)
        pantler.await_disk()
        subjects = {namespace: load(pantler, namespace, arguments) for namespace in ("memory", "disk")}
        taken = by_turns(subjects, arguments.rounds)
        for name, rounds in taken.items():
            check(pantler, name)
            figures = medians(rounds)
            if name == "disk":
                figures["ratio"] = ratio(rounds, taken["memory"])
            report.add(f"found in {name}" if name == "memory" else f"found on {name}", figures)
    report.write()


def load(pantler, namespace, arguments):
    return lambda: wrk(
        pantler, pantler_request("get", namespace), seconds=arguments.seconds, connections=arguments.connections,
        keys=arguments.keys, prepared=1 << 15)


def check(pantler, tier):
    """All gets were hits in the tier that gives the namespace its name."""
    stats = json.loads(pantler.call("GET", f"/v1/namespaces/{tier}/stats"))
    if stats["hits"][tier] != stats["gets"]:
        raise SystemExit(f"of {stats['gets']} gets only {stats['hits'][tier]} were hits in {tier}")


if __name__ == "__main__":
    main()
