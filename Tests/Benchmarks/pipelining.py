#!/usr/bin/env python3
"""GET of one key a request, 16 requests at once, against Redis's own protocol with as many: CPU time of the server a request.

    Tests/Benchmarks/pipelining.py                   # about a minute
    Tests/Benchmarks/pipelining.py --pipeline 64

Both hold the same 10,000 entries of some 220 bytes. Pantler is asked by wrk over HTTP, Redis by redis-benchmark -P over 32 connections
each. Without Redis only Pantler is measured. Needs: wrk; redis-server and redis-tools.
"""

import csv
import io
import subprocess

from benchmark import Report, by_turns, medians, parser, ratio, workplace
from load import pantler_request, wrk
from servers import Pantler, Redis, have

KEYS = 10_000
CONNECTIONS = 32


def main():
    options = parser(__doc__)
    options.add_argument("--pipeline", type=int, default=16, help="requests at once (default: %(default)s)")
    arguments = options.parse_args()
    report = Report(f"GET, {arguments.pipeline} requests at once", arguments)
    with workplace(arguments) as (folder, servers):
        pantler = Pantler(arguments.pantler, folder)
        servers.append(pantler)
        pantler.fill(KEYS)
        subjects = {"pantler": lambda: wrk(
            pantler, pantler_request("get"), seconds=arguments.seconds, connections=CONNECTIONS, keys=KEYS,
            pipeline=arguments.pipeline)}
        if have("redis-server", "redis-benchmark"):
            redis = Redis(folder)
            servers.append(redis)
            redis.fill(KEYS, digits=12)
            count = requests_for(redis, arguments)
            subjects["redis"] = lambda: redis_gets(redis, arguments.pipeline, count)
        taken = by_turns(subjects, arguments.rounds)
        for name, rounds in taken.items():
            figures = medians(rounds)
            if name != "pantler":
                figures["pantler_is"] = ratio(taken["pantler"], rounds)
            report.add(name, figures)
    report.write()


def requests_for(redis, arguments):
    """How many requests take about as long as a round: redis-benchmark counts requests, not seconds."""
    return int(redis_gets(redis, arguments.pipeline, 200_000)["per_second"] * arguments.seconds)


def redis_gets(redis, pipeline, count):
    before = redis.cpu_seconds()
    # It writes the random number with 12 digits.
    output = subprocess.run(
        ["redis-benchmark", "-h", "127.0.0.1", "-p", str(redis.redis_port), "-c", str(CONNECTIONS), "-P", str(pipeline),
         "-n", str(count), "-r", str(KEYS), "--csv", "GET", "user:profile:__rand_int__"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300, check=True).stdout
    spent = redis.cpu_seconds() - before
    per_second = list(csv.DictReader(io.StringIO(output)))[-1]["rps"]
    return {"cpu_us": spent * 1e6 / count, "per_second": float(per_second)}


if __name__ == "__main__":
    main()
