"""What JSON Schema cannot say about Pantler's requests, told to Schemathesis's generators.

Nothing here hides an answer from a check: it only draws valid requests where the document says in words what is valid.
"""

import os
from datetime import UTC, datetime, timedelta
from itertools import cycle
from uuid import uuid4

import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode


def utf8(limit: int, minimum: int = 1) -> st.SearchStrategy[str]:
    """Text without NUL whose UTF-8 has `minimum` to `limit` bytes: a schema's maxLength counts characters."""
    characters = st.characters(codec="utf-8", exclude_characters="\x00")
    return st.one_of(
        st.text(characters, min_size=minimum, max_size=limit // 4),
        st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=minimum, max_size=limit),
    )


schemathesis.openapi.format("pantler-key", utf8(1024))
schemathesis.openapi.format("pantler-prefix", utf8(1024, minimum=0))
schemathesis.openapi.format("pantler-tag", utf8(255))

# What a line of text may hold, in 200 bytes.
line = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"])
schemathesis.openapi.format("pantler-note", st.text(line, max_size=50))

# Schemathesis itself sends letters and digits alone in headers, and entity tags stand in quotes.
opaque = st.one_of(st.integers(1, 99).map(str), st.from_regex(r"[!#-~]{0,20}", fullmatch=True))
entity_tag = st.builds('{}"{}"'.format, st.sampled_from(["", "", "W/"]), opaque)
schemathesis.openapi.format(
    "pantler-entity-tags", st.one_of(st.just("*"), entity_tag, st.lists(entity_tag, min_size=1, max_size=4).map(", ".join))
)

# A cursor is what a listing gave; the test that starts the run has one, and the namespace that it is of.
CURSOR_NAMESPACE = os.environ.get("PANTLER_CURSOR_NAMESPACE", "")
schemathesis.openapi.format("pantler-cursor", st.just(os.environ.get("PANTLER_CURSOR", "")))

# The only moments that are sent are expiries, and an expiry lies ahead.
START = datetime(2030, 1, 1, tzinfo=UTC)
schemathesis.openapi.format(
    "date-time",
    st.builds(
        lambda milliseconds, zone: (START + timedelta(milliseconds=milliseconds)).strftime("%Y-%m-%dT%H:%M:%S.%f") + zone,
        st.integers(min_value=0, max_value=60 * 365 * 86_400_000),
        st.sampled_from(["Z", "+00:00", "-09:30", "+05:45"]),
    ),
)


def ahead(moment: object) -> object:
    """Schemathesis reuses what earlier answers told: an expiry that has passed meanwhile is put off."""
    if not isinstance(moment, str):
        return moment
    told = datetime.fromisoformat(moment)
    return moment if told > START else told.replace(year=2099, month=3, day=1).isoformat()


# The tokens of leases that answers gave: a link hands them on. All others are made up, and nobody's.
given = set()
turns = cycle(["taken", "none", "made up"])


def place_of_key(case):
    return case.path_parameters if "{key}" in case.path else case.query


@schemathesis.hook
def after_call(context, case, response):
    """Remembers a lease that was given."""
    if response.status_code == 201 and case.method == "POST" and "/lease" in case.path:
        given.add(response.json()["lease"]["token"])


def take_lease(case) -> None:
    """Has a part of the calls with a token that was made up be made under a lease that is taken for them, and a part under none.

    A fill is made without conditions then, which hardly ever hold of what is not there yet.
    """
    turn = next(turns)
    if case.headers["Lease"] in given or turn == "made up":
        return
    if turn == "none" and case.method == "PUT":
        del case.headers["Lease"]
        return
    key = place_of_key(case)["key"] = uuid4().hex
    lease = f"{os.environ['PANTLER_URL']}/v1/namespaces/{case.path_parameters['ns']}/leases/{key}"
    case.headers["Lease"] = requests.post(lease, timeout=10).json()["lease"]["token"]
    for name in ("If-Match", "If-None-Match"):
        case.headers.pop(name, None)


def wait_for_nobody(case) -> None:
    """Has a call that would wait for longer than the run can ask for what nobody else fills, so that it is answered at once."""
    body = case.body
    if isinstance(body, dict) and body.get("wait", 0) > 0.1:
        if "keys" in body:
            body["keys"] = [uuid4().hex for _ in body["keys"]]
        else:
            place_of_key(case)["key"] = uuid4().hex


@schemathesis.hook
def before_call(context, case, kwargs):
    """What OpenAPI cannot say of two parameters at a time, or of the time."""
    if case.meta is None or not case.meta.generation.mode == GenerationMode.POSITIVE:
        return
    # `*/*` is any media type but multipart, and Schemathesis stands for it by some that it can write, multipart among them.
    if case.media_type and case.media_type.startswith(("*/", "multipart/")):
        case.media_type = "application/octet-stream"
    query = case.query or {}
    if "ttl" in query and "expires_at" in query:
        del query["expires_at"]
    for place in (query, case.body):
        if isinstance(place, dict) and "expires_at" in place:
            place["expires_at"] = ahead(place["expires_at"])
    # A namespace is dropped by who says its name once more.
    if "confirm" in query:
        query["confirm"] = case.path_parameters["ns"]
    if "Lease" in (case.headers or {}):
        take_lease(case)
    wait_for_nobody(case)
    # The cursor that there is belongs to one listing.
    if "cursor" in query:
        case.path_parameters["ns"] = CURSOR_NAMESPACE
        query.pop("prefix", None)
