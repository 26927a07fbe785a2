#!/usr/bin/env python3
"""The latency of GET hits, alone and while 2,000 PUT/s make the service evict, purge and checkpoint: p99 of both.

    Tests/Benchmarks/steady.py                       # about two minutes
    Tests/Benchmarks/steady.py --writes 5000
    Tests/Benchmarks/steady.py --closed              # the gets as fast as they are answered

The gets go to 10,000 entries of one namespace, which stay in memory. The puts go to another namespace that may hold 4 MiB of memory and
16 MiB of disk, with values of 2 KB and a TTL of 0.3 or 2 seconds by turns: some expire in memory and the others are evicted from it, all
expire on disk, and the write-ahead log (1 MiB) is copied into the file all the time. That all this went on is told by the counters
beside the figures.

Gets and puts come evenly spaced at fixed rates (paced.c), as from many callers, and what a get takes counts from the moment at which it
was due. Three conditions by turns: no puts; the same puts to another process, which keeps them in memory alone, so that client
and machine have the same to do; and the puts to the process that is asked. The ratio is that of the last two: what the service's own
work does. With --closed the gets come from wrk, which waits for each answer before it asks again and leaves no core idle: who has
anything else to do has to take turns with it, in the kernel's slices of milliseconds. Needs: cc; wrk.
"""

import random
import time

from benchmark import Report, by_turns, medians, parser, ratio, workplace
from load import paced, pantler_request, told_by_paced, wrk
from servers import NAMESPACE, Pantler, compiled

KEYS = 10_000
WRITTEN = "written"
ALONE, ELSEWHERE, HERE = "alone", "beside writes elsewhere", "beside writes"
COUNTERS = {
    "evictions": "pantler_evictions_total",
    "expirations": "pantler_expirations_total",
    "disk_expirations": "pantler_disk_expirations_total",
    "commits": "pantler_disk_commits_total",
}
CONFIGURATION = """
disk:
  wal_size: 1MiB
"""
# Seconds of writes before they are measured: what was put first begins to expire and to be evicted.
BEFORE = 3


def main():
    options = parser(__doc__, seconds=5)
    options.add_argument("--writes", type=int, default=2000, help="PUTs a second (default: %(default)s)")
    options.add_argument("--reads", type=int, default=5000, help="GETs a second (default: %(default)s)")
    options.add_argument("--connections", type=int, default=8)
    options.add_argument("--closed", action="store_true", help="let wrk send the gets, as fast as they are answered")
    arguments = options.parse_args()
    report = Report("GET hits, alone and beside writes", arguments)
    with workplace(arguments) as (folder, servers):
        client = compiled("paced.c", folder)
        pantler = Pantler(arguments.pantler, folder, configuration=CONFIGURATION)
        servers.append(pantler)
        pantler.fill(KEYS)
        pantler.set_policy(WRITTEN, max_memory=4 << 20, max_disk=16 << 20)
        other = Pantler(arguments.pantler, folder, name="other")
        servers.append(other)
        other.set_policy(WRITTEN, durability="memory")

        def gets():
            if arguments.closed:
                return wrk(pantler, pantler_request("get"), seconds=arguments.seconds, connections=arguments.connections)
            path = f"/v1/namespaces/{NAMESPACE}/entries/user:profile:"
            with paced(client, pantler, arguments.reads, arguments.seconds, arguments.connections, path, KEYS) as process:
                return told_by_paced(process)

        taken = by_turns({
            ALONE: gets,
            ELSEWHERE: lambda: beside(client, other, arguments, gets),
            HERE: lambda: beside(client, pantler, arguments, gets),
        }, arguments.rounds)
        for name, rounds in taken.items():
            figures = medians(rounds)
            if name == HERE:
                figures |= {"p99_ratio": ratio(rounds, taken[ELSEWHERE], "p99_us"),
                            "p99_ratio_alone": ratio(rounds, taken[ALONE], "p99_us")}
            report.add(name, figures)
    report.write()


def beside(client, server, arguments, measure):
    text = "".join(random.Random(3).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=2000))
    bodies = [f'{{"value":"{text}","ttl":{ttl}}}' for ttl in ("0.3", "2.0")]
    before = {name: server.metric(metric) for name, metric in COUNTERS.items()}
    path = f"/v1/namespaces/{WRITTEN}/entries/w"
    seconds = BEFORE + arguments.seconds + 1
    with paced(client, server, arguments.writes, seconds, 8, path, 100_000_000, *bodies) as writer:
        time.sleep(BEFORE)
        figures = measure()
        figures["put_p99_us"] = told_by_paced(writer)["p99_us"]
    return figures | {name: server.metric(metric) - before[name] for name, metric in COUNTERS.items()}


if __name__ == "__main__":
    main()
