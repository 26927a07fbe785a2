#!/usr/bin/env python3
"""A start on a million entries: seconds from exec to the first answered hit.

    Tests/Benchmarks/starting.py                     # about half a minute, most of it to fill
    Tests/Benchmarks/starting.py --entries 100000

Fills a service, stops it, and starts it again as often as there are rounds; asks for an entry from the moment on that it is started, until
it is answered. The file is in the system's cache: a machine that has just booted is not measured. Needs nothing but Python.
"""

import http.client
import os
import subprocess
import time

from benchmark import Report, medians, parser, workplace
from servers import NAMESPACE, Pantler, key


def main():
    options = parser(__doc__)
    options.add_argument("--entries", type=int, default=1_000_000)
    arguments = options.parse_args()
    report = Report(f"Start on {arguments.entries:,} entries", arguments)
    with workplace(arguments) as (folder, servers):
        pantler = Pantler(arguments.pantler, folder)
        servers.append(pantler)
        pantler.fill(arguments.entries)
        pantler.stop()
        size = sum(os.path.getsize(os.path.join(path, name))
                   for path, _, names in os.walk(os.path.join(pantler.folder, "data")) for name in names)
        rounds = []
        for number in range(arguments.rounds):
            rounds.append({"seconds": start(pantler, number * 7919 % arguments.entries)})
            pantler.stop()
        report.add("exec to first hit", medians(rounds) | {"most": max(one["seconds"] for one in rounds),
                                                           "file_mib": size / (1 << 20)})
    report.write()


def start(pantler, number):
    begin = time.monotonic()
    with open(os.path.join(pantler.folder, "log"), "ab") as log:
        process = subprocess.Popen(pantler.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=pantler.folder)
    pantler.processes.append(process)
    while time.monotonic() - begin < 60 and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", pantler.port, timeout=30)
        try:
            connection.request("GET", f"/v1/namespaces/{NAMESPACE}/entries/{key(number)}")
            response = connection.getresponse()
            if response.status == 200:
                return time.monotonic() - begin
            raise SystemExit(f"the first get was answered {response.status}: {response.read()!r}")
        except OSError:
            time.sleep(0.001)
        finally:
            connection.close()
    raise SystemExit("the service does not start")


if __name__ == "__main__":
    main()
