#!/usr/bin/env python3
"""The latency of GET hits alone, and while 2,000 PUT/s make the service evict, purge and checkpoint: p99 of both.

    Tests/Benchmarks/steady.py                       # about 90 seconds
    Tests/Benchmarks/steady.py --writes 5000

The gets go to 10,000 entries of one namespace, which stay in memory. The puts go to another namespace that may hold 4 MiB of memory and
16 MiB of disk, with values of 2 KB and a TTL of 0.3 or 2 seconds by turns: some expire in memory and the others are evicted from it, all
expire on disk, and the write-ahead log (1 MiB) is copied into the file all the time. That all this went on is told by the counters
beside the figures. Where the machine has few cores the
process that writes takes its part of them, and the gets wait for it too. Needs: wrk.
"""

import http.client
import multiprocessing
import random
import time

from benchmark import Pantler, Report, by_turns, medians, pantler_request, parser, workplace, wrk

KEYS = 10_000
WRITTEN = "written"
COUNTERS = {
    "evictions": "pantler_evictions_total",
    "expirations": "pantler_expirations_total",
    "disk_expirations": "pantler_disk_expirations_total",
    "commits": "pantler_disk_commits_total",
}
CONFIGURATION = """
disk:
  wal_size: 1MiB
"""


def main():
    options = parser(__doc__, seconds=8)
    options.add_argument("--writes", type=int, default=2000, help="PUTs a second (default: %(default)s)")
    options.add_argument("--connections", type=int, default=8)
    arguments = options.parse_args()
    report = Report("GET hits, alone and beside writes", arguments)
    with workplace(arguments) as (folder, servers):
        pantler = Pantler(arguments.pantler, folder, configuration=CONFIGURATION)
        servers.append(pantler)
        pantler.fill(KEYS)
        pantler.set_policy(WRITTEN, max_memory=4 << 20, max_disk=16 << 20)

        def alone():
            return wrk(pantler, pantler_request("get"), seconds=arguments.seconds, connections=arguments.connections)

        taken = by_turns({"alone": alone, "beside writes": lambda: beside(pantler, arguments, alone)}, arguments.rounds)
        for name, rounds in taken.items():
            figures = medians(rounds)
            if name != "alone":
                figures["p99_ratio"] = figures["p99_us"] / medians(taken["alone"])["p99_us"]
            report.add(name, figures)
    report.write()


def beside(pantler, arguments, measure):
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    count = context.Value("q", 0)
    writer = context.Process(target=write, args=(pantler.port, arguments.writes, stop, count), daemon=True)
    before = {name: pantler.metric(metric) for name, metric in COUNTERS.items()}
    writer.start()
    begin = time.monotonic()
    while count.value == 0 and time.monotonic() - begin < 10:
        time.sleep(0.01)
    # What is put now begins to expire and to be evicted.
    time.sleep(2)
    begin, written = time.monotonic(), count.value
    figures = measure()
    figures["puts_per_second"] = (count.value - written) / (time.monotonic() - begin)
    stop.set()
    writer.join(30)
    for name, metric in COUNTERS.items():
        figures[name] = pantler.metric(metric) - before[name]
    return figures


def write(port, per_second, stop, count):
    """Puts at a steady pace over one connection, twenty at a time."""
    burst = 20
    text = "".join(random.Random(3).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=2000)).encode()
    bodies = [b'{"value":"%s","ttl":%s}' % (text, ttl) for ttl in (b"0.3", b"2.0")]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.connect()
    answers = connection.sock.makefile("rb")
    begin, number = time.monotonic(), 0
    while not stop.is_set():
        requests = b"".join(
            b"PUT /v1/namespaces/%s/entries/w%d HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (WRITTEN.encode(), number + index, len(bodies[index % 2]), bodies[index % 2])
            for index in range(burst))
        connection.sock.sendall(requests)
        for _ in range(burst):
            read_answer(answers)
        number += burst
        count.value = number
        time.sleep(max(0, begin + number / per_second - time.monotonic()))


def read_answer(answers):
    status = answers.readline()
    if b" 20" not in status:
        raise SystemExit(f"a PUT was answered {status!r}")
    length = 0
    while (line := answers.readline()) not in (b"\r\n", b""):
        name, _, text = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(text)
    answers.read(length)


if __name__ == "__main__":
    main()
