#!/usr/bin/env python3
"""Time from the answer of a `behind` PUT to its commit, by the value's size: what a kill in between would lose.

    Tests/Benchmarks/behind.py                       # some seconds
    Tests/Benchmarks/behind.py --kib 1 1024

Values are text of random words, which deflates to about half. One PUT at a time, and then the length of the queue is asked for until it is 0,
so that a figure is longer than the truth by one answer of /metrics at most. Needs no wrk of its own.
"""

import random
import time

from benchmark import Report, medians, parser, workplace
from servers import Pantler


def main():
    options = parser(__doc__)
    options.add_argument("--kib", type=int, nargs="+", default=[1, 128, 512, 1024, 2048, 4000], help="sizes of values")
    arguments = options.parse_args()
    report = Report("Milliseconds from the answer of a `behind` PUT to its commit", arguments)
    with workplace(arguments) as (folder, servers):
        pantler = Pantler(arguments.pantler, folder)
        servers.append(pantler)
        for kib in arguments.kib:
            report.add(f"{kib} KiB", medians([measure(pantler, kib) for _ in range(arguments.rounds)]))
    report.write()


def measure(pantler, kib):
    words = [f"{random.getrandbits(40):x}" for _ in range(5000)]
    text = ""
    while len(text) < kib << 10:
        text += " ".join(random.choices(words, k=1000)) + " "
    pantler.call("PUT", "/v1/namespaces/behind/entries/k", {"value": text[: kib << 10]})
    answered = time.perf_counter()
    while pantler.metric("pantler_write_behind_queue_entries") > 0:
        pass
    return {"ms": (time.perf_counter() - answered) * 1000}


if __name__ == "__main__":
    main()
