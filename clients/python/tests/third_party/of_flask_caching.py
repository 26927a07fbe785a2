"""Stands beside Flask-Caching's own tests: the cache of their applications is ours, and so is what time does to it."""

import itertools
import os
import sys
import time

import cachelib
import flask_caching

_numbers = itertools.count()
_init_app = flask_caching.Cache.init_app
_caches = []


def init_app(self, app, config=None):
    url = f"{os.environ['PANTLER_URL']}/v1/namespaces/flask-caching-{os.getpid()}-{next(_numbers)}"
    ours = {"CACHE_TYPE": "pantler.cachelib.PantlerCache", "CACHE_ARGS": [url]}
    if (self.config or config or app.config).get("CACHE_TYPE", "SimpleCache") == "SimpleCache":
        app.config.update(ours)
        if config:
            config = {**config, **ours}
        if self.config:
            self.config = {**self.config, **ours}
        _caches.append((self, app))
    return _init_app(self, app, config)


flask_caching.Cache.init_app = init_app


def advance(self, seconds):
    """Their clock is cachelib's in this process. Ours is the service's, so the entries grow older instead."""
    for cache, app in _caches:
        client = app.extensions["cache"][cache].client
        for key in list(client.iter_keys()):
            left = client.ttl(key)
            if left is not None and left <= seconds:
                client.delete(key)
            elif left is not None:
                client.touch(key, left - seconds)


def pytest_collection_modifyitems(items):
    if not hasattr(cachelib.BaseCache(), "ignore_delete_many_errors"):
        # Before cachelib 0.16 some backends stopped at the first key that was not there, which those of Redis never did.
        items[:] = [item for item in items if item.name != "test_cache_delete_many"]
    clock = getattr(sys.modules["conftest"], "_Clock", None)
    if clock is not None:
        clock.advance = advance
    else:  # Flask-Caching before 2.5, whose tests sleep
        time.sleep = lambda seconds: advance(None, seconds)


def pytest_runtest_teardown():
    _caches.clear()
