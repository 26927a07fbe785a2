"""
Django's own cache tests against Pantler: run.py puts this module beside their tests/cache/tests.py, as
`cache.tests_pantler`.

`BaseCacheTests` is what Django asks of every backend. It runs three times: as it is, with the serializer "pickle", and
with every call made by its `a…` twin in an event loop. The other classes are those of the middleware, the page
decorators, the keys and the handlers, whose tests name LocMemCache only because they need some cache: here it is
Pantler.
"""

import copy
import inspect
import os
import unittest
from unittest import mock

from asgiref.sync import async_to_sync
from django.core.cache import DEFAULT_CACHE_ALIAS, BaseCache, cache, caches
from django.test import SimpleTestCase, TestCase, override_settings

from pantler.django import PantlerCache

from . import tests
from .closeable_cache import CloseHookMixin
from .liberal_backend import LiberalKeyValidationMixin

URL = os.environ["PANTLER_TEST_URL"]


def params(namespace, **more):
    return {"BACKEND": "pantler.django.PantlerCache", "LOCATION": f"{URL}/v1/namespaces/{namespace}", **more}


class CullsByBytes:
    """
    The tests of culling count the entries that LocMemCache leaves of MAX_ENTRIES; Pantler is bounded in bytes, by its
    namespace.
    """

    @unittest.skip("looks into LocMemCache's culling")
    def test_cull(self):
        pass

    @unittest.skip("looks into LocMemCache's culling")
    def test_zero_cull(self):
        pass

    @unittest.skip("looks into LocMemCache's culling")
    def test_cull_delete_when_store_empty(self):
        pass


@override_settings(CACHES=tests.caches_setting_for_tests(base=params("django-base")))
class PantlerCacheTests(CullsByBytes, tests.BaseCacheTests, TestCase):
    pass


@override_settings(
    CACHES=tests.caches_setting_for_tests(
        base=params("django-pickle", OPTIONS={"SERIALIZER": "pickle"}), exclude={"cull", "zero_cull"}
    )
)
class PantlerPickleCacheTests(CullsByBytes, tests.BaseCacheTests, TestCase):
    pass


class ByTwins:
    """A cache whose calls are made by their `a…` twins, each in a loop of its own."""

    def __init__(self, cache):
        self.__dict__["_cache"] = cache

    def __getattr__(self, name):
        twin = getattr(self._cache, "a" + name, None)
        if not inspect.iscoroutinefunction(twin):
            return getattr(self._cache, name)
        # What has to ask the database comes back to this thread, where the test's transaction is.
        call = async_to_sync(twin)
        # Django's tests look at it to tell whether a method is BaseCache's own.
        call.__func__ = twin.__func__
        return call

    def __setattr__(self, name, value):
        setattr(self._cache, name, value)

    def __contains__(self, key):
        return self.has_key(key)


class AllByTwins:
    def __getitem__(self, alias):
        return ByTwins(caches[alias])


@override_settings(CACHES=tests.caches_setting_for_tests(base=params("django-async")))
class PantlerAsyncCacheTests(CullsByBytes, tests.BaseCacheTests, TestCase):
    """`BaseCacheTests` with every call made by its `a…` twin."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name, twin in ("cache", ByTwins(cache)), ("caches", AllByTwins()):
            patch = mock.patch.object(tests, name, twin)
            patch.start()
            cls.addClassCleanup(patch.stop)

    def test_get_or_set_version(self):
        # As Django's, but for the name that the message has: it is the twin that misses its argument.
        message = "aget_or_set() missing 1 required positional argument: 'default'"
        self.assertEqual(tests.cache.get_or_set("brian", 1979, version=2), 1979)
        with self.assertRaisesMessage(TypeError, message):
            tests.cache.get_or_set("brian")
        with self.assertRaisesMessage(TypeError, message):
            tests.cache.get_or_set("brian", version=1)
        self.assertIsNone(tests.cache.get("brian", version=1))
        self.assertEqual(tests.cache.get_or_set("brian", 42, version=1), 42)
        self.assertEqual(tests.cache.get_or_set("brian", 1979, version=2), 1979)
        self.assertIsNone(tests.cache.get("brian", version=3))

    def test_get_or_set_racing(self):
        with mock.patch.object(PantlerCache, "aadd", mock.AsyncMock(return_value=False)):
            self.assertEqual(tests.cache.get_or_set("key", "default"), "default")


def migrating(namespace):
    """Each cache with an old one of the same prefix, version and key function."""
    found = {}
    for alias, config in tests.caches_setting_for_tests(base=params(namespace)).items():
        options = {**config.get("OPTIONS", {}), "OLD": f"old-{alias}"}
        found[alias] = {**config, "BACKEND": "pantler.django.MigratingCache", "OPTIONS": options}
        found[f"old-{alias}"] = {
            **config,
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": namespace,
        }
    return found


@override_settings(CACHES=migrating("django-migrating"))
class MigratingCacheTests(CullsByBytes, tests.BaseCacheTests, TestCase):
    """In overlap with an old cache it is a cache like any other."""


@override_settings(CACHES=migrating("django-migrating-async"))
class MigratingAsyncCacheTests(PantlerAsyncCacheTests):
    pass


class TwinsAreOurOwn(SimpleTestCase):
    """Every `a…` method of BaseCache is overridden: none of them goes by a thread."""

    def test_every_coroutine_of_base_cache_has_its_own_implementation(self):
        coroutines = {name for name, method in vars(BaseCache).items() if inspect.iscoroutinefunction(method)}
        self.assertGreaterEqual(len(coroutines), 16)
        self.assertEqual(
            {name for name in coroutines if getattr(PantlerCache, name) is getattr(BaseCache, name)}, set()
        )


class LiberalPantlerCache(LiberalKeyValidationMixin, PantlerCache):
    pass


@override_settings(CACHES={"default": params("django-liberal", BACKEND="cache.tests_pantler.LiberalPantlerCache")})
class PantlerCustomCacheKeyValidationTests(tests.CustomCacheKeyValidationTests):
    pass


class CloseablePantlerCache(CloseHookMixin, PantlerCache):
    pass


@override_settings(CACHES={"default": params("django-close", BACKEND="cache.tests_pantler.CloseablePantlerCache")})
class PantlerCacheClosingTests(tests.CacheClosingTests):
    pass


def without_timeout(settings):
    settings = copy.deepcopy(settings)
    settings["default"]["TIMEOUT"] = None
    return settings


DEFAULT = {"default": params("django-timeout")}


@override_settings(CACHES=DEFAULT)
class PantlerDefaultNonExpiringCacheKeyTests(tests.DefaultNonExpiringCacheKeyTests):
    """Django's read `_expire_info` of LocMemCache in three of them; here the service is asked."""

    @override_settings(CACHES=without_timeout(DEFAULT))
    def test_caches_set_with_timeout_as_none_has_correct_default_timeout(self):
        self.assertIsNone(caches[DEFAULT_CACHE_ALIAS].default_timeout)
        self.assertIsNone(caches[DEFAULT_CACHE_ALIAS].get_backend_timeout())

    @override_settings(CACHES=DEFAULT)
    def test_caches_with_unset_timeout_set_expiring_key(self):
        caches[DEFAULT_CACHE_ALIAS].set("my-key", "my-value")
        self.assertIn(caches[DEFAULT_CACHE_ALIAS].ttl("my-key"), (299, 300))

    @override_settings(CACHES=without_timeout(DEFAULT))
    def test_caches_set_with_timeout_as_none_set_non_expiring_key(self):
        caches[DEFAULT_CACHE_ALIAS].set("another-key", "another-value")
        self.assertIsNone(caches[DEFAULT_CACHE_ALIAS].ttl("another-key"))


@override_settings(CACHES={"default": params("django-utils")})
class PantlerCacheUtils(tests.CacheUtils):
    pass


@override_settings(CACHES={"default": params("django-prefixed-utils", KEY_PREFIX="cacheprefix")})
class PantlerPrefixedCacheUtils(tests.PrefixedCacheUtils):
    pass


@override_settings(CACHES={"default": params("django-head")})
class PantlerCacheHEADTest(tests.CacheHEADTest):
    pass


@override_settings(CACHES={"default": params("django-i18n")})
class PantlerCacheI18nTest(tests.CacheI18nTest):
    pass


@override_settings(CACHES={"default": params("django-prefixed-i18n", KEY_PREFIX="cacheprefix")})
class PantlerPrefixedCacheI18nTest(tests.PrefixedCacheI18nTest):
    pass


@override_settings(CACHES={"default": params("django-middleware"), "other": params("django-other", TIMEOUT="1")})
class PantlerCacheMiddlewareTest(tests.CacheMiddlewareTest):
    pass


@override_settings(CACHES={"default": params("django-template-response")})
class PantlerTestWithTemplateResponse(tests.TestWithTemplateResponse):
    pass


@override_settings(CACHES={"default": params("django-fragment-key")})
class PantlerTestMakeTemplateFragmentKey(tests.TestMakeTemplateFragmentKey):
    pass


@override_settings(CACHES={"default": params("django-handler")})
class PantlerCacheHandlerTest(tests.CacheHandlerTest):
    pass


# What is not run against Pantler, and why. Everything else in their module is, or the test below says what is new
# there.
OTHER_BACKENDS = {
    "BaseMemcachedTests",
    "PyLibMCCacheTests",
    "PyMemcacheCacheTests",
    "RedisCacheTests",
    "DBCacheTests",
    "DBCacheWithTimeZoneTests",
    "CreateCacheTableForDBCacheTests",
    "LocMemCacheTests",
    "FileBasedCacheTests",
    "FileBasedCachePathLibTests",
    "DummyCacheTests",
}


class NothingIsLeftOut(SimpleTestCase):
    def test_every_class_of_theirs_runs_here_or_is_of_another_backend(self):
        theirs = {
            name
            for name, value in vars(tests).items()
            if isinstance(value, type)
            and value.__module__ == tests.__name__
            and any(member.startswith("test") for member in dir(value))
        }
        ours = [value for value in globals().values() if isinstance(value, type)]
        run = {base.__name__ for value in ours for base in value.__mro__}
        self.assertEqual(theirs - run - OTHER_BACKENDS, set())
