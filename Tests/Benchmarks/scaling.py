#!/usr/bin/env python3
"""What a GET hit costs the server when there are more entries, more connections and more event loops: CPU time a request.

    Tests/Benchmarks/scaling.py                      # about five minutes, 1 GB of memory
    Tests/Benchmarks/scaling.py --entries 10000000   # 4 GB of memory, and a minute more to fill
    Tests/Benchmarks/scaling.py --only connections --one-core

Four comparisons, each in rounds by turns; each ratio is to the first line of the same server.

Entries: 10,000 against --entries. 131,072 keys are drawn at random, so that entries are not in the processor's caches just because the same
few are asked for again.

Connections: 32, 1, 256 and 1,024, and the same for nginx answering a constant, where it is installed: with one connection each request
wakes the server out of its sleep, and with many the memory of each is cold, the kernel's as well. Client and servers are kept on a core
each: to wake another core costs many times as much as to change over on one, and else it would be the scheduler's choice. With --one-core
they share one, which leaves these wake-ups out.

Rate: the same numbers of connections, but as many gets a second over them (--rate, from paced.c, evenly spaced): what the number of connections
alone makes of a hit. Above it is also how much there is to do: a server that is asked for one thing at a time sleeps and wakes for each.

Loops: every core has a client of its own, which is kept there, and 32 connections for each loop. One loop with its client on one
core; two loops on two cores, each of which has the connections of its core's client; nginx with one worker and with two, whose
connections lie crosswise. What that costs is the kernel's: so there are two processes of one loop each too, with each client on its
server's core, and with half of its connections to either. Needs: wrk; nginx-light.
"""

import os

from benchmark import Report, by_turns, medians, parser, ratio, workplace
from load import paced, pantler_request, told_by_paced, wrks
from servers import NAMESPACE, Nginx, Pantler, compiled, have

FEW = 10_000
COUNTS = (32, 1, 256, 1024)


def main():
    options = parser(__doc__)
    options.add_argument("--entries", type=int, default=1_000_000)
    options.add_argument("--only", choices=["entries", "connections", "rate", "loops"])
    options.add_argument("--one-core", action="store_true", help="connections: keep the client on the server's core")
    options.add_argument("--rate", type=int, default=5000, help="gets a second (default: %(default)s)")
    arguments = options.parse_args()
    report = Report("Scaling of a GET hit", arguments)
    comparisons = {
        "entries": compare_entries, "connections": compare_connections, "rate": compare_rate, "loops": compare_loops}
    for name, compare in comparisons.items():
        if arguments.only in (None, name):
            with workplace(arguments) as (folder, servers):
                tell(report, by_turns(compare(arguments, folder, servers), arguments.rounds))
    report.write()


def tell(report, taken):
    """The figures, and their ratio to the first of the same server."""
    first = {}
    for name, rounds in taken.items():
        base = first.setdefault(name.split(":")[0], rounds)
        report.add(name, medians(rounds) | {"ratio": ratio(rounds, base)})


def start(arguments, folder, servers, name, entries=FEW, *more):
    # 512 bytes an entry are more than enough; what is not used is not taken.
    room = max(256, entries * 512 >> 20)
    pantler = Pantler(arguments.pantler, folder, "--max-memory", f"{room}MiB", *more, name=name)
    servers.append(pantler)
    # Durability `memory`: the disk has nothing to do with a hit, and filling it would take most of the time.
    pantler.set_policy(durability="memory")
    pantler.fill(entries)
    return pantler


def start_nginx(folder, servers, workers):
    servers.append(Nginx(folder, workers=workers, name=f"nginx-{workers}"))
    return servers[-1]


def two_cores():
    cores = sorted(os.sched_getaffinity(0))
    return {cores[0]}, {cores[-1]}


def gets(arguments, *clients, entries=FEW, **more):
    return lambda: wrks(clients, pantler_request("get"), seconds=arguments.seconds, keys=entries, **more)


def compare_entries(arguments, folder, servers):
    return {
        f"pantler: {count:,} entries": gets(
            arguments, (start(arguments, folder, servers, str(count), count), 32, None), entries=count, prepared=1 << 17)
        for count in (FEW, arguments.entries)
    }


def compare_connections(arguments, folder, servers):
    subjects, first, second = with_nginx(arguments, folder, servers)
    if arguments.one_core:
        second = first
    return {
        named(name, count): gets(arguments, (server, count, second), opening=0.5)
        for count in COUNTS for name, server in subjects.items()
    }


def compare_rate(arguments, folder, servers):
    client = compiled("paced.c", folder)
    subjects, _, second = with_nginx(arguments, folder, servers)

    def measure(server, count):
        path = f"/v1/namespaces/{NAMESPACE}/entries/user:profile:"
        before = server.cpu_seconds()
        figures = told_by_paced(paced(client, server, arguments.rate, arguments.seconds, count, path, FEW, cores=second))
        spent = server.cpu_seconds() - before
        return {"cpu_us": spent * 1e6 / (arguments.rate * arguments.seconds)} | figures

    return {
        named(name, count): lambda server=server, count=count: measure(server, count)
        for count in COUNTS for name, server in subjects.items()
    }


def with_nginx(arguments, folder, servers):
    """Both on the first of two cores, which are returned, too."""
    subjects = {"pantler": start(arguments, folder, servers, "pantler")}
    if have("nginx"):
        subjects["nginx"] = start_nginx(folder, servers, 1)
    first, second = two_cores()
    for server in subjects.values():
        server.pin(first)
    return subjects, first, second


def named(name, connections):
    return f"{name}: {connections:,} connection{'s' * (connections > 1)}"


def compare_loops(arguments, folder, servers):
    one, two = two_cores()
    both = one | two
    # Two loops keep to a core each where these are all that they have, and they are asked to.
    os.sched_setaffinity(0, both)
    os.environ["PANTLER_SERVER_PIN_THREADS"] = "true"
    loop, loops, near_one, near_two, far_one, far_two = (
        start(arguments, folder, servers, f"pantler-{number}", FEW, "--threads", "2" if number == 1 else "1")
        for number in range(6))
    places = {loop: one, near_one: one, near_two: two, far_one: both, far_two: both}
    subjects = {
        "pantler: one loop": [(loop, 32, one)],
        "pantler: two loops": [(loops, 16, one), (loops, 16, one), (loops, 16, two), (loops, 16, two)],
        "pantler: two processes": [(near_one, 32, one), (near_two, 32, two)],
        "pantler: two processes, crosswise": [(far_one, 16, one), (far_two, 16, one), (far_one, 16, two), (far_two, 16, two)],
    }
    if have("nginx"):
        worker, workers = start_nginx(folder, servers, 1), start_nginx(folder, servers, 2)
        places |= {worker: one, workers: both}
        subjects["nginx: one worker"] = [(worker, 32, one)]
        subjects["nginx: two workers"] = [(workers, 16, one), (workers, 16, one), (workers, 16, two), (workers, 16, two)]
    for server, place in places.items():
        server.pin(place)
    return {name: gets(arguments, *clients) for name, clients in subjects.items()}


if __name__ == "__main__":
    main()
