"""The document and the metrics against the built service."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import yaml
from document import EXACT, PATH
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

HERE = Path(__file__).resolve().parent
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
        "PANTLER_CURSOR": page["cursor"],
        "PANTLER_CURSOR_NAMESPACE": "pages",
    }
    told = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=900)
    assert told.returncode == 0, told.stdout[-30_000:] + told.stderr[-4000:]
