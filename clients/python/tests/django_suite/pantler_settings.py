"""
Settings of Django's own tests with Pantler as the `default` cache; run.py puts them beside their runtests.py.

PANTLER_TEST_URL says where the service listens, without a namespace.
"""

import os

CACHES = {
    "default": {
        "BACKEND": "pantler.django.PantlerCache",
        "LOCATION": os.environ["PANTLER_TEST_URL"] + "/v1/namespaces/django-default",
    }
}

DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3"},
    "other": {"ENGINE": "django.db.backends.sqlite3"},
}
SECRET_KEY = "django_tests_secret_key"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
USE_TZ = False
