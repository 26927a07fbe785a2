"""Redis's glob patterns, for `keys`, `iter_keys` and `delete_pattern`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple


class Pattern(NamedTuple):
    """A glob taken apart: all keys that it matches begin with `prefix`, and `matches` tells the others from them."""

    prefix: str
    #: None where every key that begins with `prefix` matches: the service can do that by itself.
    matches: Callable[[str], bool] | None


class _Part:
    """What stands between two `*`: a fixed number of characters, as an expression."""

    def __init__(self) -> None:
        self.length = 0
        self._text: list[str] = []

    def add(self, expression: str, length: int = 1) -> None:
        self._text.append(expression)
        self.length += length

    def compiled(self) -> re.Pattern[str]:
        return re.compile("".join(self._text), re.DOTALL)


def parse(glob: str, before: str = "", after: str = "") -> Pattern:
    """
    Reads a glob as Redis does: `*` is any text, `?` any character, `[abc]`, `[a-z]` and `[^a]` one of these or none of
    these, and `\\` takes the next character as it is. `before` and `after` stand around it in the key and are taken
    literally.
    """
    prefix = [before]
    parts = [_Part()]
    parts[0].add(re.escape(before), len(before))
    literal = True
    at = 0
    while at < len(glob):
        character = glob[at]
        at += 1
        if character == "*":
            literal = False
            parts.append(_Part())
        elif character == "?":
            literal = False
            parts[-1].add(".")
        elif character == "[":
            literal = False
            kind, at = _one_of(glob, at)
            parts[-1].add(kind)
        else:
            if character == "\\" and at < len(glob):
                character = glob[at]
                at += 1
            if literal:
                prefix.append(character)
            parts[-1].add(re.escape(character))
    start = "".join(prefix)
    if literal:
        start += after
    elif not after and all(not part.length for part in parts[1:]) and parts[0].length == len(start):
        return Pattern(start, None)
    parts[-1].add(re.escape(after), len(after))
    return Pattern(start, _matcher(parts))


def _matcher(parts: list[_Part]) -> Callable[[str], bool]:
    """
    Matches the first part at the start, the last at the end, and each of the others at the first place behind the one
    before. As each matches a fixed number of characters, no other choice of places can do better: nothing is tried
    twice, whoever wrote the glob.
    """
    first, last = parts[0].compiled(), parts[-1].compiled()
    middle = [(part.compiled(), part.length) for part in parts[1:-1] if part.length]
    first_length, last_length = parts[0].length, parts[-1].length
    if len(parts) == 1:
        return lambda text: first.fullmatch(text) is not None
    shortest = first_length + last_length + sum(length for _, length in middle)

    def matches(text: str) -> bool:
        end = len(text) - last_length
        if len(text) < shortest or first.match(text) is None or last.match(text, end) is None:
            return False
        at = first_length
        for part, length in middle:
            found = part.search(text, at, end)
            if found is None:
                return False
            at = found.start() + length
        return True

    return matches


def _one_of(glob: str, at: int) -> tuple[str, int]:
    """
    The expression for what stands in brackets from `at` on, and where it ends. As in Redis, brackets that are not
    closed end with the glob.
    """
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
