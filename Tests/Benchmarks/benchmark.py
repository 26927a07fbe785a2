"""What the scripts of this folder share besides servers and load: measuring by turns, medians, and the output.

Not run by itself. A script is a list of things that are measured by turns; each measurement is a dictionary of figures, and what is
told in the end is the median of each figure. Needs Python 3.9 and Linux; what else a script needs (wrk, nginx, redis, webdis, all
packages of Debian) it says itself, and leaves out what is not there.
"""

import argparse
import contextlib
import json
import os
import re
import resource
import shutil
import signal
import statistics
import sys
import tempfile

from servers import have


# Measuring by turns


def by_turns(subjects, rounds):
    """Calls each of the functions once a round, so that a slow moment of the machine meets all of them alike.

    Returns for each name the list of its figures, round by round.
    """
    taken = {name: [] for name in subjects}
    for _ in range(rounds):
        for name, measure in subjects.items():
            taken[name].append(measure())
    return taken


def medians(rounds):
    return {figure: statistics.median(one[figure] for one in rounds) for figure in rounds[0]}


def ratio(ours, theirs, figure="cpu_us"):
    """The median of the ratios within each round: what the machine did meanwhile cancels out."""
    pairs = [(one[figure], other[figure]) for one, other in zip(ours, theirs) if other[figure] > 0]
    return statistics.median(one / other for one, other in pairs) if pairs else None


class Report:
    """Figures by name: lines for people, and a file for programs."""

    def __init__(self, title, arguments):
        self.path = arguments.json
        self.tree = {
            "title": title, "machine": machine(),
            "arguments": {name: value for name, value in vars(arguments).items() if name not in ("json", "pantler")},
            "figures": {},
        }
        print(title)

    def add(self, name, figures):
        self.tree["figures"][name] = figures
        cells = [f"{figure} {number:,.3g}" if abs(number) < 100 else f"{figure} {number:,.0f}"
                 for figure, number in figures.items() if number is not None]
        print(f"  {name:36s} {'   '.join(cells)}", flush=True)

    def write(self):
        if self.path:
            with open(self.path, "w") as file:
                json.dump(self.tree, file, indent=2)
                file.write("\n")


def machine():
    with open("/proc/cpuinfo") as cpuinfo:
        model = re.search(r"model name\s*:\s*(.+)", cpuinfo.read())
    system = os.uname()
    return {"cpu": model[1] if model else system.machine, "cores": os.cpu_count(), "kernel": system.release,
            "load_before": os.getloadavg()[0]}


# The command line


def parser(docstring, rounds=5, seconds=3):
    made = argparse.ArgumentParser(description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--pantler", default=".build/release/pantler", help="the executable (default: %(default)s)")
    made.add_argument("--rounds", type=int, default=rounds, help="of which the median is told (default: %(default)s)")
    made.add_argument("--seconds", type=int, default=seconds, help="of load in each round (default: %(default)s)")
    made.add_argument("--folder", help="where servers keep their data; decides which disk is measured (default: the "
                                       "system's folder for temporary files)")
    made.add_argument("--json", help="also write all figures to this file")
    return made


@contextlib.contextmanager
def workplace(arguments, wrk=True, pantler=True):
    """A folder and a list of servers, which end with the block whatever happens in it. The others say what a script needs."""
    if pantler and not os.access(arguments.pantler, os.X_OK):
        raise SystemExit(f"{arguments.pantler} is no executable: build it with `swift build -c release`, or name it by "
                         "--pantler.")
    if wrk and not have("wrk"):
        raise SystemExit("wrk makes the load: apt-get install wrk")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else soft, hard))
    # So that what follows is undone for `timeout` as well as for Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = tempfile.mkdtemp(prefix="pantler-benchmark-", dir=arguments.folder)
    servers = []
    try:
        yield folder, servers
    finally:
        for server in reversed(servers):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
