#!/usr/bin/env python3
"""PUT with durability `through` over 64 connections, against one synced transaction a write on the same disk: writes a second.

    Tests/Benchmarks/through.py                      # about 40 seconds
    Tests/Benchmarks/through.py --folder /var/tmp    # the disk that is to be measured

The comparison is SQLite by way of Python's sqlite3: a WAL, synchronous=FULL, one row of the same key and value in one transaction after the
other. Both keep their files in --folder, which should be a real disk and not memory: there a sync costs nothing. Needs: wrk.
"""

import os
import sqlite3
import time

from benchmark import (Pantler, Report, by_turns, compact, key, medians, pantler_request, parser, ratio, value, workplace,
                       wrk)

KEYS = 10_000


def main():
    options = parser(__doc__)
    options.add_argument("--connections", type=int, default=64)
    arguments = options.parse_args()
    report = Report("PUT, on disk when answered", arguments)
    with workplace(arguments) as (folder, servers):
        pantler = Pantler(arguments.pantler, folder)
        servers.append(pantler)
        pantler.set_policy(durability="through")
        pantler.fill(KEYS)
        database = open_database(os.path.join(folder, "one.sqlite"))
        taken = by_turns({
            "pantler, through": lambda: wrk(
                pantler, pantler_request("set"), seconds=arguments.seconds, connections=arguments.connections, keys=KEYS),
            "one transaction a write": lambda: write_one_by_one(database, arguments.seconds),
        }, arguments.rounds)
        database.close()
        for name, rounds in taken.items():
            figures = medians(rounds)
            if name.startswith("one"):
                figures["pantler_is"] = ratio(taken["pantler, through"], rounds, "per_second")
            report.add(name, figures)
    report.write()


def open_database(path):
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")
    return database


def write_one_by_one(database, seconds):
    text = compact(value(1)).encode()
    begin = time.monotonic()
    count = 0
    while time.monotonic() - begin < seconds:
        # In autocommit each statement is a transaction, which is over once it is synced.
        database.execute("INSERT OR REPLACE INTO entries VALUES (?, ?)", (key(count * 7919 % KEYS), text))
        count += 1
    return {"per_second": count / (time.monotonic() - begin)}


if __name__ == "__main__":
    main()
