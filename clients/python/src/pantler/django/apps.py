"""
The app: `"pantler.django"` in INSTALLED_APPS. It has no models; it follows changes of others', and looks at the
settings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.apps import AppConfig
from django.core import checks


class PantlerConfig(AppConfig):
    name = "pantler.django"
    label = "pantler"
    verbose_name = "Pantler"

    def ready(self) -> None:
        from . import querysets

        querysets.connect()
        checks.register(_check(production=False), checks.Tags.caches)
        # What matters where visitors come: `manage.py check --deploy`.
        checks.register(_check(production=True), checks.Tags.caches, deploy=True)


def _check(production: bool) -> Callable[..., list[checks.CheckMessage]]:
    def check(app_configs: Any, **named: Any) -> list[checks.CheckMessage]:
        from .checks import static_findings

        kinds = {"error": checks.Error, "warning": checks.Warning, "info": checks.Info}
        return [
            kinds[each.level](
                f"{each.alias}: {each.message}." if each.alias else f"{each.message}.", hint=f"{each.hint}.", id=each.id
            )
            for each in static_findings()
            if each.production == production and each.level != "info"
        ]

    return check
