#!/usr/bin/env python3
"""Resident bytes that an entry in memory costs, beside Redis and memcached.

    Tests/Benchmarks/memory.py                       # about a minute, 1 GB of memory
    Tests/Benchmarks/memory.py --entries 100000

Each server is started empty, filled with entries of some 220 bytes, and asked by way of /proc how much more of it is resident then, the
allocator's waste and all tables included. In Pantler the entries have durability `memory`, so that the page caches of the disk tier do not
count; --durable leaves them in. Peers, where installed: redis-server, memcached.
"""

import socket
import time

from benchmark import Report, parser, workplace
from servers import Pantler, Redis, Server, compact, free_port, have, key, value


def main():
    options = parser(__doc__)
    options.add_argument("--entries", type=int, default=1_000_000)
    options.add_argument("--durable", action="store_true", help="entries are on disk as well")
    arguments = options.parse_args()
    report = Report(f"Resident memory of {arguments.entries:,} entries", arguments)
    sample = range(0, 1000)
    payload = sum(len(key(number)) + len(compact(value(number))) for number in sample) / len(sample)
    report.add("key and compact JSON", {"bytes": payload})
    with workplace(arguments) as (folder, servers):
        for name, start in subjects(arguments, folder).items():
            server = start()
            servers.append(server)
            before = server.resident_bytes()
            server.fill(arguments.entries)
            time.sleep(2)
            report.add(name, {"bytes": (server.resident_bytes() - before) / arguments.entries,
                              "empty_mib": before / (1 << 20)})
            server.stop()
            servers.remove(server)
    report.write()


def subjects(arguments, folder):
    found = {"pantler": lambda: start_pantler(arguments, folder)}
    if have("redis-server"):
        found["redis"] = lambda: Redis(folder)
    if have("memcached"):
        found["memcached"] = lambda: Memcached(folder, arguments.entries)
    return found


def start_pantler(arguments, folder):
    pantler = Pantler(arguments.pantler, folder, "--max-memory", f"{max(256, arguments.entries * 512 >> 20)}MiB")
    pantler.set_policy(durability="behind" if arguments.durable else "memory")
    return pantler


class Memcached(Server):
    def __init__(self, folder, entries):
        super().__init__("memcached", folder)
        self.port = free_port()
        megabytes = max(64, entries * 1024 >> 20)
        self.spawn(["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(self.port), "-m", str(megabytes)], self.port)

    def fill(self, count):
        values = [compact(value(number)).encode() for number in range(1000)]
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            answers = connection.makefile("rb")
            for start in range(0, count, 500):
                numbers = range(start, min(count, start + 500))
                connection.sendall(b"".join(
                    b"set %s 0 0 %d\r\n%s\r\n" % (key(n).encode(), len(values[n % 1000]), values[n % 1000])
                    for n in numbers))
                for _ in numbers:
                    if answers.readline() != b"STORED\r\n":
                        raise SystemExit("memcached does not take its entries")


if __name__ == "__main__":
    main()
