#!/usr/bin/env python3
"""A hot key that expires every 2 seconds and takes 200 ms to load, by the policy's early_refresh (0, 1 and 2): who waits, and how many loads.

    Tests/Benchmarks/early_refresh.py                # about a minute and a half
    Tests/Benchmarks/early_refresh.py --rate 2000 --beta 0 0.5 1

The callers ask at a fixed rate, evenly spaced, by lease requests that wait; what a request takes counts from the moment at which it was due.
Without early refreshes each expiry makes all of them wait that come while one loads. With them (XFetch, Vattani et al., VLDB 2015) one
caller may refresh before that, with the entry still in hand, so that nobody has to wait; the price is more loads. `waited_share` is the share
of requests that had to wait for a load, their own or another caller's: the service counts the latter. Needs nothing but Python.
"""

import collections
import time

from benchmark import Report, by_turns, medians, parser, workplace
from callers import Leases, Loop, percentile
from servers import NAMESPACE, Pantler, compact, value

VALUE = compact(value(1))


def main():
    options = parser(__doc__, rounds=1, seconds=30)
    options.add_argument("--beta", type=float, nargs="+", default=[0, 1, 2], help="early_refresh (default: 0 1 2)")
    options.add_argument("--rate", type=int, default=500, help="requests a second (default: %(default)s)")
    options.add_argument("--ttl", type=float, default=2)
    options.add_argument("--load-ms", type=float, default=200)
    arguments = options.parse_args()
    report = Report(f"A hot key, {arguments.rate:,} requests a second", arguments)
    with workplace(arguments, wrk=False) as (folder, servers):
        pantler = Pantler(arguments.pantler, folder)
        servers.append(pantler)
        taken = by_turns({
            f"early_refresh {beta:g}": lambda beta=beta: measure(arguments, pantler, beta) for beta in arguments.beta
        }, arguments.rounds)
        for name, rounds in taken.items():
            report.add(name, medians(rounds))
    report.write()


def measure(arguments, pantler, beta):
    pantler.set_policy(NAMESPACE, early_refresh=beta)
    pantler.call("POST", f"/v1/namespaces/{NAMESPACE}/invalidate", {"all": True})
    load_seconds = arguments.load_ms / 1e3
    total = int(arguments.rate * arguments.seconds)
    with Loop() as loop:
        application = Leases(loop, pantler.port, lambda _, then: loop.after(load_seconds, lambda: then(VALUE)), {"ttl": arguments.ttl})
        latencies, outcomes = [], collections.Counter()
        # As many as come during a load, and some to spare.
        idle = [loop.connect(pantler.port) for _ in range(int(arguments.rate * load_seconds * 2) + 16)]

        def ask(due):
            connection = idle.pop() if idle else loop.connect(pantler.port)

            def done(outcome, at):
                outcomes[outcome] += 1
                latencies.append(at - due)
                idle.append(connection)

            application.fetch(connection, "hot", done)

        # The first load, which everybody has to wait for, is not of interest: nor is it known yet how long one takes.
        ask(time.time())
        loop.run(lambda: len(latencies) == 1)
        latencies.clear()
        outcomes.clear()
        loads, waits = application.loads, pantler.metric("pantler_lease_waits_total")
        begin, clocks = time.time(), time.time() - time.monotonic()
        sent = 0

        def send_due():
            nonlocal sent
            now = time.time()
            while sent < total and (due := begin + sent / arguments.rate) <= now:
                ask(due)
                sent += 1
            if sent < total:
                loop.at(begin + sent / arguments.rate - clocks, send_due)

        send_due()
        loop.run(lambda: len(latencies) == total and not application.running)
    waits = pantler.metric("pantler_lease_waits_total") - waits
    return {"waited_share": (waits + outcomes["filled"]) / total, "loads": application.loads - loads,
            "early": outcomes["early"], "p50_ms": percentile(latencies, 0.5) * 1e3, "p99_ms": percentile(latencies, 0.99) * 1e3,
            "mean_ms": sum(latencies) / total * 1e3}


if __name__ == "__main__":
    main()
