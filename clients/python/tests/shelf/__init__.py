"""
A site for the tests of what stands on Django's models: books, and what belongs to them. `ready(url)` sets it up, once
in a process.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest


def ready(service: str) -> None:
    """Configures Django with this app, the real service and a database in a file, which threads share."""
    import django
    from django.conf import settings

    if settings.configured:
        if "shelf" not in settings.INSTALLED_APPS:
            pytest.fail(
                "another test of this process has configured Django without the app 'shelf': run this file by itself"
            )
        return
    folder = Path(tempfile.mkdtemp(prefix="pantler-shelf-"))
    settings.configure(**settings_of(service, folder))
    django.setup()
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)
    call_command("migrate", database="second", run_syncdb=True, verbosity=0)


def settings_of(service: str, folder: Path) -> dict[str, Any]:
    return {
        "SECRET_KEY": "of the tests alone",
        "ALLOWED_HOSTS": ["testserver"],
        "INSTALLED_APPS": ["django.contrib.contenttypes", "django.contrib.sessions", "pantler.django", "shelf"],
        "DATABASES": {
            alias: {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": folder / f"{alias}.sqlite3",
                "OPTIONS": {"init_command": "PRAGMA journal_mode=wal", "timeout": 20},
            }
            for alias in ("default", "second")
        },
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "USE_TZ": True,
        "CACHES": {
            "default": {
                "BACKEND": "pantler.django.PantlerCache",
                "LOCATION": f"{service}/v1/namespaces/shelf-{os.getpid()}",
            },
            "locmem": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
            "dummy": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
        },
    }
