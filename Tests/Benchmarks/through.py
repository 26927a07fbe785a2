#!/usr/bin/env python3
"""PUT with durability `through` over 64 connections, against one synced transaction a write on the same disk: writes a second.

    Tests/Benchmarks/through.py                      # about 40 seconds
    Tests/Benchmarks/through.py --folder /var/tmp    # the disk that is to be measured
    Tests/Benchmarks/through.py --sync-ms 2 4        # also as if its syncs took 2 and 4 ms

The comparison is SQLite by way of Python's sqlite3: a WAL, synchronous=FULL, one row of the same key and value in one transaction after the
other. Both keep their files in --folder, which should be a real disk and not memory: there a sync costs nothing.

Where a sync takes a tenth of a millisecond, as with a cache that outlives a power cut, both are bound by the processor. --sync-ms
shows other disks (a cloud's network disk: 1 to 4 ms, a hard disk: 8 and more): both run with slowsync.c before the C library, whose
fsync and fdatasync sync, and then sleep until that time is over. Needs: wrk; cc for --sync-ms.
"""

import os
import sqlite3
import subprocess
import sys
import time

from benchmark import Report, by_turns, medians, parser, ratio, workplace
from load import pantler_request, wrk
from servers import SCRIPTS, Pantler, compact, compiled, key, value

KEYS = 10_000


def main():
    options = parser(__doc__)
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--sync-ms", type=float, nargs="+", default=[], metavar="MS", help="times of a sync to emulate")
    arguments = options.parse_args()
    report = Report("PUT, on disk when answered", arguments)
    with workplace(arguments) as (folder, servers):
        disks = {"": {}}
        if arguments.sync_ms:
            library = compiled("slowsync.c", folder, "-shared", "-fPIC")
            disks |= {f", a sync of {sync:g} ms": {"LD_PRELOAD": library, "SLOW_SYNC_MS": str(sync)}
                      for sync in arguments.sync_ms}
        subjects = {}
        for disk, environment in disks.items():
            subjects["pantler, through" + disk] = puts(arguments, folder, servers, environment)
            subjects["one transaction a write" + disk] = transactions(arguments, folder, environment)
        taken = by_turns(subjects, arguments.rounds)
        for disk in disks:
            ours, theirs = taken["pantler, through" + disk], taken["one transaction a write" + disk]
            report.add("pantler, through" + disk, medians(ours))
            report.add("one transaction a write" + disk, medians(theirs) | {"pantler_is": ratio(ours, theirs, "per_second")})
    report.write()


def puts(arguments, folder, servers, environment):
    pantler = Pantler(arguments.pantler, folder, name=f"pantler-{len(servers)}", environment=environment)
    servers.append(pantler)
    pantler.set_policy(durability="through")
    pantler.fill(KEYS)

    def measure():
        commits = pantler.metric("pantler_disk_commits_total")
        figures = wrk(
            pantler, pantler_request("set"), seconds=arguments.seconds, connections=arguments.connections, keys=KEYS)
        commits = pantler.metric("pantler_disk_commits_total") - commits
        return figures | {"puts_a_commit": figures["per_second"] * arguments.seconds / commits}

    return measure


def transactions(arguments, folder, environment):
    """In a process of its own, so that it can have another C library's sync."""
    path = os.path.join(folder, f"one-{environment.get('SLOW_SYNC_MS', 'plain')}.sqlite")
    program = f"import through; print(through.transactions_per_second({path!r}, {arguments.seconds}))"

    def measure():
        output = subprocess.run([sys.executable, "-c", program], cwd=SCRIPTS, env={**os.environ, **environment},
                                capture_output=True, text=True, check=True).stdout
        return {"per_second": float(output)}

    return measure


def transactions_per_second(path, seconds):
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")
    text = compact(value(1)).encode()
    begin = time.monotonic()
    count = 0
    while time.monotonic() - begin < seconds:
        # In autocommit each statement is a transaction, which is over once it is synced.
        database.execute("INSERT OR REPLACE INTO entries VALUES (?, ?)", (key(count * 7919 % KEYS), text))
        count += 1
    return count / (time.monotonic() - begin)


if __name__ == "__main__":
    main()
