#!/usr/bin/env python3
"""GET, PUT and batch/get against what else answers over HTTP: CPU time of the server a request.

    Tests/Benchmarks/peers.py                        # all three, about two minutes
    Tests/Benchmarks/peers.py get --connections 64

The peers, where they are installed: nginx, which answers GET with a constant (no cache: what HTTP costs on this machine), and webdis in
front of Redis with an append-only file that is synced every second, whose two processes are counted together. Values are some 220
bytes of JSON, keys are drawn from 10,000, batches have 100 keys; wrk is the client. Needs: wrk; nginx-light, redis-server, webdis.
"""

from benchmark import Report, by_turns, medians, parser, ratio, workplace
from load import pantler_request, webdis_request, wrk
from servers import Nginx, Pantler, Webdis, have

KEYS = 10_000


def main():
    options = parser(__doc__)
    options.add_argument("operations", nargs="*", metavar="get|set|mget", help="(default: all)")
    options.add_argument("--connections", type=int, default=32)
    arguments = options.parse_args()
    operations = arguments.operations or ["get", "set", "mget"]
    if set(operations) - {"get", "set", "mget"}:
        options.error("operations are get, set and mget")
    report = Report("CPU time a request, beside peers", arguments)
    with workplace(arguments) as (folder, servers):
        pantler = Pantler(arguments.pantler, folder)
        servers.append(pantler)
        pantler.fill(KEYS)
        peers = {}
        if have("nginx"):
            peers["nginx"] = Nginx(folder)
            servers.append(peers["nginx"])
        if have("webdis", "redis-server"):
            peers["webdis + redis"] = Webdis(folder)
            servers.append(peers["webdis + redis"])
            peers["webdis + redis"].fill(KEYS)
        for operation in operations:
            subjects = {"pantler": load(pantler, pantler_request(operation), arguments)}
            if operation == "get" and "nginx" in peers:
                subjects["nginx"] = load(peers["nginx"], pantler_request("get"), arguments)
            if "webdis + redis" in peers:
                subjects["webdis + redis"] = load(peers["webdis + redis"], webdis_request(operation), arguments)
            for measure in subjects.values():
                measure(seconds=1)
            taken = by_turns(subjects, arguments.rounds)
            for name, rounds in taken.items():
                figures = medians(rounds)
                if operation == "mget":
                    figures["cpu_us_a_key"] = figures["cpu_us"] / 100
                if name != "pantler":
                    figures["pantler_is"] = ratio(taken["pantler"], rounds)
                report.add(f"{operation}: {name}", figures)
    report.write()


def load(server, request, arguments):
    return lambda seconds=arguments.seconds: wrk(
        server, request, seconds=seconds, connections=arguments.connections, keys=KEYS)


if __name__ == "__main__":
    main()
