"""Rows of querysets in the cache, invalidated by the models that they were read from.

An entry carries a tag for each table that its load has read, and a change of a model invalidates the model's tag. The
load runs under a lease, which the service takes back where one of these tags is invalidated meanwhile: rows that were
read before a change never land after it. What tells of changes are Django's signals, so what sends none (``update()``,
``bulk_create()``, ``bulk_update()``, raw SQL, other programs) needs a call of `invalidate_models`.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import hashlib
import logging
import operator
import os
import pickle
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import lru_cache
from typing import Any, TypeVar, cast, overload

import django
from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.exceptions import EmptyResultSet, ImproperlyConfigured, SynchronousOnlyOperation
from django.db import connections, transaction
from django.db.models import Model, QuerySet
from django.db.models.query import RawQuerySet
from django.db.models.signals import m2m_changed, post_delete, post_save

from ..errors import PantlerError
from ._backend import PantlerCache

__all__ = ["acached_queryset", "cached_queryset", "invalidate_models", "invalidate_on_change", "model_tag"]

logger = logging.getLogger("pantler.django")

ModelClass = TypeVar("ModelClass", bound=type[Model])
Tags = Iterable[str]


# Reading


def cached_queryset(
    queryset: Any,
    ttl: float | None | Any = DEFAULT_TIMEOUT,
    tags: Tags = (),
    *,
    cache: str = DEFAULT_CACHE_ALIAS,
    stale_ttl: float | None = None,
) -> list[Any]:
    """The rows of a queryset, from the cache where they are there.

    The key is made of the SQL, its parameters, the database, the form of the rows and the prefetch lookups, so any
    queryset will do: ``select_related()``, ``prefetch_related()``, ``values()``, ``values_list()``, ``annotate()``,
    ``distinct()``, ``only()``, slices, unions, ``raw()``. Empty results are kept like others. Every call gives objects
    of its own.

    ttl: seconds; the cache's ``TIMEOUT`` where it is not given, and None is never. tags: further tags of the entry.
    Every model whose table was read, by joins, subqueries and prefetches too, gives a tag by itself: its label in lower
    case, ``shop.product``. stale_ttl: seconds past the TTL for which the old rows may be served while one caller reads
    new ones. cache: an alias of ``CACHES``. Backends of others, which know no tags, serve as well, for tests and for
    the time before a move: a hit then costs a second call, for the times of the tags' changes, and many may load at a
    time.

    In a transaction that has changed one of the models the rows come from the database, and are not kept: others must
    not see them before the commit. Likewise in a transaction of an isolation level that goes on reading what was there
    at its beginning (SQLite's, and ``repeatable read``): a hit is served, but rows of its own reading are not kept.

    Raises ValueError for a queryset with ``select_for_update()``, whose rows no cache can lock, and what the database
    raises. Pantler that is away raises nothing here, whatever ``IGNORE_EXCEPTIONS`` says: the rows come from the
    database. Backends of others raise what they raise. Safe for threads.
    """
    tags = _checked(tags)
    query = _Query(queryset)
    name = query.key()
    if name is None or query.is_changed_here() or not _is_trusted(cache):
        return query.rows()
    _follow(query.models())
    if _reads_the_past(connections[query.using]):
        # Nothing is kept of what is read here, so nobody is to wait for it.
        found = _store(cache).hit(name)
        return query.rows() if found is None else query.with_known_objects(found)
    try:
        rows = _store(cache).fetch(name, query, ttl, tags, stale_ttl)
    except _NotToBeKept as read:
        rows = read.rows
    return query.with_known_objects(rows)


async def acached_queryset(
    queryset: Any,
    ttl: float | None | Any = DEFAULT_TIMEOUT,
    tags: Tags = (),
    *,
    cache: str = DEFAULT_CACHE_ALIAS,
    stale_ttl: float | None = None,
) -> list[Any]:
    """
    `cached_queryset` for coroutines: the cache is asked on the event loop, and the database in Django's thread for
    that.
    """
    tags = _checked(tags)
    query = _Query(queryset)
    try:
        name = query.key()
    except SynchronousOnlyOperation:
        # Some databases are asked for their version before the first SQL can be written.
        name = await sync_to_async(query.key)()
    if name is None or (cache in _owed and not await sync_to_async(_is_trusted)(cache)):
        return await sync_to_async(query.rows)()
    _follow(query.models())
    try:
        rows = await _store(cache).afetch(name, query, ttl, tags, stale_ttl)
    except _NotToBeKept as read:
        rows = read.rows
    return query.with_known_objects(rows)


class _NotToBeKept(Exception):
    """Carries rows out of a load whose lease is to be given up. Never leaves this module."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows


def _checked(tags: Tags) -> tuple[str, ...]:
    if isinstance(tags, str):
        raise TypeError(f"tags is a sequence of tags, got the string {tags!r}")
    return tuple(tags)


class _Query:
    """A queryset, its name in the cache, and how it is read."""

    def __init__(self, queryset: Any) -> None:
        if not isinstance(queryset, (QuerySet, RawQuerySet)):
            raise TypeError(
                f"cached_queryset takes a queryset, got {type(queryset).__name__}; a manager gives one by .all()"
            )
        self.is_raw = isinstance(queryset, RawQuerySet)
        query: Any = queryset.query
        if not self.is_raw and query.select_for_update:
            raise ValueError(
                "cached_queryset: a queryset with select_for_update() locks its rows, which the cache cannot do"
            )
        # A copy: whether the caller's has been read is the caller's business, and it stays as it is.
        self.queryset = _copy(queryset)
        # Rows of `author.posts.all()` point to that very author. It is no part of the rows, and is put back into them
        # after a hit.
        self.known = {} if self.is_raw else self.queryset._known_related_objects
        if self.known:
            self.queryset._known_related_objects = {}
        self.using: str = queryset.db
        self.sql = ""
        self.tags: set[str] = set()

    def key(self) -> str | None:
        """The entry's key; None where there is nothing to ask (no row can match), or nothing to tell the query by."""
        try:
            self.sql, parameters = _sql(self.queryset, self.using)
        except EmptyResultSet:
            return None
        digest = hashlib.blake2b(digest_size=16)
        try:
            _feed(
                digest,
                (
                    django.get_version(),
                    self.using,
                    _form(self.queryset),
                    self.sql,
                    parameters,
                    _prefetches(self.queryset, self.using),
                ),
            )
        except _Unnamed as failure:
            logger.warning("cached_queryset: not kept, since %s", failure)
            return None
        return f"queryset:{self.queryset.model._meta.label_lower}:{digest.hexdigest()}"

    def models(self) -> frozenset[str]:
        """Tags of the models that the SQL itself reads; what is prefetched is seen when it is."""
        return _tags_of_sql(self.sql) | {model_tag(self.queryset.model)}

    def is_changed_here(self) -> bool:
        """Whether a transaction that runs on this connection has changed what the query reads."""
        changed = _pending_tags(connections[self.using])
        return bool(changed) and (
            bool(self.queryset._prefetch_related_lookups) or not changed.isdisjoint(self.models())
        )

    def rows(self) -> list[Any]:
        return self.with_known_objects(list(self.queryset))

    def load(self) -> list[Any]:
        """
        Reads the rows, and takes down the tables that were read; raises `_NotToBeKept` where nobody else may have them.
        """
        statements: list[str] = []

        def watch(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
            statements.append(str(sql))
            return execute(sql, params, many, context)

        with ExitStack() as stack:
            # All of them: a router may send a prefetch to another database.
            for connection in connections.all():
                stack.enter_context(connection.execute_wrapper(watch))
            # A copy again, since a load may be asked for twice, and this one has its rows.
            rows = list(_copy(self.queryset))
        self.tags = set(self.models()).union(*map(_tags_of_sql, statements))
        _follow(self.tags)
        if _reads_the_past(connections[self.using]):
            raise _NotToBeKept(rows)
        return rows

    def with_known_objects(self, rows: list[Any]) -> list[Any]:
        for field, objects in self.known.items():
            names = [
                field.attname if name == "self" else self.queryset.model._meta.get_field(name).attname
                for name in field.from_fields
            ]
            identity = operator.attrgetter(*names)
            for row in rows:
                # As Django's own `ModelIterable` does: not over what select_related() has read, and without reading a
                # deferred field.
                if isinstance(row, Model) and not field.is_cached(row) and all(name in row.__dict__ for name in names):
                    found = objects.get(identity(row))
                    if found is not None:
                        setattr(row, field.name, found)
        return rows


def _copy(queryset: Any) -> Any:
    if isinstance(queryset, RawQuerySet):
        # What it is made of has no public name.
        queryset = cast("Any", queryset)
        copy: Any = RawQuerySet(
            queryset.raw_query,
            queryset.model,
            params=queryset.params,
            translations=queryset.translations,
            using=queryset._db,
            hints=queryset._hints,
        )
        copy._prefetch_related_lookups = queryset._prefetch_related_lookups
        if hasattr(queryset, "_fetch_mode"):
            copy._fetch_mode = queryset._fetch_mode
        return copy
    return queryset._chain()


# Keys


def _sql(queryset: Any, using: str) -> tuple[str, Any]:
    """Raises EmptyResultSet where Django knows that no row can match."""
    if isinstance(queryset, RawQuerySet):
        return str(queryset.raw_query), queryset.params
    # Compiling adds joins to the query that it compiles.
    sql, parameters = queryset.query.clone().get_compiler(using=using).as_sql()
    return sql, parameters


def _form(queryset: Any) -> Any:
    """What the rows are made of beyond their columns: one SQL gives objects, dictionaries or tuples."""
    model = queryset.model._meta
    fields = [field.attname for field in model.concrete_fields]
    # Django 6.1: what a deferred field does when it is asked for.
    deferred = type(getattr(queryset, "_fetch_mode", None)).__name__
    if isinstance(queryset, RawQuerySet):
        return "raw", model.label_lower, fields, deferred, queryset.translations
    made = queryset._iterable_class
    # select_related is True, False, or a tree of names.
    return (
        f"{made.__module__}.{made.__qualname__}",
        model.label_lower,
        fields,
        deferred,
        queryset._fields,
        queryset.query.select_related,
    )


def _prefetches(queryset: Any, using: str) -> list[Any]:
    found: list[Any] = []
    for lookup in queryset._prefetch_related_lookups:
        if isinstance(lookup, str):
            found.append(lookup)
            continue
        inner = getattr(lookup, "querysets", None)
        if inner is None:
            inner = [lookup.queryset]
        described: list[Any] = []
        for each in inner:
            if each is None:
                described.append(None)
                continue
            # Without a database of its own, a prefetch asks the rows'.
            at = each._db or using
            try:
                text: Any = _sql(each, at)
            except EmptyResultSet:
                text = "empty"
            described.append((at, _form(each), text, _prefetches(each, at)))
        found.append((lookup.prefetch_through, lookup.prefetch_to, lookup.to_attr, described))
    return found


class _Unnamed(Exception):
    """A parameter that cannot be told from others of its type."""


def _feed(digest: Any, value: Any) -> None:
    """Adds a value so that no two different ones add the same bytes: its type, a length, its content."""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, (list, tuple)):
        digest.update(b"[%d:" % len(value))
        for item in value:
            _feed(digest, item)
        return
    if isinstance(value, dict):
        digest.update(b"{%d:" % len(value))
        # The order of a mapping's parts says nothing; that of a JSON column's may, and costs a miss at most.
        for key, item in value.items():
            _feed(digest, key)
            _feed(digest, item)
        return
    if isinstance(value, str):
        kind, content = "str", value.encode("utf-8", "surrogatepass")
    elif isinstance(value, (bytes, bytearray, memoryview)):
        kind, content = "bytes", bytes(value)
    elif value is None or isinstance(
        value,
        (
            bool,
            int,
            float,
            complex,
            decimal.Decimal,
            uuid.UUID,
            datetime.date,
            datetime.time,
            datetime.timedelta,
            datetime.tzinfo,
        ),
    ):
        kind, content = type(value).__qualname__, repr(value).encode()
    else:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        # Ranges, JSON adapters, network addresses and what else a driver takes.
        try:
            content = pickle.dumps(value, protocol=4)
        except Exception as failure:
            inner = getattr(value, "obj", getattr(value, "adapted", None))
            if inner is None:
                raise _Unnamed(f"a parameter of type {kind} cannot be told from others ({failure})") from failure
            digest.update(kind.encode())
            _feed(digest, inner)
            return
    digest.update(b"%s %d:" % (kind.encode(), len(content)))
    digest.update(content)


# Models and their tags


def model_tag(model: type[Model] | Model) -> str:
    """The tag of a model: its label in lower case, ``shop.product``; a proxy has that of the model behind it."""
    return _concrete(model)._meta.label_lower


def _concrete(model: Any) -> type[Model]:
    """The model whose table it is."""
    concrete: type[Model] = model._meta.concrete_model
    return concrete


def _tags_of_change(model: type[Model]) -> set[str]:
    """A change of a model changes its parents' tables too, and others' that are mapped to the same one."""
    concrete = _concrete(model)
    found: set[str] = set()
    for each in (concrete, *concrete._meta.get_parent_list()):
        found.add(model_tag(each))
        found.update(_tags_by_table().get(each._meta.db_table.strip('"`[]').casefold(), ()))
    return found


@lru_cache(maxsize=1)
def _tags_by_table() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for model in apps.get_models(include_auto_created=True):
        if not model._meta.proxy:
            found.setdefault(model._meta.db_table.strip('"`[]').casefold(), set()).add(model_tag(model))
    return {table: frozenset(tags) for table, tags in found.items()}


_QUOTED_OR_WORD = re.compile(r'"([^"]+)"|`([^`]+)`|\[([^\]]+)\]|([^\W\d][\w$]*)')


@lru_cache(maxsize=4096)
def _tags_of_sql(sql: str) -> frozenset[str]:
    """Tags of the tables whose names stand in a statement, wherever: in joins, subqueries, unions, raw fragments.

    A column that is called like a table counts as one: an invalidation too many, never one too few.
    """
    tables = _tags_by_table()
    found: set[str] = set()
    for names in _QUOTED_OR_WORD.findall(sql):
        for name in names:
            if name:
                found.update(tables.get(name.casefold(), ()))
    return frozenset(found)


# Transactions


def _is_in_transaction(connection: Any) -> bool:
    """
    Those that Django's `TestCase` wraps a test in are none: within them each test is a world of its own that commits
    nothing.
    """
    return bool(connection.in_atomic_block) and not all(block._from_testcase for block in connection.atomic_blocks)


def _reads_the_past(connection: Any) -> bool:
    """Whether what is read now may be older than what others have committed already.

    Under `read committed` every statement sees all that was committed before it. Otherwise the transaction may have
    begun before a change whose invalidation came before our lease.
    """
    if not _is_in_transaction(connection):
        return False
    if connection.vendor == "oracle":
        return False
    level = getattr(connection, "isolation_level", None)
    if connection.vendor == "postgresql":
        # psycopg's enumeration, in version 3 and 2: read committed is its 2 and 1, read uncommitted, which is the same
        # there, 1 and 4.
        return getattr(level, "name", "READ_COMMITTED") not in {"READ_COMMITTED", "READ_UNCOMMITTED"}
    if connection.vendor == "mysql":
        return level not in {"read committed", "read uncommitted"}
    return True


class _Invalidation:
    """
    What is to be invalidated when a transaction commits. Django forgets it where its part of the transaction is rolled
    back.
    """

    def __init__(self, tags: set[str]) -> None:
        self.tags = tags

    def __call__(self) -> None:
        _invalidate(self.tags)


def _pending_tags(connection: Any) -> set[str]:
    """Tags of what the running transaction has changed, and not rolled back."""
    if not _is_in_transaction(connection):
        return set()
    return set().union(*(hook.tags for _, hook, *_ in connection.run_on_commit if isinstance(hook, _Invalidation)))


def _invalidate_after_commit(tags: set[str], using: str | None) -> None:
    connection = transaction.get_connection(using)
    if not _is_in_transaction(connection):
        _invalidate(tags)
        return
    hooks = connection.run_on_commit
    if hooks and isinstance(hooks[-1][1], _Invalidation) and hooks[-1][0] == set(connection.savepoint_ids):
        # Many changes in a row are one invalidation.
        hooks[-1][1].tags.update(tags)
    else:
        transaction.on_commit(_Invalidation(tags), using=using)


# Changes


def invalidate_models(*models: type[Model], using: str | None = None) -> None:
    """
    Drops every entry that carries the tag of one of the models, when the transaction that runs commits, or at once
    where none does.

    For changes that send no signals: ``QuerySet.update()``, ``bulk_create()``, ``bulk_update()``, raw SQL, and changes
    by other programs. using: the database whose transaction it is, the models' default one where it is not given.

    Raises nothing for a cache that is away: it is logged, and made up for with the next change. Safe for threads.
    """
    for model in models:
        if not (isinstance(model, type) and issubclass(model, Model)):
            raise TypeError(f"invalidate_models takes models, got {model!r}")
    _invalidate_after_commit(set().union(*map(_tags_of_change, models)), using)


@overload
def invalidate_on_change(
    model: ModelClass, /, *models: ModelClass, tags: Tags | Callable[[Any], Tags] = ()
) -> ModelClass: ...
@overload
def invalidate_on_change(*, tags: Tags | Callable[[Any], Tags] = ()) -> Callable[[ModelClass], ModelClass]: ...
def invalidate_on_change(*models: Any, tags: Tags | Callable[[Any], Tags] = ()) -> Any:
    """From now on saving, deleting or relating an instance of a model invalidates the model's tag, and further ones.

    tags: a sequence, or a function of the instance: ``invalidate_on_change(Post, tags=lambda post:
    [f"blog-{post.blog_id}"])``. The function sees the instance as it is after the change. Works as a decorator of a
    model too, with and without ``tags``.

    With ``"pantler.django"`` in ``INSTALLED_APPS`` all models have it already (see ``PANTLER_INVALIDATE``), so that
    this is for further tags. Several calls for one model add up.
    """
    if isinstance(tags, str):
        raise TypeError(f"tags is a sequence of tags or a function that gives one, got the string {tags!r}")
    if not models:
        return lambda model: invalidate_on_change(model, tags=tags)
    for model in models:
        if not (isinstance(model, type) and issubclass(model, Model)):
            raise TypeError(f"invalidate_on_change takes models, got {model!r}")
        _connect(model)
        if callable(tags) or tags:
            given = tags if callable(tags) else tuple(tags)
            concrete = _concrete(model)
            _further_tags[concrete] = (*_further_tags.get(concrete, ()), given)
    return models[0]


_further_tags: dict[type[Model], tuple[Any, ...]] = {}
_followed: set[str] = set()


def connect() -> None:
    """
    Follows the changes of the models that ``PANTLER_INVALIDATE`` names; what the app's configuration calls at the
    start.

    ``"__all__"``, the default, is all models but sessions, the admin's log and migrations: labels (``"shop.product"``)
    or names of apps (``"shop"``) in a list are those alone. Django deletes row by row what somebody follows, and in one
    statement what nobody does.
    """
    _tags_by_table.cache_clear()
    _tags_of_sql.cache_clear()
    wanted = getattr(settings, "PANTLER_INVALIDATE", "__all__")
    if wanted != "__all__" and (isinstance(wanted, str) or not all(isinstance(each, str) for each in wanted)):
        raise ImproperlyConfigured(
            f'PANTLER_INVALIDATE is "__all__" or a list of names like "shop" and "shop.product", got {wanted!r}'
        )
    for model in apps.get_models(include_auto_created=True):
        label = model._meta.label_lower
        if (
            label not in _NOT_FOLLOWED
            if wanted == "__all__"
            else label in {each.lower() for each in wanted} or model._meta.app_label in wanted
        ):
            _connect(model)
            _followed.add(model_tag(model))


# Written with nearly every request, read by key, and deleted by the thousand.
_NOT_FOLLOWED = frozenset({"sessions.session", "admin.logentry", "contenttypes.contenttype", "auth.permission"})


def _follow(tags: Iterable[str]) -> None:
    """Follows the models whose rows are about to be kept, where nobody has said so before."""
    for tag in tags:
        if tag not in _followed:
            _followed.add(tag)
            try:
                model = apps.get_model(tag)
            except LookupError:
                # Of an app that is not installed: there are no rows of it either.
                continue
            for other in apps.get_models(include_auto_created=True):
                # Its proxies send signals of their own, and a child's change is one of its parents.
                if issubclass(other, model):
                    _connect(other)
            if not apps.is_installed("pantler.django"):
                logger.warning(
                    "rows of %s are kept, but changes in processes that never read them are not seen: "
                    'add "pantler.django" to INSTALLED_APPS',
                    tag,
                )


def _connect(model: type[Model]) -> None:
    uid = f"pantler.django:{model._meta.label_lower}"
    post_save.connect(_on_change, sender=model, dispatch_uid=uid)
    post_delete.connect(_on_change, sender=model, dispatch_uid=uid)
    m2m_changed.connect(_on_relation, sender=model, dispatch_uid=uid)
    for field in model._meta.local_many_to_many:
        # Django sends it from the table in between, which may not be there yet where this is a decorator: then it is
        # given by its name.
        between = field.remote_field.through or f"{model._meta.app_label}.{model._meta.object_name}_{field.name}"
        m2m_changed.connect(_on_relation, sender=between, dispatch_uid=f"pantler.django:{field}")


def _tags_of_instance(instance: Model) -> set[str]:
    found: set[str] = set()
    concrete = _concrete(instance)
    for each in (concrete, *concrete._meta.get_parent_list()):
        for tags in _further_tags.get(each, ()):
            found.update(tags(instance) if callable(tags) else tags)
    return found


def _on_change(sender: type[Model], instance: Model, using: str | None = None, **_: Any) -> None:
    _invalidate_after_commit(_tags_of_change(sender) | _tags_of_instance(instance), using)


def _on_relation(
    sender: type[Model], instance: Any, action: str, model: type[Model], using: str | None = None, **_: Any
) -> None:
    if not action.startswith("post_"):
        return
    tags = _tags_of_change(sender) | _tags_of_change(model)
    if isinstance(instance, Model):
        tags |= _tags_of_change(type(instance)) | _tags_of_instance(instance)
    _invalidate_after_commit(tags, using)


# Invalidation

# Tags whose invalidation has failed, by cache: they go out with the next one, and until then this process reads nothing
# of that cache.
_owed: dict[str, set[str]] = {}
_owed_lock = threading.Lock()


def _new_lock() -> None:
    """In a forked child, whose parent's threads may have held it."""
    global _owed_lock
    _owed_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)

# As many as the service takes in one call.
_MOST_TAGS = 64


def _invalidate(tags: Iterable[str]) -> None:
    for alias in _aliases_to_tell():
        _tell(alias, tags)


def _tell(alias: str, tags: Iterable[str]) -> bool:
    """Whether the cache knows now. Never raises: the change is committed, and its caller has done nothing wrong."""
    with _owed_lock:
        wanted = {*tags, *_owed.get(alias, ())}
    ordered = sorted(wanted)
    try:
        for start in range(0, len(ordered), _MOST_TAGS):
            _store(alias).invalidate(ordered[start : start + _MOST_TAGS])
    except Exception as failure:
        with _owed_lock:
            # Once: a service that is away must not fill the disk with a line for each save.
            is_news = alias not in _owed
            _owed.setdefault(alias, set()).update(wanted)
        logger.log(
            logging.ERROR if is_news else logging.DEBUG,
            "the cache %r was not told of changes of %s, and will be: %s: %s",
            alias,
            ", ".join(ordered),
            type(failure).__name__,
            failure,
        )
        return False
    if alias in _owed:
        with _owed_lock:
            still = _owed.get(alias, set()) - wanted
            if still:
                _owed[alias] = still
            else:
                _owed.pop(alias, None)
    return True


def _is_trusted(alias: str) -> bool:
    """Whether the cache has been told of all that this process has changed."""
    return alias not in _owed or _tell(alias, ())


def _aliases_to_tell() -> list[str]:
    """The caches that know tags, and those of others that `cached_queryset` was called with."""
    return [alias for alias in settings.CACHES if alias in _used_aliases or isinstance(caches[alias], PantlerCache)]


# Where rows are kept

# Aliases of caches that know no tags, and have rows.
_used_aliases: set[str] = set()


def _store(alias: str) -> _Tagged | _Timed:
    cache = caches[alias]
    if isinstance(cache, PantlerCache):
        return _Tagged(cache)
    _used_aliases.add(alias)
    return _Timed(cache)


class _Tagged:
    """In Pantler, which knows tags and gives leases."""

    def __init__(self, cache: PantlerCache) -> None:
        self.cache = cache

    def hit(self, name: str) -> list[Any] | None:
        """What is there; no lease is taken, nor waited for."""
        try:
            # A get would take one of what is stale.
            rows: list[Any] | None = self.cache.get_many([name]).get(name)
        except PantlerError as failure:
            self.cache._service.ignored("cached_queryset", failure)
            return None
        return rows

    def fetch(self, name: str, query: _Query, ttl: Any, tags: tuple[str, ...], stale_ttl: float | None) -> list[Any]:
        # What was read is known when it was.
        rows: list[Any] = self.cache.get_or_set(
            name, query.load, ttl, tags=lambda _: {*tags, *query.tags}, stale_ttl=stale_ttl
        )
        return rows

    async def afetch(
        self, name: str, query: _Query, ttl: Any, tags: tuple[str, ...], stale_ttl: float | None
    ) -> list[Any]:
        load = sync_to_async(query.load)
        rows: list[Any] = await self.cache.aget_or_set(
            name, load, ttl, tags=lambda _: {*tags, *query.tags}, stale_ttl=stale_ttl
        )
        return rows

    def invalidate(self, tags: Sequence[str]) -> None:
        self.cache.client.invalidate(tags=tags)


class _Timed:
    """
    In a cache that knows no tags: when each tag was changed last is kept beside the rows, and rows tell when their load
    began.

    By this machine's clock: several machines need clocks that agree.
    """

    def __init__(self, cache: BaseCache) -> None:
        self.cache = cache

    def hit(self, name: str) -> list[Any] | None:
        kept = self.cache.get(name)
        return list(kept[2]) if self._is_good(kept) else None

    def fetch(self, name: str, query: _Query, ttl: Any, tags: tuple[str, ...], stale_ttl: float | None) -> list[Any]:
        kept = self.hit(name)
        if kept is not None:
            return kept
        began = time.time_ns()
        rows = query.load()
        read = sorted({*tags, *query.tags})
        for tag in read:
            # One that is there stays: it may be a change since. One that was evicted may have been too, so the rows
            # have to be newer.
            self.cache.add(_time_key(tag), began - 1, None)
        self.cache.set(name, (began, read, rows), ttl)
        return rows

    def _is_good(self, kept: Any) -> bool:
        if not (isinstance(kept, tuple) and len(kept) == 3):
            return False
        began, read, _ = kept
        changes = self.cache.get_many([_time_key(tag) for tag in read])
        return len(changes) == len(read) and all(change < began for change in changes.values())

    async def afetch(
        self, name: str, query: _Query, ttl: Any, tags: tuple[str, ...], stale_ttl: float | None
    ) -> list[Any]:
        return await sync_to_async(self.fetch)(name, query, ttl, tags, stale_ttl)

    def invalidate(self, tags: Sequence[str]) -> None:
        now = time.time_ns()
        self.cache.set_many({_time_key(tag): now for tag in tags}, None)


def _time_key(tag: str) -> str:
    if not (tag.isascii() and tag.isprintable() and " " not in tag):
        # Memcached's keys have no such characters.
        tag = hashlib.blake2b(tag.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"queryset-tag:{tag}"
