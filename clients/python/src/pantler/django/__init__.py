"""Pantler for Django.

CACHES = {"default": {"BACKEND": "pantler.django.PantlerCache", "LOCATION": "http://127.0.0.1:8080/v1/namespaces/site"}}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._backend import PantlerCache

if TYPE_CHECKING:
    from ._pages import cache_page
    from .migrating import MigratingCache
    from .querysets import acached_queryset, cached_queryset, invalidate_models, invalidate_on_change

__all__ = [
    "MigratingCache",
    "PantlerCache",
    "acached_queryset",
    "cache_page",
    "cached_queryset",
    "invalidate_models",
    "invalidate_on_change",
]

# Querysets need models, which a settings module must not import; so what is about them comes when it is asked for.
_LATER = {
    "MigratingCache": "migrating",
    "acached_queryset": "querysets",
    "cache_page": "_pages",
    "cached_queryset": "querysets",
    "invalidate_models": "querysets",
    "invalidate_on_change": "querysets",
}


def __getattr__(name: str) -> Any:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
