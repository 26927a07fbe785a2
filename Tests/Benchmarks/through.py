#!/usr/bin/env python3
"""PUT with durability `through` over 64 connections, against one synced transaction a write on the same disk: writes a second.

    Tests/Benchmarks/through.py                      # about a minute
    Tests/Benchmarks/through.py --pipeline 64        # more of them at once
    Tests/Benchmarks/through.py --folder /var/tmp    # the disk that is to be measured
    Tests/Benchmarks/through.py --sync-ms 2 4        # also as if its syncs took 2 and 4 ms

The comparison is SQLite by way of Python's sqlite3: a WAL, synchronous=FULL, one row of the same key and value in one transaction after the
other. Both keep their files in --folder, which should be a real disk and not memory: there a sync costs nothing.

Each connection sends one PUT at a time, and then 16 before it awaits their answers (--pipeline). Each of those is answered, too, only
once it is synced: a commit gathers more of them. `pantler_is` is of the former, `pipelined_is` of the latter.

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
    options.add_argument("--pipeline", type=int, default=16, help="requests at once (default: %(default)s)")
    options.add_argument("--sync-ms", type=float, nargs="+", default=[], metavar="MS", help="times of a sync to emulate")
    arguments = options.parse_args()
    report = Report("PUT, on disk when answered", arguments)
    with workplace(arguments) as (folder, servers):
        disks = {"": {}}
        if arguments.sync_ms:
            library = compiled("slowsync.c", folder, "-shared", "-fPIC")
            disks |= {f", a sync of {sync:g} ms": {"LD_PRELOAD": library, "SLOW_SYNC_MS": str(sync)}
                      for sync in arguments.sync_ms}
        ours, pipelined, theirs = (
            "pantler, through", f"pantler, through, {arguments.pipeline} pipelined", "one transaction a write")
        subjects = {}
        for disk, environment in disks.items():
            pantler = server(arguments, folder, servers, environment)
            subjects[ours + disk] = puts(arguments, pantler, 1)
            subjects[pipelined + disk] = puts(arguments, pantler, arguments.pipeline)
            subjects[theirs + disk] = transactions(arguments, folder, environment)
        taken = by_turns(subjects, arguments.rounds)
        for disk in disks:
            rounds = taken[theirs + disk]
            report.add(ours + disk, medians(taken[ours + disk]))
            report.add(pipelined + disk, medians(taken[pipelined + disk]))
            report.add(theirs + disk, medians(rounds) | {
                "pantler_is": ratio(taken[ours + disk], rounds, "per_second"),
                "pipelined_is": ratio(taken[pipelined + disk], rounds, "per_second")})
    report.write()


def server(arguments, folder, servers, environment):
    pantler = Pantler(arguments.pantler, folder, name=f"pantler-{len(servers)}", environment=environment)
    servers.append(pantler)
    pantler.set_policy(durability="through")
    pantler.fill(KEYS)
    return pantler


def puts(arguments, pantler, pipeline):
    def measure():
        commits = pantler.metric("pantler_disk_commits_total")
        figures = wrk(
            pantler, pantler_request("set"), seconds=arguments.seconds, connections=arguments.connections, keys=KEYS,
            pipeline=pipeline)
        if pipeline > 1:
            # wrk does not time each of them.
            del figures["p50_us"], figures["p99_us"]
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
