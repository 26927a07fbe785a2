"""Redis's glob patterns, for `keys`, `iter_keys` and `delete_pattern`."""

from __future__ import annotations

import re
from typing import NamedTuple


class Pattern(NamedTuple):
    """A glob taken apart: all keys that it matches begin with `prefix`, and `matches` tells the others from them."""

    prefix: str
    #: None where every key that begins with `prefix` matches: the service can do that by itself.
    matches: re.Pattern[str] | None


def parse(glob: str, before: str = "", after: str = "") -> Pattern:
    """
    Reads a glob as Redis does: `*` is any text, `?` any character, `[abc]`, `[a-z]` and `[^a]` one of these or none of these, and `\\` takes the
    next character as it is. `before` and `after` stand around it in the key and are taken literally.
    """
    prefix = [before]
    expression = [re.escape(before)]
    literal = True
    at = 0
    while at < len(glob):
        character = glob[at]
        at += 1
        if character == "*":
            # Several in a row are one: `(?s:.*)` repeated would be tried in all combinations.
            while at < len(glob) and glob[at] == "*":
                at += 1
            if literal and at == len(glob) and not after:
                return Pattern("".join(prefix), None)
            literal = False
            expression.append(".*")
        elif character == "?":
            literal = False
            expression.append(".")
        elif character == "[":
            literal = False
            kind, at = _one_of(glob, at)
            expression.append(kind)
        else:
            if character == "\\" and at < len(glob):
                character = glob[at]
                at += 1
            if literal:
                prefix.append(character)
            expression.append(re.escape(character))
    if literal:
        prefix.append(after)
    expression.append(re.escape(after))
    return Pattern("".join(prefix), re.compile("".join(expression) + r"\Z", re.DOTALL))


def _one_of(glob: str, at: int) -> tuple[str, int]:
    """The expression for what stands in brackets from `at` on, and where it ends. As in Redis, brackets that are not closed end with the glob."""
    negated = at < len(glob) and glob[at] == "^"
    if negated:
        at += 1
    members = []
    while at < len(glob) and glob[at] != "]":
        if glob[at] == "\\" and at + 1 < len(glob):
            at += 1
        first = last = glob[at]
        if at + 2 < len(glob) and glob[at + 1] == "-":
            last = glob[at + 2]
            at += 2
        at += 1
        first, last = min(first, last), max(first, last)
        members.append(re.escape(first) if first == last else f"{re.escape(first)}-{re.escape(last)}")
    at += 1
    if not members:
        # `[]` matches nothing, `[^]` anything.
        return ("." if negated else r"[^\s\S]"), at
    return f"[{'^' if negated else ''}{''.join(members)}]", at
