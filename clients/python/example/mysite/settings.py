"""Settings of the example site. What is about caching stands in `caches.py`."""

import os
from pathlib import Path

from .caches import chosen

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = os.environ.get("DEBUG") == "1"
# An example has nothing to keep: it has neither users nor sessions, and therefore no cookies that a forged request
# could use.
SECRET_KEY = os.environ.get("SECRET_KEY", "of the example site alone")
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", "testserver"]

INSTALLED_APPS = [
    # Invalidates on changes, and adds its checks to `manage.py check`.
    "pantler.django",
    "mysite",
    "shop",
    "blog",
    "board",
]
MIDDLEWARE = [
    "mysite.meter.MeterMiddleware",
    "django.middleware.common.CommonMiddleware",
]
ROOT_URLCONF = "mysite.urls"
WSGI_APPLICATION = "mysite.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("EXAMPLE_DATABASE", BASE_DIR / "example.sqlite3"),
        # Readers go on while one worker writes, and writers wait for each other.
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=wal; PRAGMA synchronous=normal",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
        # As `CONN_MAX_AGE` of a site with a database server.
        "CONN_MAX_AGE": None,
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The one setting.
CACHES = {"default": chosen(os.environ.get("CACHE", "pantler"), BASE_DIR)}

TIME_ZONE = "UTC"
USE_TZ = True
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"pantler": {"handlers": ["console"], "level": "WARNING"}},
}

if DEBUG:
    try:
        import debug_toolbar  # noqa: F401
    except ImportError:
        pass
    else:
        INSTALLED_APPS += ["django.contrib.staticfiles", "debug_toolbar"]
        MIDDLEWARE.insert(0, "debug_toolbar.middleware.DebugToolbarMiddleware")
        STATIC_URL = "static/"
        INTERNAL_IPS = ["127.0.0.1"]
        DEBUG_TOOLBAR_PANELS = [
            "debug_toolbar.panels.sql.SQLPanel",
            "debug_toolbar.panels.cache.CachePanel",
            "pantler.django.panel.PantlerPanel",
        ]
