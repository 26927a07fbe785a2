"""The levels at which the site caches, as its views use them: Django's own means, and a count of what they did."""

import functools
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from django.core.cache import cache, caches
from django.db.models import Model
from django.db.models.signals import post_delete, post_save
from django.views.decorators.cache import cache_page as django_cache_page

from pantler.django import PantlerCache
from pantler.django import cached_queryset as pantler_cached_queryset

from . import meter

MISSING = object()


def cache_page(ttl: float) -> Callable[[Any], Any]:
    """Level 1, whole pages: Django's own `cache_page`. The view runs on a miss alone."""

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        def counted(request: Any, *args: Any, **named: Any) -> Any:
            request.was_computed = True
            return view(request, *args, **named)

        kept = django_cache_page(ttl)(counted)

        @functools.wraps(view)
        def asked(request: Any, *args: Any, **named: Any) -> Any:
            response = kept(request, *args, **named)
            meter.count("page", hit=not getattr(request, "was_computed", False))
            return response

        return asked

    return decorate


def value(key: str, ttl: float, tags: Sequence[str], load: Callable[[], Any]) -> Any:
    """Level 3, values: `cache.get` and `cache.set`, with tags that a change of a model invalidates."""
    if not knows_tags():
        key = with_versions(key, tags)
    found = cache.get(key, MISSING)
    meter.count("value", hit=found is not MISSING)
    if found is MISSING:
        found = load()
        if knows_tags():
            cache.set(key, found, ttl, tags=tags)
        else:
            cache.set(key, found, ttl)
    return found


def cached_queryset(queryset: Any, ttl: float, tags: Sequence[str] = ()) -> list[Any]:
    """Level 4, rows of querysets."""
    with meter.watched("queryset"):
        return pantler_cached_queryset(queryset, ttl, tags)


# What a site does that changes with a cache without tags: a version for each tag, which is asked for before each value,
# is a part of its key, and changes with the model. Old values stay until their time is over.


def knows_tags() -> bool:
    return isinstance(caches["default"], PantlerCache)


def with_versions(key: str, tags: Sequence[str]) -> str:
    names = [f"version:{tag}" for tag in tags]
    versions = cache.get_many(names)
    for name in names:
        if name not in versions:
            cache.add(name, uuid.uuid4().hex[:12], None)
            versions[name] = cache.get(name)
    return ":".join([key, *(str(versions[name]) for name in names)])


def _new_version(sender: type[Model], **_: Any) -> None:
    if not knows_tags():
        cache.set(f"version:{sender._meta.label_lower}", uuid.uuid4().hex[:12], None)


post_save.connect(_new_version, dispatch_uid="versions")
post_delete.connect(_new_version, dispatch_uid="versions")
