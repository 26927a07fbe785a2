"""How a program of a language is run against the service, and what it has left there."""

import os
import shutil
import subprocess

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families as families

# What every program keeps under a key that is hard to write down in a URL; each value is its key.
ODD_KEYS = {"a b", "a+b", "50%", "user/42", "what?", "#1", "crème ☕", "&=;", ".", "..", "/rooted", "a//b"}


def need(*commands):
    """Skips, by name, what needs a command that this machine does not have and could not be given."""
    for command in commands:
        if shutil.which(command) is None:
            pytest.skip(f"there is no {command} here")


def run(*command, service=None, folder, seconds=300, **variables):
    """Runs a command to its end, which has to be a good one."""
    environment = os.environ | variables | ({} if service is None else {"PANTLER_URL": service})
    told = subprocess.run(
        [str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds
    )
    assert told.returncode == 0, f"{told.stdout[-8000:]}{told.stderr[-8000:]}"


def kept(service, namespace):
    """Every key of a namespace with its value."""
    url, cursor, keys = f"{service}/v1/namespaces/{namespace}", None, []
    while cursor or not keys:
        page = requests.get(f"{url}/entries", params={"limit": 1000} | ({"cursor": cursor} if cursor else {}), timeout=10).json()
        keys += [entry["key"] for entry in page["entries"]]
        cursor = page["cursor"]
        if not cursor:
            break
    entries = []
    for start in range(0, len(keys), 1000):
        answer = requests.post(f"{url}/batch/get", json={"keys": keys[start : start + 1000]}, timeout=10)
        entries += answer.json()["entries"]
    return {entry["key"]: entry.get("value") for entry in entries}


def check_odd_keys(service, namespace):
    """Whatever a language's URL builder wrote, the service took it for the keys that were meant."""
    found = kept(service, namespace)
    assert {key: found.get(key) for key in ODD_KEYS} == {key: key for key in ODD_KEYS}


def gets_and_puts(service):
    """How many gets and puts of entries there were since the start, by the lane that they took."""
    told = {"fast": 0, "full": 0}
    for family in families(requests.get(f"{service}/metrics", headers={"Accept": "text/plain"}, timeout=10).text):
        if family.name == "pantler_requests":
            for sample in family.samples:
                if sample.labels["operation"] in ("get", "put"):
                    told[sample.labels["lane"]] += sample.value
    return told
