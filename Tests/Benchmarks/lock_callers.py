"""Callers of django-redis with its lock, as threads of several processes, for stampede.py. Not run by itself.

    lock_callers.py REDIS_PORT SOURCE_PORT CALLERS PROCESSES KEY

Each gets; on a miss it takes `cache.lock`, gets again, and if there is still nothing, loads and sets. Prints when each of them had the value
(CLOCK_REALTIME), and the seconds of CPU that they used, as JSON. Needs a Python that has django-redis.
"""

import http.client
import json
import multiprocessing
import os
import sys
import threading
import time

import django
from django.conf import settings


def main():
    redis_port, source_port, callers, processes = map(int, sys.argv[1:5])
    each = callers // processes
    start, results = multiprocessing.Barrier(processes), multiprocessing.Queue()
    arguments = (redis_port, source_port, each, sys.argv[5], start, results)
    workers = [multiprocessing.Process(target=work, args=arguments) for _ in range(processes)]
    for worker in workers:
        worker.start()
    told = [results.get(timeout=600) for _ in workers]
    for worker in workers:
        worker.join()
    print(json.dumps({"had": [moment for had, _ in told for moment in had], "cpu_seconds": sum(cpu for _, cpu in told)}))


def work(redis_port, source_port, callers, key, start, results):
    settings.configure(CACHES={"default": {
        "BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"redis://127.0.0.1:{redis_port}/0",
        "OPTIONS": {"CONNECTION_POOL_KWARGS": {"max_connections": callers + 1}},
    }})
    django.setup()
    from django.core.cache import cache

    ready, had = threading.Barrier(callers + 1), []
    begin = threading.Event()

    def call():
        cache.get("a connection for each")
        ready.wait()
        begin.wait()
        value = cache.get(key)
        if value is None:
            with cache.lock(f"lock of {key}", timeout=300):
                value = cache.get(key)
                if value is None:
                    value = load(source_port, key)
                    cache.set(key, value, 300)
        had.append(time.time())

    threading.stack_size(256 << 10)
    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    ready.wait()
    start.wait()
    before = sum(os.times()[:2])
    begin.set()
    for thread in threads:
        thread.join()
    results.put((had, sum(os.times()[:2]) - before))


def load(port, key):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", f"/{key}")
    value = json.loads(connection.getresponse().read())
    connection.close()
    return value


if __name__ == "__main__":
    main()
