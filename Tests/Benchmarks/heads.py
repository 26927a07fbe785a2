#!/usr/bin/env python3
"""GET hits by what else stands in the request's head: CPU time of the server a request, beside the barest head.

    Tests/Benchmarks/heads.py                 # about 75 seconds
    Tests/Benchmarks/heads.py --pipeline 16   # where the head's part of the cost is largest

One server, and one load at a time by turns. Needs: wrk.
"""

import re

from benchmark import Report, by_turns, medians, parser, ratio, workplace
from load import entry_path, wrk
from servers import Pantler

HEADS = {
    "host alone": {},
    "a token, x-forwarded-for, a trace": {
        "Authorization": "Bearer pt_7_c2VjcmV0LXNlY3JldC1zZWNyZXQ",
        "x-forwarded-for": "203.0.113.7",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    },
    "Node's fetch": {
        "connection": "keep-alive", "accept": "*/*", "accept-language": "*", "sec-fetch-mode": "cors", "user-agent": "node",
        "accept-encoding": "gzip, deflate",
    },
    "Python's requests": {
        "User-Agent": "python-requests/2.32.5", "Accept-Encoding": "gzip, deflate", "Accept": "*/*", "Connection": "keep-alive",
    },
    # What the fast lane leaves.
    "a condition": {"If-None-Match": '"1"'},
}


def main():
    options = parser(__doc__)
    options.add_argument("--pipeline", type=int, default=1)
    options.add_argument("--connections", type=int, default=32)
    arguments = options.parse_args()
    report = Report("GET hits by their heads", arguments)
    with workplace(arguments) as (folder, servers):
        pantler = Pantler(arguments.pantler, folder)
        servers.append(pantler)
        pantler.fill(10_000)
        taken = by_turns({name: load(pantler, fields, arguments) for name, fields in HEADS.items()}, arguments.rounds)
        for name, rounds in taken.items():
            figures = medians(rounds)
            if name != "host alone":
                figures["ratio"] = ratio(rounds, taken["host alone"])
            report.add(name, figures)
        told = re.findall(r'pantler_requests_total\{operation="get",code="200",lane="(\w+)"\} (\d+)',
                          pantler.call("GET", "/metrics").decode())
        report.add("answered by lane", {lane: int(count) for lane, count in told})
    report.write()


def load(pantler, fields, arguments):
    table = ", ".join(f"['{name}'] = '{value}'" for name, value in fields.items())
    request = f'wrk.format("GET", "{entry_path()}", {{{table}}})'
    return lambda: wrk(pantler, request, seconds=arguments.seconds, connections=arguments.connections,
                       pipeline=arguments.pipeline)


if __name__ == "__main__":
    main()
