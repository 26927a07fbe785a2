#!/usr/bin/env python3
"""What a GET hit costs the server when there are more entries, more connections and more event loops: CPU time a request.

    Tests/Benchmarks/scaling.py                      # about two minutes, 1 GB of memory
    Tests/Benchmarks/scaling.py --entries 10000000   # 4 GB of memory, and a minute or two to fill
    Tests/Benchmarks/scaling.py --only loops

Three comparisons, each a server or two in rounds by turns: 10,000 entries against --entries; 1, 32, 256 and 1,024 connections; one
event loop against two. Keys are drawn at random, for the first comparison 131,072 of them, so that entries are not in the processor's
caches just because the same few are asked for again. What moves with the number of connections is mostly how many requests the
kernel hands over at a time. Needs: wrk.
"""

from benchmark import Pantler, Report, by_turns, medians, pantler_request, parser, ratio, workplace, wrk

FEW = 10_000


def main():
    options = parser(__doc__)
    options.add_argument("--entries", type=int, default=1_000_000)
    options.add_argument("--only", choices=["entries", "connections", "loops"])
    arguments = options.parse_args()
    report = Report("Scaling of a GET hit", arguments)
    comparisons = {"entries": compare_entries, "connections": compare_connections, "loops": compare_loops}
    for name, compare in comparisons.items():
        if arguments.only in (None, name):
            with workplace(arguments) as (folder, servers):
                tell(report, compare(arguments, folder, servers))
    report.write()


def tell(report, taken):
    """The figures, and their ratio to the first of them."""
    first = next(iter(taken.values()))
    for name, rounds in taken.items():
        report.add(name, medians(rounds) | {"ratio": ratio(rounds, first)})


def start(arguments, folder, servers, name, entries, *more):
    # 512 bytes an entry are more than enough; what is not used is not taken.
    room = max(256, entries * 512 >> 20)
    pantler = Pantler(arguments.pantler, folder, "--max-memory", f"{room}MiB", *more, name=name)
    servers.append(pantler)
    # Durability `memory`: the disk has nothing to do with a hit, and filling it would take most of the time.
    pantler.set_policy(durability="memory")
    pantler.fill(entries)
    return pantler


def gets(pantler, arguments, entries, connections=32, prepared=4096):
    return lambda: wrk(
        pantler, pantler_request("get"), seconds=arguments.seconds, connections=connections, keys=entries,
        prepared=prepared)


def compare_entries(arguments, folder, servers):
    return by_turns({
        f"{count:,} entries": gets(
            start(arguments, folder, servers, str(count), count), arguments, count, prepared=1 << 17)
        for count in (FEW, arguments.entries)
    }, arguments.rounds)


def compare_connections(arguments, folder, servers):
    pantler = start(arguments, folder, servers, "connections", FEW)
    return by_turns({
        f"{count:,} connections": gets(pantler, arguments, FEW, count) for count in (32, 1, 256, 1024)
    }, arguments.rounds)


def compare_loops(arguments, folder, servers):
    return by_turns({
        f"{count} event loops": gets(
            start(arguments, folder, servers, f"loops-{count}", FEW, "--threads", str(count)), arguments, FEW)
        for count in (1, 2)
    }, arguments.rounds)


if __name__ == "__main__":
    main()
