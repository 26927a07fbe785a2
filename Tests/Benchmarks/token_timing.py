#!/usr/bin/env python3
"""Whether the time of a refusal tells anything of a token: ids that are there, that are not, and that were never possible.

    Tests/Benchmarks/token_timing.py                 # about two minutes
    Tests/Benchmarks/token_timing.py --requests 200000

One connection for each kind, all open from the beginning; a request of each by turns, in an order that is drawn anew each time, so that
whatever the machine does meets all kinds alike. What is compared: an id that is there with a wrong secret, one whose secret is wrong in its
last character alone, an id that is not there, and one that was revoked. For each pair the difference of the medians, and by how much it
varies where nothing differs: the answers are dealt out a thousand times to the pair's two sides anew (a permutation test). Two connections
of the same kind are compared as well, which shows what the method itself sees. Fails where a difference is both likelier than one in 1,000
not to be chance and larger than 100 ns: over a network nothing smaller can be told (Crosby, Wallach, Riedi, 2009: about 100 ns in a LAN).

The service answers refusals of one address more slowly after some a minute (limits.failed_tokens), which are a million here.
"""

import json
import random
import socket
import statistics
import time

from benchmark import Report, parser, workplace
from guarded import Guarded

LEAST_NANOSECONDS = 100
CHANCE = 0.001
DEALS = 1000


def main():
    options = parser(__doc__, rounds=1)
    options.add_argument("--requests", type=int, default=30_000, help="of each kind (default: %(default)s)")
    arguments = options.parse_args()
    report = Report("Time of a refusal, by what is wrong with the token", arguments)
    told = []
    with workplace(arguments, wrk=False) as (folder, servers):
        pantler = Guarded(arguments.pantler, folder, configuration="limits:\n  failed_tokens: 1000000\nlog:\n  audit: false\n")
        servers.append(pantler)
        kinds = credentials(pantler)
        times = measure(pantler.guarded.port, kinds, arguments.requests)
        for name, taken in times.items():
            report.add(name, {"p50_us": statistics.median(taken) / 1e3, "p10_us": quantile(taken, 0.1) / 1e3})
        first, *others = times
        for other in others:
            difference, chance = compare(times[first], times[other])
            report.add(f"{other} - {first}", {"difference_ns": difference, "chance": chance})
            if abs(difference) > LEAST_NANOSECONDS and chance < CHANCE:
                told.append(f"{other}: answered {difference:.0f} ns later than {first}, by chance in {chance:.2%} of cases")
    report.write()
    if told:
        raise SystemExit("\n".join(told))


def credentials(pantler):
    """What is sent, by the name of its kind."""
    _, known, secret = pantler.token.split("_", 2)
    draw = random.Random(11)
    wrong = "".join(draw.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", k=len(secret)))
    unknown = "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=8))
    revoked = revoked_token(pantler)
    return {
        "known id, wrong secret": f"pt_{known}_{wrong}",
        "the same again": f"pt_{known}_{wrong}",
        "known id, last character": f"pt_{known}_{secret[:-1]}{'A' if secret[-1] != 'A' else 'E'}",
        "unknown id": f"pt_{unknown}_{wrong}",
        "revoked id, its secret": revoked,
    }


def revoked_token(pantler):
    """A token that was made and revoked."""
    made = json.loads(pantler.call("POST", "/v1/tokens", {"role": "read"}))
    pantler.call("DELETE", f"/v1/tokens/{made['id']}")
    return made["token"]


def measure(port, kinds, count):
    """Nanoseconds of each request, by kind."""
    connections, requests = {}, {}
    for name, credential in kinds.items():
        connections[name] = socket.create_connection(("127.0.0.1", port))
        connections[name].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        requests[name] = (f"GET /v1/namespaces/bench/values/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {credential}\r\n"
                          "\r\n").encode()
    names = list(kinds)
    times = {name: [] for name in names}
    draw = random.Random(5)
    lengths = set()
    for turn in range(count + 500):
        draw.shuffle(names)
        for name in names:
            connection, request = connections[name], requests[name]
            begin = time.perf_counter_ns()
            connection.sendall(request)
            answer = connection.recv(65536)
            took = time.perf_counter_ns() - begin
            if not answer.startswith(b"HTTP/1.1 401 "):
                raise SystemExit(f"{name} was answered {answer[:600]!r}")
            lengths.add(len(answer))
            # The first are of cold caches.
            if turn >= 500:
                times[name].append(took)
    if len(lengths) > 1:
        raise SystemExit(f"the answers' lengths tell the kinds apart: {lengths}")
    return times


def quantile(taken, share):
    return sorted(taken)[int(len(taken) * share)]


def compare(one, other):
    """The difference of the medians, and how often chance makes one as large. Medians of blocks, which are few enough to be dealt out anew."""
    size = max(1, len(one) // 200)
    blocks = [(statistics.median(one[at:at + size]), statistics.median(other[at:at + size]))
              for at in range(0, len(one) - size + 1, size)]
    difference = statistics.median(other) - statistics.median(one)
    found = abs(sum(right - left for left, right in blocks))
    draw = random.Random(3)
    larger = sum(abs(sum((right - left) * draw.choice((1, -1)) for left, right in blocks)) >= found for _ in range(DEALS))
    return difference, (larger + 1) / (DEALS + 1)


if __name__ == "__main__":
    main()
