#!/usr/bin/env python3
"""2,000 callers of one key at once, whose load takes 500 ms: loads, and how long the callers wait once it is over.

    Tests/Benchmarks/stampede.py                     # about three minutes
    Tests/Benchmarks/stampede.py --django /tmp/django/bin/python
    Tests/Benchmarks/stampede.py --only pantler nginx

Two scenarios. Missing: nobody has the value. `p50_ms` and `p99_ms` count from the moment at which the source gave its first answer to the moment
at which a caller had the value; `fill_p99_ms` from the answer that the caller got who filled. Expired: the TTL has passed, the stale TTL
has not: nobody needs to wait, and the percentiles are of the answers' times. All 2,000 ask within some 10 ms then, so that most of it
is the queue.

The subjects, where they are installed: Pantler with leases (the callers wait, one of them loads and puts); nginx with proxy_cache, its lock, and
what it does in the background; Varnish with its waiting list and grace; django-redis with `cache.lock`, around a get that is repeated,
whose 2,000 callers are threads of four processes; and Pantler without leases, where everybody loads. The source is the same one for
all, a process on loopback. nginx and Varnish call it themselves; there the callers are all alike.

nginx looks after a lock every 500 ms. redis-py's lock is a loop that asks every 100 ms, and one caller after the other holds it: that loop
and its threads take all of the machine, which is what such a lock costs.

The callers of all but django-redis are one process, whose own part is left out: an answer's moment is the one at which the kernel had it.
`unread_p99_ms` is how much longer it then lay until it was read, and `client_cpu_ms` what the process used in all.

Fails unless exactly one caller with Pantler's leases loads, in every round. Needs: nginx-light, varnish, gcc (for Varnish's configuration), redis-server, and for
--django a Python that has django-redis: python3 -m venv /tmp/django && /tmp/django/bin/pip install django-redis hiredis
"""

import http.client
import itertools
import json
import os
import subprocess
import sys
import time

from benchmark import Report, by_turns, medians, parser, workplace
from callers import Leases, Loop, Plain, percentile, request
from servers import NAMESPACE, SCRIPTS, Pantler, Redis, Server, free_port, have, value

MISSING, EXPIRED = "missing", "expired"
LEASES, PLAIN = "pantler, leases", "pantler, get and put"
SUBJECTS = ("pantler", "nginx", "varnish", "django-redis", "plain")
# Past this an entry of one second has expired for caches, too, that count in whole seconds.
TTL, EXPIRED_AFTER = 1, 2.2


def main():
    options = parser(__doc__, rounds=3)
    options.add_argument("--callers", type=int, default=2000)
    options.add_argument("--load-ms", type=float, default=500, help="that a load takes (default: %(default)s)")
    options.add_argument("--django", default=sys.executable, metavar="PYTHON", help="a Python that has django-redis")
    options.add_argument("--processes", type=int, default=4, help="of django-redis's callers (default: %(default)s)")
    options.add_argument("--only", nargs="+", choices=SUBJECTS, default=SUBJECTS)
    arguments = options.parse_args()
    report = Report(f"{arguments.callers:,} callers of one key", arguments)
    wrong = []
    with workplace(arguments, wrk=False, pantler=bool({"pantler", "plain"} & set(arguments.only))) as (folder, servers):
        source = Source(folder, arguments.load_ms / 1000)
        servers.append(source)
        found = subjects(arguments, folder, servers, source)
        for scenario in (MISSING, EXPIRED):
            taken = by_turns({name: measure for (name, when), measure in found.items() if when == scenario}, arguments.rounds)
            for name, rounds in taken.items():
                figures = medians(rounds) | {"loads": max((one["loads"] for one in rounds), key=lambda loads: abs(loads - 1))}
                report.add(f"{scenario}: {name}", figures)
                if name == LEASES and figures["loads"] != 1:
                    wrong.append(f"{scenario}: {figures['loads']} callers of Pantler's loaded, where there is one lease a key")
    report.write()
    if wrong:
        raise SystemExit("\n".join(wrong))


def subjects(arguments, folder, servers, source):
    """What measures a round, by the subject's name and the scenario."""
    found = {}
    if {"pantler", "plain"} & set(arguments.only):
        pantler = Pantler(arguments.pantler, folder)
        servers.append(pantler)
    if "pantler" in arguments.only:
        found[LEASES, MISSING] = lambda: missing(arguments, pantler, source, Leases)
        found[LEASES, EXPIRED] = lambda: expired(arguments, pantler, source)
    proxies = []
    if "nginx" in arguments.only and have("nginx"):
        proxies.append(CachingNginx(folder, source))
    if "varnish" in arguments.only and have("varnishd", "cc"):
        proxies.append(Varnish(folder, source))
    for proxy in proxies:
        servers.append(proxy)
        found[proxy.name, MISSING] = lambda proxy=proxy: missing_at_proxy(arguments, proxy, source)
        found[proxy.name, EXPIRED] = lambda proxy=proxy: expired_at_proxy(arguments, proxy, source)
    if "django-redis" in arguments.only and have("redis-server") and has_django_redis(arguments.django):
        redis = Redis(folder)
        servers.append(redis)
        found["django-redis, lock", MISSING] = lambda: missing_at_lock(arguments, redis, source)
    if "plain" in arguments.only:
        found[PLAIN, MISSING] = lambda: missing(arguments, pantler, source, Plain)
    return found


def has_django_redis(python):
    there = subprocess.run([python, "-c", "import django_redis"], capture_output=True, check=False).returncode == 0
    if not there:
        print(f"left out: {python} has no django-redis", file=sys.stderr)
    return there


# A round


def fresh_key(numbers=itertools.count()):
    return f"stampede-{next(numbers)}"


class Crowd:
    """A loop with all callers' connections, and what is told of a round."""

    def __init__(self, arguments, port):
        self.loop = Loop()
        self.callers = [self.loop.connect(port) for _ in range(arguments.callers)]
        self.asked = [0.0] * arguments.callers
        # By caller: when it had its answer. When fills were answered. How long answers lay until they were read.
        self.had, self.filled, self.unread = {}, [], []

    def __enter__(self):
        self.cpu = time.process_time()
        return self

    def __exit__(self, *_):
        self.loop.__exit__()

    def ask(self, fetch):
        """Has all callers ask at once, and returns when all have an answer."""
        for number, connection in enumerate(self.callers):
            self.asked[number] = time.time()
            fetch(connection, lambda outcome, at, number=number: self.have(outcome, at, number))
        self.loop.run(lambda: len(self.had) == len(self.callers))

    def have(self, outcome, at, number):
        self.had[number] = at
        self.unread.append(time.time() - at)
        if outcome == "filled":
            self.filled.append(at)

    def figures(self, loads, since=None):
        """Times since one moment, or else each caller's since it asked."""
        times = [at - (since or self.asked[number]) for number, at in self.had.items()]
        told = {"loads": loads, "p50_ms": percentile(times, 0.5) * 1e3, "p99_ms": percentile(times, 0.99) * 1e3,
                "most_ms": max(times) * 1e3}
        if len(self.filled) == 1:
            told["fill_p99_ms"] = told["p99_ms"] - (self.filled[0] - since) * 1e3
        return told | {"unread_p99_ms": percentile(self.unread, 0.99) * 1e3,
                       "client_cpu_ms": (time.process_time() - self.cpu) * 1e3}


def missing(arguments, pantler, source, way):
    key = fresh_key()
    calls = source.tell()["calls"]
    with Crowd(arguments, pantler.port) as crowd:
        application = way(crowd.loop, pantler.port, source.loader(crowd.loop), {"ttl": 60})
        crowd.ask(lambda connection, done: application.fetch(connection, key, done))
        told = source.tell()
        return crowd.figures(told["calls"] - calls, told["first_answered_at"])


def expired(arguments, pantler, source):
    key = fresh_key()
    pantler.call("PUT", f"/v1/namespaces/{NAMESPACE}/entries/{key}", {"value": value(1), "ttl": TTL, "stale_ttl": 60})
    time.sleep(EXPIRED_AFTER)
    calls = source.tell()["calls"]
    with Crowd(arguments, pantler.port) as crowd:
        application = Leases(crowd.loop, pantler.port, source.loader(crowd.loop), {"ttl": 60})
        crowd.ask(lambda connection, done: application.fetch(connection, key, done))
        figures = crowd.figures(0)
        crowd.loop.run(lambda: application.running == 0)
        return figures | {"loads": source.tell()["calls"] - calls}


def missing_at_proxy(arguments, proxy, source):
    calls = source.tell()["calls"]
    with Crowd(arguments, proxy.port) as crowd:
        crowd.ask(plain_get(f"/{fresh_key()}?ttl=60"))
        told = source.tell()
        return crowd.figures(told["calls"] - calls, told["first_answered_at"])


def expired_at_proxy(arguments, proxy, source):
    path = f"/{fresh_key()}?ttl={TTL}"
    proxy.get(path)
    time.sleep(EXPIRED_AFTER)
    calls = source.tell()["calls"]
    with Crowd(arguments, proxy.port) as crowd:
        crowd.ask(plain_get(path))
        figures = crowd.figures(0)
        return figures | {"loads": source.settled()["calls"] - calls}


def plain_get(path):
    text = request("GET", path)

    def fetch(connection, done):
        def got(answer):
            if answer.status != 200:
                raise SystemExit(f"a proxy answered {answer.status}: {answer.body[:500]!r}")
            done("hit", answer.at)

        connection.ask(text, got)

    return fetch


def missing_at_lock(arguments, redis, source):
    calls = source.tell()["calls"]
    command = [arguments.django, os.path.join(SCRIPTS, "lock_callers.py"), str(redis.redis_port), str(source.port),
               str(arguments.callers), str(arguments.processes), fresh_key()]
    told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=600).stdout)
    source_told = source.tell()
    times = [at - source_told["first_answered_at"] for at in told["had"]]
    return {"loads": source_told["calls"] - calls, "p50_ms": percentile(times, 0.5) * 1e3,
            "p99_ms": percentile(times, 0.99) * 1e3, "most_ms": max(times) * 1e3,
            "client_cpu_ms": told["cpu_seconds"] * 1e3}


# Servers


class Source(Server):
    def __init__(self, folder, seconds):
        super().__init__("source", folder)
        self.port = free_port()
        self.spawn([sys.executable, os.path.join(SCRIPTS, "source.py"), str(self.port), str(seconds)], self.port)

    def tell(self):
        return json.loads(get(self.port, "/calls"))

    def settled(self):
        """What it tells once no call runs any more."""
        # A call in the background may begin a moment after the answers.
        time.sleep(0.1)
        while (told := self.tell())["running"]:
            time.sleep(0.02)
        return told

    def loader(self, loop):
        """Loads over connections of their own, as an application's do."""
        def load(key, then):
            loop.connect(self.port).ask(request("GET", f"/{key}"), lambda answer: then(answer.body.decode()))

        return load


class CachingNginx(Server):
    def __init__(self, folder, source):
        super().__init__("nginx", folder)
        self.port = free_port()
        path = os.path.join(self.folder, "nginx.conf")
        # Workers of another user could not write into the folder.
        user = "user root;" if os.geteuid() == 0 else ""
        with open(path, "w") as file:
            file.write(f"""
                {user} daemon off; worker_processes auto; pid {self.folder}/pid; error_log {self.folder}/errors;
                events {{ worker_connections 8192; }}
                http {{
                    access_log off; keepalive_requests 1000000000;
                    client_body_temp_path {self.folder}/body; proxy_temp_path {self.folder}/proxied;
                    proxy_cache_path {self.folder}/cache keys_zone=cache:10m use_temp_path=off;
                    server {{
                        listen 127.0.0.1:{self.port} backlog=4096;
                        location / {{
                            proxy_pass http://127.0.0.1:{source.port}; proxy_cache cache;
                            proxy_cache_lock on; proxy_cache_lock_timeout 60s; proxy_cache_lock_age 60s;
                            proxy_cache_use_stale updating; proxy_cache_background_update on;
                        }}
                    }}
                }}
            """)
        self.spawn(["nginx", "-p", self.folder, "-c", path], self.port)

    def get(self, path):
        return get(self.port, path)


class Varnish(Server):
    def __init__(self, folder, source):
        super().__init__("varnish", folder)
        self.port = free_port()
        path = os.path.join(self.folder, "cache.vcl")
        with open(path, "w") as file:
            file.write(f"""
                vcl 4.1;
                backend default {{ .host = "127.0.0.1"; .port = "{source.port}"; }}
                sub vcl_backend_response {{ set beresp.grace = 60s; }}
            """)
        self.spawn(["varnishd", "-F", "-j", "none", "-a", f"127.0.0.1:{self.port}", "-T", "none", "-f", path,
                    "-n", os.path.join(self.folder, "work"), "-s", "malloc,64m", "-p", "listen_depth=4096"], self.port)

    def get(self, path):
        return get(self.port, path)


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        # The callers' Host: Varnish keeps an object for each.
        connection.request("GET", path, headers={"Host": "127.0.0.1"})
        response = connection.getresponse()
        text = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise SystemExit(f"{path} was answered {response.status}: {text[:500]!r}")
    return text


if __name__ == "__main__":
    main()
