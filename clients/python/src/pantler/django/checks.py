"""
What is wrong with a site's settings: the findings of `python -m pantler.django check`, and those of Django's own
`check` that need no network.

Each finding has a stable id, says what was found where, and what to do about it.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import ipaddress
import json
import os
import re
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

from django.apps import apps
from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.base import default_key_func
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import ImproperlyConfigured

from .. import Client, NotAllowed, PantlerError
from .._calls import Calls
from .._http import field
from .._pool import Pool
from .._values import serializer_of
from ._backend import PantlerCache

__all__ = ["Finding", "static_findings", "live_findings"]

Level = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing."""

    #: Stable: `pantler.` and a letter of its level with a number.
    id: str
    level: Level
    #: The cache's alias; None where it is about the site.
    alias: str | None
    message: str
    #: What to do.
    hint: str
    #: Whether it matters on a site that visitors come to, and not where one develops.
    production: bool = False


def _finding(code: str, alias: str | None, message: str, hint: str, production: bool = False) -> Finding:
    level: Level = {"E": "error", "W": "warning", "I": "info"}[code[0]]  # type: ignore[assignment]
    return Finding(f"pantler.{code}", level, alias, message, hint, production)


# Without network


def static_findings() -> list[Finding]:
    """What the settings alone show. Asks nobody."""
    found: list[Finding] = []
    pantlers: dict[str, PantlerCache] = {}
    for alias, config in settings.CACHES.items():
        try:
            cache = caches[alias]
        except Exception as failure:
            # ImproperlyConfigured of an unknown option, ValueError of a wrong LOCATION, ImportError of a wrong BACKEND.
            found.append(
                _finding("E001", alias, f"the cache cannot be made: {failure}", "mend CACHES as the message says")
            )
            continue
        if isinstance(cache, PantlerCache):
            pantlers[alias] = cache
            found += _of_one(alias, config, cache)
        elif isinstance(cache, (LocMemCache, DummyCache)) and not settings.DEBUG:
            found.append(_in_production(alias, cache))
    found += _of_places(pantlers)
    found += _of_sessions(pantlers)
    found += _of_middleware()
    if pantlers and not apps.is_installed("pantler.django"):
        found.append(
            _finding(
                "I001",
                None,
                '"pantler.django" is not in INSTALLED_APPS',
                "add it: then every process's changes of models invalidate, and `manage.py check` looks at these"
                " settings",
            )
        )
    if not pantlers and not any(each.id == "pantler.E001" for each in found):
        found.append(
            _finding(
                "I002",
                None,
                "no cache of CACHES is Pantler's",
                'set "BACKEND": "pantler.django.PantlerCache" and "LOCATION":'
                ' "http://127.0.0.1:8080/v1/namespaces/site"',
            )
        )
    return found


def _of_one(alias: str, config: dict[str, Any], cache: PantlerCache) -> Iterator[Finding]:
    options = config.get("OPTIONS") or {}
    timeout = config.get("TIMEOUT", 300)
    if timeout is not None:
        try:
            seconds = float(timeout)
        except (TypeError, ValueError):
            seconds = 300.0
            yield _finding(
                "E002",
                alias,
                f"TIMEOUT is {timeout!r}, and Django takes 300 seconds",
                "TIMEOUT is a number of seconds, or None for never",
            )
        if seconds <= 0:
            yield _finding(
                "W001",
                alias,
                f"TIMEOUT is {timeout!r}: nothing is kept unless a call says for how long",
                "give TIMEOUT a number of seconds above 0",
            )
    if not options.get("IGNORE_EXCEPTIONS"):
        yield _finding(
            "W002",
            alias,
            "IGNORE_EXCEPTIONS is off: while the service is away, every page that asks the cache answers 500",
            'set OPTIONS["IGNORE_EXCEPTIONS"] = True: faults are logged to "pantler.django", and count as misses',
            production=True,
        )
    if options.get("SERIALIZER") == "pickle":
        yield _finding(
            "W003",
            alias,
            "SERIALIZER is pickle: no program in another language can read an entry",
            'set SERIALIZER to "auto" (JSON where that comes back the same) or "json" (nothing else)',
        )
    client = _client(cache)
    if client is not None and _has_token(client):
        for address in _addresses(client):
            if not address.tls and address.path is None and not _is_loopback(address.host):
                yield _finding(
                    "W004",
                    alias,
                    f"the token goes to {address.host} in plain text: whoever listens on the way has it",
                    "call by https://, or by a Unix socket or a loopback address where the service is on this machine",
                    production=True,
                )
    leases = options.get("LEASES")
    if leases is not None and not tuple(leases or ()):
        yield _finding(
            "I003",
            alias,
            "LEASES is empty: when a page's time is over, every request renders it",
            "leave LEASES out: then pages and fragments are rendered once, with Django's own decorators and tags",
        )
    yield from _of_key_function(alias, cache, 2_000)
    yield from _of_migration(alias, options, cache)


def _in_production(alias: str, cache: Any) -> Finding:
    workers = _workers()
    name = type(cache).__name__
    if isinstance(cache, LocMemCache):
        message = (
            f"{name} with DEBUG = False: each worker{f' of {workers}' if workers else ''} has a cache of its own, so"
            " that a delete or an invalidation reaches one of them, and each loads everything again"
        )
    else:
        message = f"{name} with DEBUG = False: nothing is cached"
    return _finding(
        "W005",
        alias,
        message,
        'use "pantler.django.PantlerCache", which all workers share, here; LocMem is for tests',
        production=True,
    )


def _workers() -> int | None:
    """How many workers the environment asks for, as far as one can tell from here."""
    given = os.environ.get("WEB_CONCURRENCY", "")
    if given.isdigit():
        return int(given)
    match = re.search(r"(?:-w|--workers)[ =]?(\d+)", os.environ.get("GUNICORN_CMD_ARGS", ""))
    return int(match[1]) if match else None


def _of_migration(alias: str, options: dict[str, Any], cache: PantlerCache) -> Iterator[Finding]:
    from .migrating import MigratingCache, MovedCache

    if not isinstance(cache, (MigratingCache, MovedCache)):
        return
    old = options.get("OLD")
    if old is None:
        yield _finding(
            "I004",
            alias,
            "the move is over: MigratingCache without OLD asks nobody but Pantler",
            'set "BACKEND" to "pantler.django.PantlerCache" when convenient',
        )
        return
    try:
        backend = caches[old]
    except Exception:
        # Reported with its own alias.
        return
    if isinstance(backend, DummyCache):
        yield _finding(
            "W006",
            alias,
            f"OLD is {old!r}, which keeps nothing: there is nothing to move",
            "name the cache that the site had, or take OLD out",
        )
    elif isinstance(backend, LocMemCache):
        yield _finding(
            "W006",
            alias,
            f"OLD is {old!r}, which is in the memory of each process and empty after a restart: there is nothing to"
            " move",
            'set "BACKEND" to "pantler.django.PantlerCache" at once',
        )


# Keys

_KEYS = (
    "a", "b", "A", " a", "a ", "ab", "a b", "a  b", "a/b", "a//b", "a:b", "a::b", ":a", "a:", "a-b", "a_b", "a.b",
    "a,b", "a+b", "a%2Fb", "a%20b", "a?b", "a#b", "a&b", "1a", "11a", "1:a", "2:a", "1:1:a", "1_a", "1-a", "1.a", "0",
    "00", "1", "01", "1.0", "\u00e9", "e\u0301", "e", "\u00c9", "ß", "ss", "日本", "本日", "\U0001f511", "x" * 250 + "1",
    "x" * 250 + "2", "x" * 1100 + "1", "x" * 1100 + "2",
)  # fmt: skip
_VERSIONS = (1, 2, 10, 11, 12, 21, 111)


def _of_key_function(alias: str, cache: PantlerCache, many: int) -> Iterator[Finding]:
    make: Callable[[str, str, int], Any] = cache.key_func
    if make is default_key_func:
        return
    name = _name_of(make)
    prefix = cache.key_prefix
    advice = (
        "give the whole of prefix, version and key back, with a separator between them, as Django's default does:"
        " f'{prefix}:{version}:{key}'"
    )
    made: dict[str, tuple[str, str, int]] = {}
    kinds: dict[str, str] = {}
    # Where the prefix counts at all, this one is no part of any key above.
    for each_prefix, version, key in product((prefix, f"{prefix}zz"), _VERSIONS, _KEYS):
        try:
            result = make(key, each_prefix, version)
            again = make(key, each_prefix, version)
        except Exception as failure:
            yield _finding(
                "E003",
                alias,
                f"KEY_FUNCTION {name} raises for the key {key[:40]!r}: {type(failure).__name__}: {failure}",
                "take any text for a key",
            )
            return
        if not isinstance(result, str):
            yield _finding(
                "E003",
                alias,
                f"KEY_FUNCTION {name} gives {type(result).__name__} for {key[:40]!r}, and keys are text",
                "return a str",
            )
            return
        if result != again:
            yield _finding(
                "E004",
                alias,
                f"KEY_FUNCTION {name} gives another key each time: nothing is ever found again",
                "leave times and random numbers out of keys",
            )
            return
        before = made.setdefault(result, (each_prefix, key, version))
        if before == (each_prefix, key, version):
            continue
        if before[1] == key and before[0] == each_prefix:
            kind = f"versions {before[2]} and {version} of {_short(key)}"
            which = "versions"
        elif before[1] == key and before[2] == version:
            kind = f"prefixes {before[0]!r} and {each_prefix!r} with {_short(key)}"
            which = "prefixes"
        elif before[0] == each_prefix and before[2] == version:
            kind = f"{_short(before[1])} and {_short(key)}"
            which = "keys"
        else:
            kind = f"{_short(before[1])} in version {before[2]} and {_short(key)} in version {version}"
            which = "separators"
        kinds.setdefault(which, kind)
    # A function that ignores the version makes all versions collide: the first kind tells it all.
    for which, kind in kinds.items():
        if which == "separators" and ("versions" in kinds or "prefixes" in kinds):
            continue
        yield _finding("E005", alias, f"KEY_FUNCTION {name} makes one key of two: {kind}", advice)
    if "keys" not in kinds:
        seen: dict[str, int] = {}
        for number in range(many):
            # Far apart in every bit: a CRC never makes one of two that are close.
            other = seen.setdefault(make(_far_apart(number), prefix, 1), number)
            if other != number:
                yield _finding(
                    "E005",
                    alias,
                    f"KEY_FUNCTION {name} makes one key of two: {_far_apart(other)!r} and {_far_apart(number)!r}, since"
                    " it keeps too little of them",
                    "where keys are hashed, keep at least 128 bits (hashlib.sha256); Pantler takes keys up to 1,024"
                    " bytes and the backend hashes longer ones",
                )
                break


def _name_of(function: Any) -> str:
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', function)}"


def _far_apart(number: int) -> str:
    return hashlib.blake2b(str(number).encode(), digest_size=12).hexdigest()


def _short(key: str) -> str:
    return repr(key) if len(key) <= 40 else f"{key[:3]!r}… of {len(key)} characters that ends in {key[-1]!r}"


def _of_places(pantlers: dict[str, PantlerCache]) -> Iterator[Finding]:
    """Aliases whose entries lie in one namespace."""
    places: dict[Any, list[str]] = {}
    for alias, cache in pantlers.items():
        client = _client(cache)
        if client is not None:
            places.setdefault((tuple(map(str, _addresses(client))), client.namespace), []).append(alias)
    for (_, namespace), aliases in places.items():
        for index, first in enumerate(aliases):
            for second in aliases[index + 1 :]:
                one, other = pantlers[first], pantlers[second]
                shared = next((key for key in _KEYS if one.make_key(key) == other.make_key(key)), None)
                if shared is not None:
                    yield _finding(
                        "W007",
                        second,
                        f"{first!r} and {second!r} have the same keys in the namespace {namespace!r}: what one sets the"
                        " other gets",
                        "give each a KEY_PREFIX, or better a namespace, of its own: then each has its own policy and"
                        " statistics too",
                    )
                    continue
                mine = {
                    one.key_func(key, one.key_prefix, version): (key, version)
                    for key, version in product(_KEYS, _VERSIONS)
                }
                for key, version in product(_KEYS, _VERSIONS):
                    met = mine.get(other.key_func(key, other.key_prefix, version))
                    if met is not None:
                        yield _finding(
                            "W007",
                            second,
                            f"in the namespace {namespace!r} {met[0]!r} of {first!r} in version {met[1]} and {key!r} of"
                            f" {second!r} in version {version} are one key",
                            "give each a namespace of its own, or prefixes of which none begins as another does",
                        )
                        break


# Sessions and middleware


def _session_cache() -> tuple[str, str] | None:
    """The engine's name and its alias, where sessions are kept in a cache."""
    if not apps.is_installed("django.contrib.sessions"):
        return None
    engine = settings.SESSION_ENGINE
    if engine.rpartition(".")[2] not in {"cache", "cached_db"}:
        return None
    return engine.rpartition(".")[2], settings.SESSION_CACHE_ALIAS


def _of_sessions(pantlers: dict[str, PantlerCache]) -> Iterator[Finding]:
    sessions = _session_cache()
    if sessions is None:
        return
    engine, alias = sessions
    if alias not in settings.CACHES:
        yield _finding(
            "E006",
            None,
            f"SESSION_CACHE_ALIAS is {alias!r}, which is no cache of CACHES",
            f"name one of {', '.join(settings.CACHES)}",
        )
    elif alias in pantlers:
        if engine == "cache":
            yield _finding(
                "I005",
                alias,
                "sessions are kept here alone: what makes room for others, a clear() or a fault logs visitors out",
                'give them a namespace of their own, or use "django.contrib.sessions.backends.cached_db", which has'
                " them in the database too",
            )
    elif engine == "cache" and not settings.DEBUG and isinstance(caches[alias], (LocMemCache, DummyCache)):
        yield _finding(
            "W008",
            alias,
            "sessions are kept in the memory of each process: visitors are logged out when another worker answers",
            f'use "pantler.django.PantlerCache" for {alias!r}, or sessions in the database',
            production=True,
        )


_UPDATE = "django.middleware.cache.UpdateCacheMiddleware"
_FETCH = "django.middleware.cache.FetchFromCacheMiddleware"
_VARYING = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.locale.LocaleMiddleware",
)


def _of_middleware() -> Iterator[Finding]:
    middleware = list(settings.MIDDLEWARE)
    update = middleware.index(_UPDATE) if _UPDATE in middleware else None
    fetch = middleware.index(_FETCH) if _FETCH in middleware else None
    alias = settings.CACHE_MIDDLEWARE_ALIAS
    if alias not in settings.CACHES:
        yield _finding(
            "E007",
            None,
            f"CACHE_MIDDLEWARE_ALIAS is {alias!r}, which is no cache of CACHES: @cache_page and the middleware fail",
            f"name one of {', '.join(settings.CACHES)}",
        )
    seconds = settings.CACHE_MIDDLEWARE_SECONDS
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        yield _finding("E008", None, f"CACHE_MIDDLEWARE_SECONDS is {seconds!r}", "it is a number of seconds")
        seconds = 600
    if update is None and fetch is None:
        return
    if update is None or fetch is None:
        there, missing = (_FETCH, _UPDATE) if update is None else (_UPDATE, _FETCH)
        yield _finding(
            "W009",
            None,
            f"{there.rpartition('.')[2]} is in MIDDLEWARE without {missing.rpartition('.')[2]}: no page is ever a hit",
            f"put {_UPDATE} first and {_FETCH} last, or neither",
        )
        return
    if update > fetch:
        yield _finding(
            "E009",
            None,
            "UpdateCacheMiddleware comes after FetchFromCacheMiddleware: no page is ever kept",
            f"put {_UPDATE} first and {_FETCH} last",
        )
        return
    if seconds <= 0:
        yield _finding(
            "W010",
            None,
            f"CACHE_MIDDLEWARE_SECONDS is {seconds!r}: the middleware keeps no page",
            "give it a number of seconds above 0",
        )
    for varying in _VARYING:
        if varying in middleware and middleware.index(varying) < update:
            yield _finding(
                "W011",
                None,
                f"{varying.rpartition('.')[2]} comes before UpdateCacheMiddleware, which then does not see what it adds"
                " to Vary: visitors may get each other's pages",
                f"put {_UPDATE} first",
            )
        if varying in middleware and middleware.index(varying) > fetch:
            yield _finding(
                "W011",
                None,
                f"{varying.rpartition('.')[2]} comes after FetchFromCacheMiddleware, which then asks for a page before"
                " the request is complete",
                f"put {_FETCH} last",
            )


# With network


def live_findings(alias: str, cache: PantlerCache, config: dict[str, Any], facts: dict[str, Any]) -> Iterator[Finding]:
    """What the service says about a cache. `facts` gets what is worth showing where nothing is wrong."""
    try:
        yield from _asked(alias, cache, config, facts)
    except PantlerError as failure:
        yield _finding("E010", alias, f"the service has stopped answering: {failure}", "see its log")


def _asked(alias: str, cache: PantlerCache, config: dict[str, Any], facts: dict[str, Any]) -> Iterator[Finding]:
    client = _client(cache)
    if client is None:
        return
    addresses = _addresses(client)
    facts.update(addresses=[str(each) for each in addresses], namespace=client.namespace, key_prefix=cache.key_prefix)
    up = 0
    for address in addresses:
        try:
            status, ready = _ask_at(client, address, "/readyz")
        except PantlerError as failure:
            yield _finding(
                "E010",
                alias,
                f"nobody answers at {address}: {failure}",
                "start the service (`pantler serve`), or mend LOCATION; `pantler check` on its machine says more",
            )
            continue
        if status not in (200, 503) or not isinstance(ready, dict) or "status" not in ready:
            yield _finding(
                "E011",
                alias,
                f"what answers at {address} is not Pantler (status {status})",
                "mend LOCATION: another program has this port, or a proxy",
            )
            continue
        up += 1
        if ready["status"] != "ok":
            yield _finding(
                "W012",
                alias,
                f"the service at {address} says that it is {ready['status']}",
                "see `pantler check` and its log",
            )
    if not up:
        return
    status, policy = _ask(client, f"/v1/namespaces/{client.namespace}")
    token_status, token = _ask(client, "/v1/token")
    if token_status == 401:
        yield _finding(
            "E012",
            alias,
            (
                f"the service refuses the token: {token.get('detail', '')}"
                if _has_token(client)
                else "the service asks for a token, and there is none"
            ),
            'set OPTIONS["TOKEN"] or PANTLER_TOKEN to one that `pantler token create` shows',
        )
        return
    if token_status == 200:
        role = token.get("role")
        facts["role"] = role
        if role == "read":
            yield _finding(
                "E013",
                alias,
                "the token may read, and not write: nothing is ever kept",
                "make one of the role write: `pantler token create --role write`",
            )
        elif not any(_matches(pattern, client.namespace) for pattern in token.get("namespaces", ["*"])):
            yield _finding(
                "E013",
                alias,
                f"the token is for the namespaces {', '.join(token['namespaces'])}, and not for {client.namespace!r}",
                f"make one for it: `pantler token create --role write --namespace {client.namespace}`",
            )
            return
        expires = token.get("expires_at")
        if expires:
            facts["token_expires_at"] = expires
    if status == 403:
        yield _finding(
            "E013",
            alias,
            f"the token is not for the namespace {client.namespace!r}",
            "make one that is: `pantler token create`",
        )
        return
    if status == 404:
        # It is made by the first write.
        policy = {}
        facts["policy"] = "made by the first write"
    yield from _of_policy(alias, config, policy, status)
    yield from _of_entries(alias, cache, client, facts)
    yield from _of_other_sites(alias, cache, client)
    yield from _of_speed(alias, client, facts)
    from .migrating import MigratingCache

    if isinstance(cache, MigratingCache) and (config.get("OPTIONS") or {}).get("OLD"):
        yield from _of_overlap(alias, cache, facts)


def _matches(pattern: str, namespace: str) -> bool:
    return namespace.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == namespace


def _of_policy(alias: str, config: dict[str, Any], policy: dict[str, Any], status: int) -> Iterator[Finding]:
    timeout = config.get("TIMEOUT", 300)
    longest = policy.get("max_ttl")
    bound = policy.get("max_memory") or policy.get("max_disk") or policy.get("max_entries")
    if timeout is None and longest is None and not bound:
        yield _finding(
            "W013",
            alias,
            "TIMEOUT is None, and the namespace has neither a longest TTL nor a bound: what is wrong once stays wrong"
            " until somebody deletes it",
            "give TIMEOUT seconds, or the namespace a bound: `pantler namespace update NAME --max-ttl 86400"
            " --max-memory 67108864`",
        )
    if longest is not None and isinstance(timeout, (int, float)) and timeout > longest:
        yield _finding(
            "I006",
            alias,
            f"TIMEOUT is {timeout} s, and the namespace keeps nothing longer than {longest:g} s",
            "raise max_ttl, or lower TIMEOUT",
        )
    sessions = _session_cache()
    if sessions is not None and sessions[1] == alias and policy.get("durability") == "memory":
        lost = "visitors are logged out" if sessions[0] == "cache" else "each session is read from the database again"
        yield _finding(
            "W014" if sessions[0] == "cache" else "I007",
            alias,
            f"sessions are in a namespace of durability memory: when the service restarts, {lost}",
            "`pantler namespace update NAME --durability behind`, or another namespace for SESSION_CACHE_ALIAS",
        )
    if (
        sessions is not None
        and sessions[1] == alias
        and longest is not None
        and longest < settings.SESSION_COOKIE_AGE
        and sessions[0] == "cache"
    ):
        yield _finding(
            "W015",
            alias,
            f"sessions last {settings.SESSION_COOKIE_AGE} s (SESSION_COOKIE_AGE), and the namespace keeps nothing"
            f" longer than {longest:g} s",
            "raise the namespace's max_ttl, or use another one for sessions",
        )


# Of a namespace's entries, so many keys are looked at, and so many values' types.
_KEYS_LOOKED_AT = 500
_TYPES_LOOKED_AT = 40


def _of_entries(alias: str, cache: PantlerCache, client: Client, facts: dict[str, Any]) -> Iterator[Finding]:
    status, listed = _ask(client, f"/v1/namespaces/{client.namespace}/entries?limit={_KEYS_LOOKED_AT}")
    if status != 200:
        return
    keys = [entry["key"] for entry in listed.get("entries", [])]
    beginnings = _beginnings()
    others = [key for key in keys if not key.startswith((*beginnings, "pantler.django:"))]
    ours = [key for key in keys if key.startswith(beginnings)]
    pickles: list[str] = []
    step = max(len(ours) // _TYPES_LOOKED_AT, 1)
    looked = ours[::step][:_TYPES_LOOKED_AT]
    for key in looked:
        if _media_type(client, key) in {"application/x-python-pickle", "application/python-pickle"}:
            pickles.append(key)
    facts["entries_looked_at"] = len(keys)
    if pickles and others:
        yield _finding(
            "W016",
            alias,
            f"{len(pickles)} of {len(looked)} entries looked at are pickles ({pickles[0]!r}), which Python alone reads,"
            f" in a namespace that others use too ({others[0]!r})",
            'where others read these entries, set SERIALIZER to "json", or keep plain types: dict, list, str, int,'
            " float, bool, None; else give the site a namespace of its own",
        )
    elif pickles:
        facts["pickles"] = f"{len(pickles)} of {len(looked)} entries looked at"
    if others and not cache.key_prefix:
        yield _finding(
            "W017",
            alias,
            f"the namespace {client.namespace!r} has keys of others ({others[0]!r}), and KEY_PREFIX is empty; clear()"
            " drops theirs too",
            "give the site a namespace of its own, or at least a KEY_PREFIX",
        )


def _beginnings() -> tuple[str, ...]:
    """How keys of this site begin, in all its Pantler caches."""
    found: set[str] = set()
    for alias in settings.CACHES:
        try:
            cache = caches[alias]
        except Exception:
            continue
        if isinstance(cache, PantlerCache):
            for version in {cache.version, 1, 2, 3}:
                key = cache.key_func("", cache.key_prefix, version)
                # A function that puts nothing before the key: all keys may be this site's.
                found.add(key)
    return tuple(found)


def _media_type(client: Client, key: str) -> str:
    _, head, _ = client._pool.exchange(client._calls.target("HEAD", "values", key, "peek"), b"\r\n", safe=True)
    return (field(head, b"content-type") or b"").partition(b";")[0].strip().decode("latin-1").lower()


_SITE = "pantler.django:site:"


def _of_other_sites(alias: str, cache: PantlerCache, client: Client) -> Iterator[Finding]:
    """Sites tell each other apart by a note that each check leaves: an entry of the namespace, for a month."""
    # Nobody reads the secret out of it, and two sites with one secret are one site.
    mine = hmac.new(
        str(settings.SECRET_KEY).encode(), f"{_SITE}{cache.key_prefix}".encode(), hashlib.sha256
    ).hexdigest()[:16]
    note = {
        "settings": getattr(settings, "SETTINGS_MODULE", None) or os.environ.get("DJANGO_SETTINGS_MODULE", ""),
        "key_prefix": cache.key_prefix,
        "host": socket.gethostname(),
        "alias": alias,
    }
    # The same connections; JSON, which every site reads whatever its serializer is.
    notes = copy.copy(client)
    notes._calls = Calls(client.namespace, serializer_of("json"))
    try:
        keys = [key for key in notes.iter_keys(_SITE) if key != _SITE + mine]
        for other in notes.get_many(keys[:100]).values():
            if isinstance(other, dict) and other.get("key_prefix") == cache.key_prefix:
                yield _finding(
                    "W018",
                    alias,
                    f"another site ({other.get('settings')} on {other.get('host')}) uses the namespace"
                    f" {client.namespace!r} with the same KEY_PREFIX {cache.key_prefix!r}: each gets what the other"
                    " sets",
                    "give each site a namespace of its own, or a KEY_PREFIX",
                )
                break
        notes.set(_SITE + mine, note, 30 * 86400)
    except NotAllowed:
        # A token that may not write has its own finding.
        return
    except PantlerError as failure:
        yield _finding(
            "E010", alias, f"the service does not take an entry: {failure}", "see its log, and `pantler check`"
        )


def _of_speed(alias: str, client: Client, facts: dict[str, Any]) -> Iterator[Finding]:
    target = f"/v1/namespaces/{client.namespace}/values/pantler.django:nothing?peek"
    taken = []
    for _ in range(21):
        began = time.perf_counter()
        client._pool.exchange(f"GET {target} HTTP/1.1\r\n".encode(), b"\r\n", safe=True)
        taken.append(time.perf_counter() - began)
    median = statistics.median(taken)
    facts["round_trip_ms"] = round(median * 1000, 3)
    if median > 0.005:
        yield _finding(
            "W019",
            alias,
            f"a call takes {median * 1000:.1f} ms in the median of {len(taken)}: a page of ten calls waits"
            f" {median * 10_000:.0f} ms for its cache",
            "run the service near the site, and call it by a Unix socket or a loopback address where they share a"
            " machine",
        )


def _of_overlap(alias: str, cache: Any, facts: dict[str, Any]) -> Iterator[Finding]:
    totals = cache.migration_totals()
    facts["migration"] = totals
    asked = totals["hits"] + totals["old_hits"] + totals["misses"]
    if asked >= 1000 and totals["old_hits"] < asked / 1000:
        yield _finding(
            "I008",
            alias,
            f"of {asked} gets {totals['old_hits']} were found in the old cache alone: the move is done",
            'take it out: OPTIONS["OLD"] = None',
        )


def key_function_findings(alias: str, cache: PantlerCache, command: list[str]) -> Iterator[Finding]:
    """What takes longer than a system check may: many keys, and whether another process makes the same ones."""
    if cache.key_func is default_key_func:
        return
    yield from (each for each in _of_key_function(alias, cache, 200_000) if "too little" in each.message)
    here = cache.make_key("key-of-another-process")
    done = subprocess.run(
        [*command, "key-of-another-process", alias],
        env={**os.environ, "PYTHONHASHSEED": "1735"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode == 0 and json.loads(done.stdout.splitlines()[-1]) != here:
        yield _finding(
            "E014",
            alias,
            f"KEY_FUNCTION {_name_of(cache.key_func)} makes another key in each process: {here!r} here,"
            f" {json.loads(done.stdout.splitlines()[-1])!r} in another",
            "leave hash(), id() and what differs from process to process out of keys; hashlib gives the same"
            " everywhere",
        )


# Clients


def _client(cache: PantlerCache) -> Client | None:
    try:
        client: Client = cache.client
    except (ImproperlyConfigured, ValueError):
        return None
    return client


def _addresses(client: Client) -> tuple[Any, ...]:
    return client._settings.addresses


def _has_token(client: Client) -> bool:
    return client._settings.token is not None


def _is_loopback(host: str | None) -> bool:
    if host is None or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _ask(client: Client, target: str) -> tuple[int, Any]:
    return _read(client._pool.exchange(f"GET {target} HTTP/1.1\r\n".encode(), b"\r\n", safe=True))


def _ask_at(client: Client, address: Any, target: str) -> tuple[int, Any]:
    """At one of several addresses, and no other."""
    chosen = client._settings
    pool = Pool(
        (address,),
        token=chosen.token,
        timeout=chosen.timeout,
        connect_timeout=chosen.connect_timeout,
        max_idle=1,
        tls=chosen.tls,
    )
    try:
        return _read(pool.exchange(f"GET {target} HTTP/1.1\r\n".encode(), b"\r\n", safe=True))
    finally:
        pool.close()


def _read(answer: tuple[int, bytes, bytes]) -> tuple[int, Any]:
    status, _, body = answer
    try:
        return status, json.loads(body)
    except ValueError:
        return status, None
