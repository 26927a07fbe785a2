"""The document and the metrics against the built service."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
import schemathesis
import yaml
from conftest import free_port, running
from document import EXACT, PATH, SERVED
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

HERE = Path(__file__).resolve().parent
DOCUMENTED = schemathesis.openapi.from_dict(EXACT)
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture(scope="session")
def stocked(service):
    """The service after a little of everything: hits, misses, writes, an error."""
    with requests.Session() as client:
        base = service + "/v1/namespaces/shop"
        for number in range(40, 45):
            answer = client.put(f"{base}/entries/product-{number}", json={"value": {"n": number}, "ttl": 3600})
            assert answer.status_code == 201, answer.text
        assert client.put(base + "/values/logo", data=b"\x89PNG", headers={"Content-Type": "image/png"}).ok
        assert client.post(base + "/counters/visits", json={"by": 1, "initial": 0}).status_code == 201
        assert client.get(base + "/entries/product-42").status_code == 200
        assert client.head(base + "/values/logo").status_code == 200
        assert client.get(base + "/entries/nothing").status_code == 404
        assert client.get(base + "/entries/" + "k" * 1025).status_code == 400
        assert client.delete(base + "/entries/product-44").status_code == 204
        lease = client.post(base + "/leases/product-45")
        assert lease.status_code == 201, lease.text
        assert client.post(base + "/leases/product-45").status_code == 409
        token = {"Lease": lease.json()["lease"]["token"]}
        assert client.put(base + "/entries/product-45", json={"value": 45}, headers=token).status_code == 201
        assert client.put(base + "/entries/product-45", json={"value": 45}, headers=token).status_code == 412
        assert client.post(base + "/leases/product-45").status_code == 200
    return service


def metrics(service, accept):
    answer = requests.get(service + "/metrics", headers={"Accept": accept}, timeout=10)
    assert answer.status_code == 200
    return answer


def test_the_document_is_served_as_it_is(service):
    answer = requests.get(service + "/openapi.yaml", timeout=10)
    assert answer.status_code == 200
    assert answer.content == PATH.read_bytes()
    assert requests.get(service + "/openapi.json", timeout=10).json() == yaml.safe_load(PATH.read_text())


def test_promtool_accepts_the_metrics(stocked):
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing: it comes with Debian's package prometheus"
    answer = metrics(stocked, "text/plain; version=0.0.4")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    told = subprocess.run([promtool, "check", "metrics"], input=answer.content, capture_output=True, timeout=30)
    assert (told.returncode, told.stdout + told.stderr) == (0, b"")


def test_openmetrics_is_served_where_asked_for_and_parses(stocked):
    answer = metrics(stocked, OPENMETRICS)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
    families = {family.name: family for family in openmetrics(answer.text)}
    assert families
    for family in families.values():
        assert family.documentation, f"{family.name} has no help"
        assert family.type != "unknown", f"{family.name} has no type"


def test_names_follow_the_conventions_of_prometheus(stocked):
    families = list(prometheus(metrics(stocked, "text/plain").text))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    for family in families:
        assert re.fullmatch(r"(pantler|process)_[a-z0-9_]+", family.name), family.name
        assert not family.name.endswith(("_milliseconds", "_ms", "_kb", "_ratio", "_percent")), family.name
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name.endswith("_total"), sample.name
            assert not set(sample.labels) & {"key", "tag", "path"}, f"{sample.name} has a label without a bound"


def test_both_formats_say_the_same(stocked):
    plain = {family.name for family in prometheus(metrics(stocked, "text/plain").text)}
    assert plain == {family.name for family in openmetrics(metrics(stocked, OPENMETRICS).text)}


def test_hits_and_misses_equal_the_gets_in_stats_and_metrics(stocked):
    told = requests.get(stocked + "/v1/namespaces/shop/stats", timeout=10).json()
    assert told["gets"] == told["hits"]["total"] + told["misses"]["total"] > 0
    assert told["hits"]["total"] == sum(count for tier, count in told["hits"].items() if tier != "total")
    assert told["misses"]["total"] == sum(count for reason, count in told["misses"].items() if reason != "total")
    totals = {"hits": 0.0, "misses": 0.0}
    for family in prometheus(metrics(stocked, "text/plain").text):
        for kind in totals:
            if family.name == f"pantler_{kind}":
                totals[kind] += sum(s.value for s in family.samples if s.labels.get("namespace") == "shop")
    assert totals == {kind: told[kind]["total"] for kind in totals}


class Namespace:
    """A namespace of the service, by the operations of the document. Every answer is held to what the document says of it."""

    def __init__(self, service, name):
        self.service = service
        self.name = name

    def call(self, operation, status, key=None, body=None, **headers_and_query):
        """Calls an operation by its name, and expects a status. Of what else comes, names in capitals are header fields."""
        documented = DOCUMENTED.find_operation_by_id(operation)
        path, query, headers = {"ns": self.name}, {}, {}
        if key is not None:
            (path if "{key}" in documented.path else query)["key"] = key
        for name, value in headers_and_query.items():
            (headers if name[0].isupper() else query)[name] = value
        content = {} if body is None else {"body": body, "media_type": next(iter(documented.get_request_payload_content_types()))}
        case = documented.Case(path_parameters=path, query=query, headers=headers, **content)
        answer = case.call_and_validate(base_url=self.service)
        assert answer.status_code == status, f"{operation}: {answer.status_code} {answer.text}"
        return answer

    def take(self, key, suffix="", **body):
        """The token of a lease of a key that is to be filled."""
        return self.call(f"takeLease{suffix}", 201, key, body).json()["lease"]["token"]


def cache_status(answer):
    return answer.headers["cache-status"][0]


@pytest.mark.parametrize("suffix", ["", "ByQuery"], ids=["key in path", "key in query"])
def test_a_lease_is_taken_prolonged_and_filled_once(service, suffix):
    leases = Namespace(service, "leases" + suffix.lower())
    given = leases.call(f"takeLease{suffix}", 201, "a/b")
    assert cache_status(given) == "pantler; fwd=uri-miss; detail=absent"
    token, ends = given.json()["lease"].values()
    held = leases.call(f"takeLease{suffix}", 409, "a/b", {"wait": 0.05})
    assert (held.json()["code"], held.json()["reason"]) == ("lease_held", "filling")
    assert int(held.headers["retry-after"][0]) >= held.json()["retry_after"] > 0
    listed = leases.call("listLeases", 200, prefix="a/", limit=10).json()
    assert listed["count"] == 1 and listed["leases"][0]["token"] == token[:4] + "…"
    assert leases.call("listLeases", 200, prefix="b").json() == {"leases": [], "count": 1}

    prolonged = leases.call(f"prolongLease{suffix}", 200, "a/b", {"ttl": 60}, Lease=token).json()["lease"]
    assert prolonged["token"] == token and prolonged["expires_at"] > ends
    assert leases.call(f"prolongLease{suffix}", 412, "a/c", {}, Lease=token).json()["code"] == "lease_lost"

    # What is refused for another reason leaves the lease.
    leases.call(f"putEntry{suffix}", 412, "a/b", {"value": 1}, **{"Lease": token, "If-Match": "*"})
    leases.call(f"putEntry{suffix}", 201, "a/b", {"value": 1, "ttl": 60}, Lease=token)
    assert leases.call(f"putEntry{suffix}", 412, "a/b", {"value": 2}, Lease=token).json()["code"] == "lease_lost"
    hit = leases.call(f"takeLease{suffix}", 200, "a/b", {"wait": 5})
    assert hit.json()["value"] == 1 and cache_status(hit).endswith("detail=memory")
    assert leases.call("listLeases", 200).json()["count"] == 0


@pytest.mark.parametrize("suffix", ["", "ByQuery"], ids=["key in path", "key in query"])
def test_a_lease_is_given_up_and_left_alone(service, suffix):
    leases = Namespace(service, "given-up" + suffix.lower())
    token = leases.take("a", suffix)
    leases.call(f"giveUpLease{suffix}", 204, "a", Lease=token)
    assert leases.call(f"giveUpLease{suffix}", 412, "a", Lease=token).json()["code"] == "lease_lost"
    leases.call(f"giveUpLease{suffix}", 204, "a", Lease=leases.take("a", suffix), retry_after=5)
    failed = leases.call(f"takeLease{suffix}", 409, "a", {"wait": 30})
    assert failed.json()["reason"] == "failed" and 0 < failed.json()["retry_after"] <= 5
    assert leases.call("getNamespaceStats", 200).json()["leases"]["failed"] == 1


OVERTAKEN = {
    "a write": ("putEntry", 201, "a", {"value": 1}),
    "a delete": ("deleteEntry", 404, "a", None),
    "its key": ("invalidate", 200, None, {"keys": ["a"]}),
    "a tag": ("invalidate", 200, None, {"tags": ["t"]}),
    "a tag, stale": ("invalidate", 200, None, {"tags": ["t"], "mode": "stale"}),
    "its prefix": ("invalidate", 200, None, {"prefix": "a"}),
    "a flush": ("invalidate", 200, None, {"all": True}),
}


@pytest.mark.parametrize("change", OVERTAKEN)
def test_a_lease_is_lost_to(service, change):
    operation, status, key, body = OVERTAKEN[change]
    leases = Namespace(service, "lost-to-" + re.sub("[^a-z]+", "-", change))
    token = leases.take("a")
    leases.call(operation, status, key, body)
    lost = leases.call("putEntry", 412, "a", {"value": "old", "tags": ["t"]}, Lease=token)
    assert lost.json()["code"] == "lease_lost"
    leases.call("giveUpLease", 412, "a", Lease=leases.take("b"))
    assert leases.call("getNamespaceStats", 200).json()["leases"]["lost"] == 2


def test_who_waits_gets_the_entry_as_it_is_filled(service):
    leases = Namespace(service, "waited")
    token = leases.take("a")
    with ThreadPoolExecutor() as callers:
        waiting = callers.submit(leases.call, "takeLease", 200, "a", {"wait": 10})
        while leases.call("listLeases", 200).json()["leases"][0]["waiters"] == 0:
            time.sleep(0.01)
        leases.call("putValue", 201, "a", b"tea", Lease=token)
        assert waiting.result().json()["value_base64"] == "dGVh"
    waits = leases.call("getNamespaceStats", 200).json()["waits"]
    assert waits["ended"] == 1 and waits["seconds"] > 0


def test_a_stale_entry_is_handed_out_while_one_caller_refreshes_it(service):
    leases = Namespace(service, "stale")
    leases.call("putEntry", 201, "a", {"value": 1, "ttl": 60, "stale_ttl": 60})
    leases.call("invalidate", 200, body={"keys": ["a"], "mode": "stale"})
    given = leases.call("takeLease", 201, "a")
    assert given.json()["stale_entry"]["value"] == 1 and "fresh" not in given.json()
    assert re.fullmatch("pantler; fwd=stale; ttl=-[0-9]+; detail=stale", cache_status(given))
    other = leases.call("takeLease", 200, "a")
    assert other.json()["value"] == 1 and cache_status(other).endswith("detail=stale")
    leases.call("putEntry", 200, "a", {"value": 2}, Lease=given.json()["lease"]["token"])
    assert leases.call("takeLease", 200, "a").json()["value"] == 2


@pytest.mark.parametrize("suffix", ["", "ByQuery"], ids=["key in path", "key in query"])
def test_who_was_told_of_the_miss_asks_for_the_lease_without_another_get(service, suffix):
    leases = Namespace(service, "peeked" + suffix.lower())
    leases.call(f"getEntry{suffix}", 404, "a")
    token = leases.call(f"takeLease{suffix}", 201, "a", {}, peek="true").json()["lease"]["token"]
    leases.call(f"takeLease{suffix}", 409, "a", {"wait": 0.05}, peek="true")
    leases.call(f"putEntry{suffix}", 201, "a", {"value": 1}, Lease=token)
    leases.call(f"takeLease{suffix}", 200, "a", {}, peek="true")
    stats = leases.call("getNamespaceStats", 200).json()
    assert (stats["gets"], stats["misses"]["total"], stats["leases"]["given"], stats["leases"]["refused"]) == (1, 1, 1, 1)


def test_a_batch_has_entries_leases_and_what_others_fill(service):
    leases = Namespace(service, "batches")
    leases.call("putEntry", 201, "here", {"value": 1})
    leases.take("filled by somebody else")
    keys = {"keys": ["here", "filled by somebody else", "not here", "nor here"], "ttl": 30, "wait": 1}
    told = leases.call("leaseBatch", 200, body=keys).json()
    assert [entry["key"] for entry in told["entries"]] == ["here"]
    assert [(busy["key"], busy["reason"]) for busy in told["busy"]] == [("filled by somebody else", "filling")]
    tokens = {lease["key"]: lease["token"] for lease in told["leases"]}
    assert tokens.keys() == {"not here", "nor here"}
    entries = [
        {"key": "not here", "value": 2, "lease": tokens["not here"]},
        {"key": "nor here", "value": 3, "lease": tokens["not here"]},
        {"key": "here", "value": 4, "lease": None},
    ]
    stored = leases.call("setBatch", 200, body={"entries": entries}).json()
    assert [entry["key"] for entry in stored["entries"]] == ["not here", "here"]
    assert [(error["key"], error["code"]) for error in stored["errors"]] == [("nor here", "lease_lost")]


def test_a_batch_has_values_of_bytes_as_they_are(service):
    batch = Namespace(service, "raw")
    batch.call("putEntry", 201, "a", {"value": {"n": 1}})
    values = {"b": b"\x80\x05N.", "c": b"", "d": bytes(range(256)) * 200}
    for key, value in values.items():
        batch.call("putValue", 201, key, value)
    answer = batch.call("getBatch", 200, body={"keys": ["none", "d", "a", "b", "c"]}, Prefer="return=minimal, bytes=raw")
    assert answer.headers["content-type"] == ["application/vnd.pantler.batch"]
    assert answer.headers["preference-applied"] == ["return=minimal, bytes=raw"]
    line, rest = answer.content.split(b"\n", 1)
    told, rest = json.loads(rest[: int(line)]), rest[int(line) :]
    assert told["values"] == {"a": {"n": 1}} and told["missing"] == ["none"]
    found = {}
    for key, about in told["bytes"].items():
        assert about["content_type"] == "application/octet-stream"
        found[key], rest = rest[: about["length"]], rest[about["length"] :]
    assert found == values and rest == b""
    plain = batch.call("getBatch", 200, body={"keys": ["a"]}, Prefer="return=minimal, bytes=raw")
    assert plain.json() == {"values": {"a": {"n": 1}}, "missing": []}
    assert plain.headers["preference-applied"] == ["return=minimal"]


def test_a_negative_entry_is_neither_a_hit_nor_a_miss(service):
    nothing = Namespace(service, "negative")
    nothing.call("putNamespace", 201, body={"negative_ttl": 5, "early_refresh": 1})
    nothing.call("putEntry", 201, "a", {"absent": True, "ttl": 3600}, Lease=nothing.take("a"))
    for view in ("Entry", "Value"):
        for key in ("", "ByQuery"):
            absent = nothing.call(f"get{view}{key}", 404, "a")
            assert absent.json()["code"] == "entry_absent"
            assert re.fullmatch("pantler; hit; ttl=[0-4]; detail=absent", cache_status(absent))
            nothing.call(f"get{view}{key}", 204, "a", miss="204")
            nothing.call(f"head{view}{key}", 404, "a")
    found = nothing.call("takeLease", 200, "a")
    assert found.json()["absent"] is True and cache_status(found).endswith("detail=absent")
    assert nothing.call("getBatch", 200, body={"keys": ["a"]}).json() == {"entries": [], "missing": [], "absent": ["a"]}
    assert nothing.call("leaseBatch", 200, body={"keys": ["a"]}).json()["absent"] == ["a"]
    assert nothing.call("listEntries", 200).json()["entries"][0]["absent"] is True
    stats = nothing.call("getNamespaceStats", 200).json()
    assert stats["absent_hits"] == 15 and stats["hits"]["total"] == 0 and stats["gets"] == stats["misses"]["total"]

    # To all that changes entries it is none, but it can be deleted.
    assert nothing.call("patchEntry", 404, "a", {"ttl": 5}).json()["reason"] == "absent"
    assert nothing.call("addToCounter", 404, "a", {"by": 1}).json()["reason"] == "absent"
    nothing.call("putEntry", 412, "a", {"value": 1}, **{"If-Match": "*"})
    nothing.call("putEntry", 201, "a", {"value": 1}, **{"If-None-Match": "*"})
    nothing.call("setBatch", 200, body={"entries": [{"key": "b", "absent": True}]})
    nothing.call("deleteEntry", 204, "b")
    assert nothing.call("getEntry", 404, "b").json()["reason"] == "deleted"


METHODS = ("get", "head", "put", "post", "patch", "delete")
OPERATIONS = [(path, method) for path, item in SERVED["paths"].items() for method in METHODS if method in item]
RANKS = ("read", "write", "admin")
PATTERNS = ("mine", "min*", "other", "*")


@pytest.fixture(scope="session")
def guarded(tmp_path_factory):
    """Two URLs of one service: one where nobody is asked for a token, and one where everybody is; and tokens of all roles."""
    open_port, guarded_port = free_port(), free_port()
    folder = tmp_path_factory.mktemp("guarded")
    configuration = folder / "pantler.yaml"
    configuration.write_text(
        "server:\n  listen:\n"
        f"    - address=127.0.0.1 port={open_port} tokens=false\n"
        f"    - address=127.0.0.1 port={guarded_port} tokens=true\n"
        "limits:\n  failed_tokens: 100000\n"
    )
    admin = f"http://127.0.0.1:{open_port}"
    with running(folder, admin, "--config", str(configuration)):
        tokens = {}
        for role in RANKS:
            for pattern in PATTERNS:
                made = requests.post(admin + "/v1/tokens", json={"role": role, "namespaces": [pattern]}, timeout=10)
                assert made.status_code == 201, made.text
                tokens[role, pattern] = made.json()["token"]
        yield admin, f"http://127.0.0.1:{guarded_port}", tokens, folder / "log"


def attempt(url, path, method, token=None, namespace="mine", **headers):
    """Makes a call of an operation, which need not make sense beyond its path."""
    target = path.replace("{ns}", namespace).replace("{key}", "k").replace("{id}", "aaaaaaaa")
    if target.endswith(("/entry", "/value", "/counter", "/lease")):
        target += "?key=k"
    if token is not None:
        headers["Authorization"] = "Bearer " + token
    body = {} if method in ("put", "post", "patch") else None
    return requests.request(method.upper(), url + target, headers=headers, json=body, timeout=10)


def test_every_answer_says_whose_it_is(guarded):
    """Whatever is called, and whether it is answered or refused."""
    admin, url, tokens, _ = guarded
    statuses = set()
    for path, method in OPERATIONS:
        for base, token in ((admin, None), (url, None), (url, tokens["read", "other"])):
            answer = attempt(base, path, method, token, "echo", **{"X-Request-ID": f"{method}-{len(statuses)}"})
            assert answer.headers.get("X-Request-ID") == f"{method}-{len(statuses)}", f"{method} {path}: {answer.headers}"
            statuses.add(answer.status_code)
    assert {200, 400, 401, 403, 404} <= statuses
    for malformed in ("two words", '"', "back\\slash", "x" * 65):
        assert "X-Request-ID" not in requests.get(admin + "/livez", headers={"X-Request-ID": malformed}, timeout=10).headers


def allowed(role, pattern, need):
    """Whether a token of a role in some namespaces may call what has such an `x-pantler-role`, of the namespace `mine`."""
    if need in ("none", "any"):
        return True
    needed, _, everywhere = need.partition(":")
    covers = pattern == "*" if everywhere else pattern != "other"
    return covers and RANKS.index(role) >= RANKS.index(needed)


@pytest.mark.parametrize("path,method", OPERATIONS, ids=[f"{method} {path}" for path, method in OPERATIONS])
def test_an_operation_needs_what_the_document_says(guarded, path, method):
    admin, url, tokens, _ = guarded
    operation = SERVED["paths"][path][method]
    need = operation["x-pantler-role"]
    assert (operation.get("security") == []) == (need == "none")
    worthless = ["pt_abcdefgh_" + "x" * 43, "x", tokens["admin", "*"][:-1] + "?", tokens["admin", "*"] + " "  + tokens["read", "*"]]
    for token in [None, *worthless]:
        told = attempt(url, path, method, token)
        if need == "none":
            assert told.status_code not in (401, 403)
            continue
        assert told.status_code == 401, f"{token is None}: {told.text}"
        challenge = 'Bearer realm="pantler"' + ("" if token is None else ', error="invalid_token"')
        assert told.headers["WWW-Authenticate"] == challenge
    for (role, pattern), token in tokens.items():
        told = attempt(url, path, method, token)
        assert told.status_code not in (401, 429), f"{role} of {pattern}: {told.text}"
        assert (told.status_code != 403) == allowed(role, pattern, need), f"{role} of {pattern}: {told.status_code}"
    assert attempt(admin, path, method).status_code not in (401, 403, 429)
    foreign = attempt(url, path, method, tokens["admin", "*"], Origin="https://evil.example").status_code
    assert (foreign == 403) == (method not in ("get", "head"))
    if "{ns}" in path and method != "head":
        refused = [attempt(url, path, method, tokens["admin", "other"], name) for name in ("mine", "nowhere")]
        assert {(r.status_code, r.content, r.headers["WWW-Authenticate"]) for r in refused} == {
            (403, refused[0].content, 'Bearer realm="pantler", error="insufficient_scope"')
        }


def test_the_life_of_a_token(guarded):
    _, url, tokens, _ = guarded
    headers = {"Authorization": "Bearer " + tokens["admin", "*"]}
    documented = {name: DOCUMENTED.find_operation_by_id(name) for name in
                  ("makeToken", "getToken", "listTokens", "rotateToken", "revokeToken", "getOwnToken", "listListeners")}

    def call(name, status, id=None, body=None, token=None):
        content = {} if body is None else {"body": body, "media_type": "application/json"}
        path = {} if id is None else {"id": id}
        sent = headers if token is None else {"Authorization": "Bearer " + token}
        case = documented[name].Case(path_parameters=path, headers=sent, **content)
        answer = case.call_and_validate(base_url=url)
        assert answer.status_code == status, f"{name}: {answer.status_code} {answer.text}"
        return answer.json() if answer.text else None

    made = call("makeToken", 201, body={"role": "write", "namespaces": ["mine"], "note": "t", "ttl": 600})
    secret = made.pop("token")
    assert call("getToken", 200, made["id"]) == made
    assert made in call("listTokens", 200)["tokens"]
    assert call("getOwnToken", 200, token=secret)["last_used"] is not None
    rotated = call("rotateToken", 200, made["id"], {"grace": 600})["token"]
    for token in (secret, rotated):
        assert call("getOwnToken", 200, token=token)["id"] == made["id"]
    call("revokeToken", 204, made["id"])
    for token in (secret, rotated):
        call("getOwnToken", 401, token=token)
    call("getToken", 404, made["id"])
    told = call("listListeners", 200)
    assert [listener["tokens"] for listener in told["listeners"]] == [False, True]


def test_the_audit_log_names_who_has_dropped_a_namespace(guarded):
    _, url, tokens, log = guarded
    headers = {"Authorization": "Bearer " + tokens["admin", "*"]}
    dropped = url + "/v1/namespaces/audited"
    assert requests.put(dropped, json={}, headers=headers, timeout=10).status_code == 201
    assert requests.post(dropped + "/invalidate", json={"all": True}, headers=headers, timeout=10).status_code == 200
    assert requests.delete(dropped + "?confirm=audited", headers=headers, timeout=10).status_code == 204
    lines = [line for line in log.read_text().splitlines() if "namespace=audited" in line]
    assert [what for line in lines for what in ("policy changed", "namespace flushed", "namespace dropped") if what in line] == [
        "policy changed", "namespace flushed", "namespace dropped"
    ]
    assert all(tokens["admin", "*"].split("_")[1] in line for line in lines)
    assert not any(token[12:] in log.read_text() for token in tokens.values())


def test_schemathesis_finds_no_difference_between_document_and_service(stocked, tmp_path):
    # A namespace of its own, since the run deletes those that it knows of.
    pages = stocked + "/v1/namespaces/pages"
    entries = [{"key": key, "value": 1} for key in "abc"]
    assert requests.post(pages + "/batch/set", json={"entries": entries}, timeout=10).ok
    page = requests.get(pages + "/entries", params={"limit": 2}, timeout=10).json()
    assert page["cursor"], "three entries do not fit on a page of two"
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(EXACT))
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        f"--config-file={HERE / 'schemathesis.toml'}",
        "run",
        str(document),
        f"--url={stocked}",
        "--checks=all",
        "--phases=examples,coverage,fuzzing,stateful",
        f"--max-examples={os.environ.get('PANTLER_SCHEMATHESIS_EXAMPLES', '30')}",
        f"--seed={os.environ.get('PANTLER_SCHEMATHESIS_SEED', '20260701')}",
        "--continue-on-failure",
    ]
    environment = os.environ | {
        "PANTLER_SCHEMATHESIS_HOOKS": str(HERE / "hooks.py"),
        "PANTLER_URL": stocked,
        "PANTLER_CURSOR": page["cursor"],
        "PANTLER_CURSOR_NAMESPACE": "pages",
    }
    told = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=900)
    assert told.returncode == 0, told.stdout[-30_000:] + told.stderr[-4000:]
