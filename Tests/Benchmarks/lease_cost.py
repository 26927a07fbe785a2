#!/usr/bin/env python3
"""What leases cost the service: CPU time of a lease request that hits, beside a plain GET's, and memory of a caller that waits.

    Tests/Benchmarks/lease_cost.py                   # about a minute; wants ulimit -n 10200
    Tests/Benchmarks/lease_cost.py --only memory --waiters 2000

Hits: wrk over 32 connections, by turns a GET, a lease request with an empty body (all defaults), one that has none at all, and one that
says how long it would wait. `ratio` is to the GET.

Memory: so many connections that have had a hit each are idle; then all of them wait for one key, which somebody else has the lease of.
`bytes` is how much more of the process is resident then, divided by the waiters: requests, timers and places in the queue, all told.
Each round is of a process that has just been started, so that nothing is left from before that it could use again. In the end the key is
filled, and everybody has to have the entry; `answered_ms` is how long that takes. Needs: wrk.
"""

import json
import resource
import time

from benchmark import Report, by_turns, medians, parser, ratio, workplace
from callers import Loop, request, unexpected
from load import pantler_request, wrk
from servers import NAMESPACE, Pantler, compact, key, value

KEYS = 10_000
GET = "GET"
REQUESTS = {
    GET: "get", "lease, empty body": "lease", "lease, no body": "lease, bare", "lease, ttl and wait": "lease, waiting",
}


def main():
    options = parser(__doc__)
    options.add_argument("--connections", type=int, default=32)
    options.add_argument("--waiters", type=int, default=10_000)
    options.add_argument("--only", choices=["cpu", "memory"])
    arguments = options.parse_args()
    report = Report("Leases: CPU of a hit, memory of a waiter", arguments)
    if arguments.only != "memory":
        with workplace(arguments) as (folder, servers):
            compare_hits(arguments, folder, servers, report)
    if arguments.only != "cpu":
        rounds = []
        for _ in range(arguments.rounds):
            with workplace(arguments) as (folder, servers):
                rounds.append(measure_waiters(arguments, folder, servers))
        report.add(f"{arguments.waiters:,} waiters", medians(rounds))
    report.write()


def compare_hits(arguments, folder, servers, report):
    pantler = Pantler(arguments.pantler, folder)
    servers.append(pantler)
    pantler.fill(KEYS)

    def measure(operation, seconds):
        return wrk(pantler, pantler_request(operation), seconds=seconds, connections=arguments.connections, keys=KEYS)

    for operation in REQUESTS.values():
        measure(operation, 1)
    taken = by_turns({
        name: lambda operation=operation: measure(operation, arguments.seconds) for name, operation in REQUESTS.items()
    }, arguments.rounds)
    for name, rounds in taken.items():
        report.add(name, medians(rounds) | {"ratio": ratio(rounds, taken[GET])})


def measure_waiters(arguments, folder, servers):
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if room < arguments.waiters + 200:
        raise SystemExit(f"{arguments.waiters} connections need more file descriptors than {room}: ulimit -n")
    limits = f"limits:\n  connections: {arguments.waiters + 100}\n  waiters: {arguments.waiters + 100}\n"
    pantler = Pantler(arguments.pantler, folder, configuration=limits)
    servers.append(pantler)
    pantler.fill(KEYS)
    target = f"/v1/namespaces/{NAMESPACE}/leases/awaited"
    token = json.loads(pantler.call("POST", target, {"ttl": 120}))["lease"]["token"]
    with Loop() as loop:
        waiters = [loop.connect(pantler.port) for _ in range(arguments.waiters)]
        answers = []
        idle = idle_after(loop, pantler, waiters)
        wait = request("POST", target, compact({"ttl": 30, "wait": 30}))
        for connection in waiters:
            connection.ask(wait, answers.append)
        await_waiters(pantler, arguments.waiters)
        waiting = settled(pantler)
        fill = request("PUT", f"/v1/namespaces/{NAMESPACE}/entries/awaited", compact({"value": value(1)}), f"Lease: {token}")
        begin = time.time()
        filler = loop.connect(pantler.port)
        filler.ask(fill, answers.append)
        loop.run(lambda: len(answers) == arguments.waiters + 1)
        for answer in answers:
            if answer.status not in (200, 201):
                raise unexpected("a waiter", answer)
    return {"bytes": (waiting - idle) / arguments.waiters,
            "idle_mib": idle / (1 << 20), "waiting_mib": waiting / (1 << 20),
            "answered_ms": (max(answer.at for answer in answers) - begin) * 1e3}


def idle_after(loop, pantler, connections):
    """Resident bytes once all connections have had a hit."""
    text, answers = request("GET", f"/v1/namespaces/{NAMESPACE}/entries/{key(1)}", None), []
    for connection in connections:
        connection.ask(text, answers.append)
    loop.run(lambda: len(answers) == len(connections))
    return settled(pantler)


def settled(pantler):
    """Resident bytes a moment later."""
    time.sleep(2)
    return pantler.resident_bytes()


def await_waiters(pantler, count):
    deadline = time.monotonic() + 20
    while pantler.metric("pantler_lease_waiters") != count:
        if time.monotonic() > deadline:
            raise SystemExit(f"{pantler.metric('pantler_lease_waiters'):.0f} of {count} callers wait")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
