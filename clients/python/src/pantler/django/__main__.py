"""`python -m pantler.django check`: what is wrong with a site's settings, and what to do about it."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checks import Finding


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 where nothing is wrong, 1 where something is, 2 for arguments that cannot be."""
    parser = argparse.ArgumentParser(
        prog="python -m pantler.django", description="Looks at the caches of a Django site."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="check")
    check = commands.add_parser(
        "check",
        help="says what is wrong with the settings",
        description=(
            "Says what is wrong with the settings of a site's caches, and what to do about it. Asks the service, and"
            " leaves a note in the namespace by which sites tell each other apart. Exit status: 0 where nothing is"
            " wrong, 1 where something is, be it an error or a warning."
        ),
    )
    check.add_argument(
        "--settings", help="the settings module; otherwise DJANGO_SETTINGS_MODULE, or what ./manage.py says"
    )
    check.add_argument("--pythonpath", help="a folder to look for it in, besides the current one")
    check.add_argument(
        "--output", choices=("table", "json"), default="table", help="for people (default) or for programs"
    )
    check.add_argument("--no-network", action="store_true", help="look at the settings alone")
    # For `check` itself: what another process makes of a key.
    hidden = commands.add_parser("key-of-another-process")
    hidden.add_argument("alias")
    chosen = parser.parse_args(arguments)
    if chosen.command == "key-of-another-process":
        return _show_key(chosen.alias)
    if chosen.pythonpath:
        sys.path.insert(0, os.path.abspath(chosen.pythonpath))
        os.environ["PYTHONPATH"] = os.pathsep.join(
            filter(None, [os.path.abspath(chosen.pythonpath), os.environ.get("PYTHONPATH")])
        )
    settings_module = chosen.settings or os.environ.get("DJANGO_SETTINGS_MODULE") or _settings_of_manage()
    if not settings_module:
        check.error(
            "which settings? Name them by --settings mysite.settings or DJANGO_SETTINGS_MODULE, or run it in the folder"
            " of manage.py"
        )
    # In the environment, for the process that makes keys too.
    os.environ["DJANGO_SETTINGS_MODULE"] = settings_module

    import django

    try:
        django.setup()
    except Exception as failure:
        return _unreadable(failure, chosen.output)
    found, facts = _look(network=not chosen.no_network)
    wrong = any(each.level != "info" for each in found)
    if chosen.output == "json":
        print(json.dumps({"ok": not wrong, "findings": [_as_json(each) for each in found], "caches": facts}, indent=2))
    else:
        _print(found, facts)
    return 1 if wrong else 0


def _settings_of_manage() -> str | None:
    """The settings module that the site's manage.py names, where one is in the current folder. It is not run."""
    try:
        text = Path("manage.py").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    named = re.search(r"""["']DJANGO_SETTINGS_MODULE["']\s*[,\]]\s*(?:=\s*)?["']([\w.]+)["']""", text)
    return named[1] if named else None


def _look(network: bool) -> tuple[list[Finding], dict[str, Any]]:
    from django.conf import settings
    from django.core.cache import caches

    from ._backend import PantlerCache
    from .checks import key_function_findings, live_findings, static_findings

    found = static_findings()
    unusable = {each.alias for each in found if each.id == "pantler.E001"}
    facts: dict[str, Any] = {}
    for alias, config in settings.CACHES.items():
        facts[alias] = {"backend": config.get("BACKEND")}
        if alias in unusable:
            continue
        cache = caches[alias]
        if not isinstance(cache, PantlerCache):
            continue
        if network:
            found += live_findings(alias, cache, config, facts[alias])
        found += key_function_findings(alias, cache, [sys.executable, "-m", "pantler.django"])
    order = ("error", "warning", "info")
    return sorted(dict.fromkeys(found), key=lambda each: order.index(each.level)), facts


def _show_key(alias: str) -> int:
    import django

    django.setup()
    from django.core.cache import caches

    print(json.dumps(caches[alias].make_key("key-of-another-process")))
    return 0


def _unreadable(failure: Exception, output: str) -> int:
    message = f"the settings cannot be read: {type(failure).__name__}: {failure}"
    hint = "run it where `manage.py check` runs, or name the folder by --pythonpath"
    if output == "json":
        finding = {"id": "pantler.E000", "level": "error", "alias": None, "message": message, "hint": hint}
        print(json.dumps({"ok": False, "findings": [finding], "caches": {}}, indent=2))
    else:
        print(f"error    pantler.E000  {message}\n         {hint}")
    return 1


def _as_json(finding: Finding) -> dict[str, Any]:
    return {name: getattr(finding, name) for name in ("id", "level", "alias", "message", "hint")}


def _print(found: list[Finding], facts: dict[str, Any]) -> None:
    for alias, known in facts.items():
        shown = "; ".join(
            f"{name.replace('_', ' ')} {_shown(value)}" for name, value in known.items() if name != "backend"
        )
        print(f"{alias}: {known['backend']}{f' ({shown})' if shown else ''}")
    print()
    if not found:
        print("Nothing is wrong.")
    for each in found:
        where = f"{each.alias}: " if each.alias else ""
        print(f"{each.level:<8} {each.id}")
        print(textwrap.fill(f"{where}{each.message}.", 110, initial_indent="  ", subsequent_indent="  "))
        print(textwrap.fill(f"To do: {each.hint}.", 110, initial_indent="  ", subsequent_indent="  "))


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    sys.exit(main())
