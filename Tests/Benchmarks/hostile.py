#!/usr/bin/env python3
"""What a peer without a token can do with 10,000 connections: memory, descriptors, the loop's time, and what a good client's hits take meanwhile.

    Tests/Benchmarks/hostile.py                      # about five minutes
    Tests/Benchmarks/hostile.py --only "slow heads" "wrong tokens" --connections 2000

Each kind meets a service of its own, with 10,000 entries, whose limits are the default ones. The good client is there first: 2,000 GET/s
with a token, evenly spaced over 8 connections (paced.c); what a get takes counts from the moment at which it was due. Then the others come
(hostile.c), 10,000 within a second, and each does once a second what it is there for; who is closed comes again. They share the machine's
cores with the service and the good client, which is a part of what is told: compare it to `nobody`, and to `a crowd`, which is as many
connections of clients that have a token, and ask once a second.

Resident bytes and open descriptors are the most that were seen; `stall_p999_ms` is of the events that the loop dealt with (the bound of the bucket), and
`stall_most_ms` the longest. Prints a table for the README, and fails where a bound of it does not hold. Needs: cc; openssl for the kinds by TLS.
"""

import contextlib
import http.client
import json
import os
import random
import re
import ssl
import subprocess
import time

from benchmark import Report, medians, parser, workplace
from guarded import Guarded
from servers import NAMESPACE, compiled

KEYS = 10_000
BODY = 8 << 20
# Of all kinds, where a kind does not say otherwise: resident MiB over those of `nobody`, milliseconds of a single event (p99.9), and of a good
# client's hit (p99). What a connection has in memory besides: README, "Limits".
# The crowd and the good client share the machine's two cores, and 10,000 connections come at once.
BOUNDS = {"more_mib": 200, "stall_p999_ms": 5, "p99_ms": 100}


class Kind:
    def __init__(self, how="hold", ears="reads", first=b"", following=b"", door="guarded", connections=None, **bounds):
        self.how, self.ears, self.first, self.following, self.door = how, ears, first, following, door
        self.connections = connections
        self.bounds = BOUNDS | bounds


def request(method, path, fields="", body=b""):
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode() + body


def kinds(token, arguments):
    path = f"/v1/namespaces/{NAMESPACE}/values/user:profile:00000001"
    draw = random.Random(1)
    head = request("GET", path)[:-2]
    wrong = request("GET", path, f"Authorization: Bearer pt_abcdefgh_{'x' * 43}\r\n")
    put = request("PUT", path, f"Content-Length: {BODY}\r\n")
    hello = client_hello()
    return {
        "nobody": Kind(connections=0),
        "a crowd": Kind("again", first=request("GET", path, f"Authorization: Bearer {token}\r\n"),
                        following=request("GET", path, f"Authorization: Bearer {token}\r\n")),
        "idle": Kind(),
        "slow heads": Kind("drip", first=head + b"X-Slow: ", following=b"x"),
        "unfinished heads": Kind(first=head + b"X-Long: " + b"x" * (15 << 10)),
        "garbage": Kind("again", first=draw.randbytes(2048), following=draw.randbytes(2048)),
        "wrong tokens": Kind("ask", first=wrong, following=wrong),
        "refused bodies": Kind("again", first=put + b"x" * 4096, following=b"x" * 4096),
        "slow refused bodies": Kind("drip", first=request("PUT", path, f"Content-Length: {60 << 10}\r\n"), following=b"x"),
        "slow takers": Kind("again", "deaf", first=request("GET", path) * 100, following=request("GET", path)),
        "open and close": Kind("churn"),
        "TLS, silent": Kind(door="secure"),
        "TLS, half a hello": Kind(door="secure", first=hello[: len(hello) // 2]),
        "TLS, slow hello": Kind("drip", door="secure", following=hello),
        "TLS, half open": Kind("churn", door="secure", first=hello),
        "TLS, garbage": Kind("again", door="secure", first=draw.randbytes(2048), following=draw.randbytes(2048)),
    }


def client_hello():
    """The first message of a TLS handshake."""
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


def main():
    options = parser(__doc__, rounds=1, seconds=12)
    options.add_argument("--connections", type=int, default=10_000)
    options.add_argument("--reads", type=int, default=2000, help="GETs a second of the good client (default: %(default)s)")
    options.add_argument("--only", nargs="+", metavar="KIND")
    options.add_argument("--no-tls", action="store_true", help="leave the kinds by TLS out")
    arguments = options.parse_args()
    names = list(kinds("", arguments))
    if set(arguments.only or []) - set(names):
        options.error(f"kinds are {', '.join(names)}")
    chosen = [name for name in names if name in (arguments.only or names) or name == "nobody"]
    report = Report(f"{arguments.connections:,} connections without a token", arguments)
    rows, broken, base = [], [], None
    with workplace(arguments, wrk=False) as (folder, servers):
        programs = compiled("paced.c", folder), compiled("hostile.c", folder)
        for name in chosen:
            rounds = []
            for number in range(arguments.rounds):
                service = Guarded(arguments.pantler, folder, name=f"{name}-{number}".replace(" ", "-").replace(",", ""),
                                  tls=not arguments.no_tls)
                servers.append(service)
                service.fill(KEYS)
                kind = kinds(service.token, arguments)[name]
                if kind.door == "secure" and arguments.no_tls:
                    break
                rounds.append(measure(service, kind, programs, arguments))
                servers.pop().stop()
            if not rounds:
                continue
            figures = medians(rounds)
            base = base or figures
            figures["more_mib"] = figures["rss_mib"] - base["rss_mib"]
            report.add(name, figures)
            rows.append((name, figures))
            broken += [f"{name}: {figure} is {figures[figure]:.1f}, and may be {bound}"
                       for figure, bound in kind.bounds.items() if figures[figure] > bound]
            if figures["fds"] > 10_000 + 256:
                broken.append(f"{name}: {figures['fds']:.0f} descriptors")
    print(table(rows))
    report.write()
    if broken:
        raise SystemExit("\n".join(broken))


def table(rows):
    lines = ["", "| 10,000 connections that | open | resident MiB more | CPU | single events of the loop, p99.9, most | a good hit, p50, p99, p99.9 |",
             "| --- | --- | --- | --- | --- | --- |"]
    for name, f in rows:
        lines.append(f"| {name} | {f['open']:,.0f} | {f['more_mib']:.0f} | {f['cpu']:.0%} | {f['stall_p999_ms']:g} ms, {f['stall_most_ms']:g} ms "
                     f"| {f['p50_ms']:.2f}, {f['p99_ms']:.2f}, {f['p999_ms']:.1f} ms |")
    return "\n".join(lines)


def measure(service, kind, programs, arguments):
    paced, hostile = programs
    # What tells of the service in the end is there from the beginning: later there may be no connection left.
    watch = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    before, cpu, begin = stalls(watch), service.cpu_seconds(), time.monotonic()
    environment = {**os.environ, "PACED_FIELDS": f"Authorization: Bearer {service.token}\r\n"}
    good = subprocess.Popen(
        [paced, str(service.guarded.port), str(arguments.reads), str(arguments.seconds), "8",
         f"/v1/namespaces/{NAMESPACE}/entries/user:profile:", str(KEYS)], stdout=subprocess.PIPE, text=True, env=environment)
    bad = None
    connections = arguments.connections if kind.connections is None else kind.connections
    if connections:
        time.sleep(0.5)
        paths = []
        for what, content in (("first", kind.first), ("next", kind.following)):
            paths.append(os.path.join(service.folder, what))
            with open(paths[-1], "wb") as file:
                file.write(content)
        door = getattr(service, kind.door)
        bad = subprocess.Popen([hostile, str(door.port), str(connections), str(arguments.seconds - 1), kind.how, kind.ears,
                                *paths], stdout=subprocess.PIPE, text=True)
    most, fds = 0, 0
    pid = service.processes[0].pid
    while good.poll() is None:
        most = max(most, service.resident_bytes())
        fds = max(fds, len(os.listdir(f"/proc/{pid}/fd")))
        time.sleep(0.2)
    figures = json.loads(good.communicate()[0]) if good.returncode == 0 else None
    told = json.loads(bad.communicate()[0]) if bad else {"open": 0, "opened": 0, "closed": 0, "refused": 0}
    if figures is None:
        raise SystemExit("the good client's connections did not last")
    elapsed = time.monotonic() - begin
    used = service.cpu_seconds() - cpu
    bounds, counts = stalls(watch)
    p999, longest = percentiles(bounds, [later - sooner for later, sooner in zip(counts, before[1])])
    watch.close()
    return {
        "open": told["open"], "opened": told["opened"], "closed": told["closed"], "rss_mib": most / (1 << 20), "fds": fds,
        "cpu": used / elapsed, "stall_p999_ms": p999 * 1e3, "stall_most_ms": longest * 1e3, "p50_ms": figures["p50_us"] / 1e3,
        "p99_ms": figures["p99_us"] / 1e3, "p999_ms": figures["p999_us"] / 1e3,
    }


def stalls(connection):
    """The bounds of the histogram's buckets in seconds, and how many events were in each."""
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    pairs = re.findall(r'^pantler_loop_stall_seconds_bucket\{le="([^"]+)"\} (\S+)', page, re.M)
    counts = [float(count) for _, count in pairs]
    return ([float(bound) for bound, _ in pairs],
            [later - sooner for later, sooner in zip(counts, [0.0, *counts])])


def percentiles(bounds, counts):
    """The bounds of the buckets that hold the 99.9th percentile, and the longest."""
    wanted, passed, found, longest = sum(counts) * 0.999, 0, None, 0
    for bound, count in zip(bounds, counts):
        passed += count
        if found is None and passed >= wanted:
            found = bound
        if count:
            longest = bound
    return found or 0, longest


if __name__ == "__main__":
    main()
