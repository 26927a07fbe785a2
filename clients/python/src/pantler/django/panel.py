"""A panel for django-debug-toolbar: what Pantler has said of each call of a request.

    DEBUG_TOOLBAR_PANELS = [..., "pantler.django.panel.PantlerPanel"]

The toolbar's own cache panel shows the calls of Django's cache API; this one what became of them: hits and the tier
that had them, misses and their reasons, and the time spent and saved. It is told by the clients' observers, so
`@cache_page`, `{% cache %}`, sessions and `cached_queryset` are all in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from debug_toolbar.panels import Panel
from django.conf import settings
from django.core.cache import caches
from django.template import Context, Engine

from .. import Observation, PantlerError
from ._backend import PantlerCache

__all__ = ["PantlerPanel"]

# The panel of the request that runs in this context, whatever threads and tasks it goes through.
_current: ContextVar[PantlerPanel | None] = ContextVar("pantler_panel", default=None)

#: Calls that a request's table shows; all are counted.
MOST_CALLS_SHOWN = 200

REASONS = {
    "absent": "never seen",
    "expired": "its time was over",
    "evicted": "made room for others",
    "deleted": "deleted",
    "invalidated": "invalidated by tag, prefix or flush",
    "rejected": "too large to keep",
}


def _observe(observation: Observation) -> None:
    """What the clients call. It stays with them, and costs this look where no panel is there."""
    panel = _current.get()
    if panel is not None:
        panel.observations.append(observation)


def _pantler_caches() -> Iterator[tuple[str, PantlerCache]]:
    for alias in settings.CACHES:
        cache = caches[alias]
        if isinstance(cache, PantlerCache):
            yield alias, cache


class PantlerPanel(Panel):
    """Hit ratio, miss reasons, tiers, and the time spent and saved, of one request."""

    is_async = True
    title = "Pantler"
    nav_title = "Pantler"

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.observations: list[Observation] = []

    @property
    def nav_subtitle(self) -> str:
        stats = self.get_stats()
        if not stats:
            return ""
        ratio = "" if stats["hit_ratio"] is None else f", {stats['hit_ratio']:.0f} % hits"
        return f"{stats['calls']} call{'' if stats['calls'] == 1 else 's'} in {stats['spent_ms']:.2f} ms{ratio}"

    def enable_instrumentation(self) -> None:
        for _, cache in _pantler_caches():
            for client in (cache.client, cache.async_client):
                if _observe not in client.observers:
                    client.observers = (*client.observers, _observe)
        _current.set(self)

    def disable_instrumentation(self) -> None:
        _current.set(None)

    def generate_stats(self, request: Any, response: Any) -> None:
        self.record_stats(summary(self.observations, self._mean_loads()))

    def _mean_loads(self) -> dict[str, float | None]:
        """Seconds that a load takes on average, by namespace: the service measures each from its lease to its fill."""
        found: dict[str, float | None] = {}
        asked = {_parts(each.target)[0] for each in self.observations}
        for _, cache in _pantler_caches():
            namespace = cache.client.namespace
            if namespace in asked and namespace not in found:
                try:
                    found[namespace] = cache.client.stats()["loads"]["mean_seconds"]
                except (PantlerError, KeyError, TypeError):
                    # A panel about a cache that is away still shows what it has.
                    found[namespace] = None
        return found

    def generate_server_timing(self, request: Any, response: Any) -> None:
        stats = self.get_stats()
        self.record_server_timing("pantler", f"Pantler, {stats['calls']} calls", stats["spent_ms"])

    @property
    def content(self) -> str:
        # By an engine of its own: a site's settings need not know the package's templates.
        return str(_template().render(Context(self.get_stats())))


@lru_cache(maxsize=1)
def _template() -> Any:
    return Engine(dirs=[str(Path(__file__).parent / "templates")]).get_template("pantler/panel.html")


def _parts(target: str) -> tuple[str, str, str, str]:
    """Namespace, view, key and query of a target: /v1/namespaces/shop/values/product-42 and …/value?key=…"""
    path, _, query = target.partition("?")
    parts = path.split("/", 5)
    if len(parts) < 5 or parts[1:3] != ["v1", "namespaces"]:
        return "", path, "", query
    key = unquote(parts[5]) if len(parts) > 5 else parse_qs(query).get("key", [""])[0]
    return unquote(parts[3]), parts[4], key, query


def summary(observations: list[Observation], mean_loads: dict[str, float | None]) -> dict[str, Any]:
    """What the panel shows; nothing but JSON, which the toolbar may store."""
    hits, stale, absent, waited, misses, batches, failed = 0, 0, 0, 0, 0, 0, 0
    tiers: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    hits_by_namespace: Counter[str] = Counter()
    calls: list[dict[str, Any]] = []
    for each in observations:
        namespace, view, key, query = _parts(each.target)
        said = (each.cache_status or b"").decode("latin-1").split("; ")
        detail = next((part[7:] for part in said if part.startswith("detail=")), "")
        # Who has just been told of a miss takes the lease with `peek`: the miss is counted already, a hit is what
        # somebody else has filled.
        peeks = "peek" in query.split("&")
        outcome = ""
        if peeks and view not in ("lease", "leases"):
            # A look that counts nowhere, at the service neither.
            said = []
        if each.error is not None or each.status >= 500 or each.status in (401, 403, 429):
            failed += 1
            outcome = (
                f"{type(each.error).__name__}: {each.error}"
                if each.error is not None
                else f"refused with {each.status}"
            )
        elif len(said) > 1 and said[1] == "hit" and detail != "early":
            if detail == "absent":
                absent += 1
                outcome = "remembered that there is nothing"
            else:
                outcome = f"hit in {detail}" if detail != "stale" else "stale hit"
                if peeks:
                    # The get before it was a miss, as the service counts too.
                    waited += 1
                    outcome = f"waited, and {outcome}"
                else:
                    hits += 1
                    stale += detail == "stale"
                    tiers[detail] += 1
                    hits_by_namespace[namespace] += 1
        elif len(said) > 1:
            if not peeks:
                misses += 1
                reasons[detail] += 1
            outcome = "takes the lease" if peeks else f"miss: {REASONS.get(detail, detail)}"
        elif view == "batch":
            batches += 1
        calls.append(
            {
                "method": each.method,
                "view": view,
                "key": key,
                "namespace": namespace,
                "status": each.status,
                "outcome": outcome,
                "ms": round(each.seconds * 1000, 3),
            }
        )
    saved: float | None = 0.0
    for namespace, count in hits_by_namespace.items():
        mean = mean_loads.get(namespace)
        saved = None if mean is None or saved is None else saved + count * mean
    return {
        "calls": len(observations),
        "shown": calls[:MOST_CALLS_SHOWN],
        "hits": hits,
        "stale": stale,
        "absent": absent,
        "waited": waited,
        "misses": misses,
        "batches": batches,
        "failed": failed,
        "hit_ratio": 100 * hits / (hits + misses) if hits + misses else None,
        "tiers": sorted(tiers.items()),
        "reasons": [[reason, REASONS.get(reason, ""), count] for reason, count in sorted(reasons.items())],
        "spent_ms": round(sum(each.seconds for each in observations) * 1000, 3),
        "saved_ms": None if saved is None else round(saved * 1000, 3),
    }
