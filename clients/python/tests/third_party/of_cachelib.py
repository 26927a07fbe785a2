"""Stands beside cachelib's own tests: what they ask of every backend, of ours."""

import itertools
import os

import pytest
from clear import ClearTests
from common import CommonTests
from has import HasTests

from pantler.cachelib import PantlerCache

try:
    from serializer import SerializerTests
except ImportError:  # cachelib before 0.16

    class SerializerTests:
        pass


try:
    from delete_many_with_prefix import DeleteManyWithPrefixTests
except ImportError:

    class DeleteManyWithPrefixTests:
        pass


_numbers = itertools.count()


class SillySerializer:
    def dumps(self, value):
        return repr(value).encode()

    def loads(self, bvalue):
        return eval(bvalue.decode())


class CustomCache(PantlerCache):
    """With another serializer, as cachelib's tests give it to its own backends."""

    serializer = SillySerializer()


@pytest.fixture(autouse=True, params=[PantlerCache, CustomCache])
def cache_factory(request):
    def make(self, *args, **kwargs):
        return request.param(f"{os.environ['PANTLER_URL']}/v1/namespaces/cachelib-{os.getpid()}-{next(_numbers)}", *args, **kwargs)

    request.cls.cache_factory = make


class TestPantlerCache(CommonTests, HasTests, ClearTests, SerializerTests, DeleteManyWithPrefixTests):
    pass
