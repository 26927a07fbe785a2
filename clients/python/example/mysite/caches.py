"""The caches that the example runs with: `CACHE=locmem example/run`."""

import os
from pathlib import Path
from typing import Any


def chosen(name: str, folder: Path) -> dict[str, Any]:
    """The value of `CACHES["default"]`."""
    known: dict[str, dict[str, Any]] = {
        "pantler": {
            "BACKEND": "pantler.django.PantlerCache",
            "LOCATION": (
                os.environ.get("EXAMPLE_PANTLER_URL")
                or os.environ.get("PANTLER_URL", "http://127.0.0.1:8080/v1/namespaces/example")
            ),
            # A cache that is away costs time and no page.
            "OPTIONS": {"IGNORE_EXCEPTIONS": True},
        },
        "locmem": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 10_000}},
        "database": {
            "BACKEND": "django.core.cache.backends.db.DatabaseCache",
            "LOCATION": "example_cache",
            "OPTIONS": {"MAX_ENTRIES": 10_000},
        },
        "file": {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": os.environ.get("EXAMPLE_CACHE_FOLDER", str(folder / "cache")),
            "OPTIONS": {"MAX_ENTRIES": 10_000},
        },
        "memcached": {
            "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
            "LOCATION": os.environ.get("MEMCACHED", "127.0.0.1:11211"),
        },
        "redis": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"),
        },
        "django-redis": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"),
        },
        # Caching off.
        "dummy": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
    }
    if name not in known:
        raise SystemExit(f"CACHE is one of {', '.join(known)}, got {name!r}")
    return {"TIMEOUT": 300, "KEY_PREFIX": "example", **known[name]}
