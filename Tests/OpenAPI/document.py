"""openapi/openapi.yaml as it is served, and as exactly as the service holds to it."""

from pathlib import Path

import yaml

PATH = Path(__file__).resolve().parents[2] / "openapi/openapi.yaml"


def merged(target, patch):
    """The target with a merge patch (RFC 7396) applied."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def without_patches(node):
    """The document with every `x-exact` applied: what generators of clients cannot read is in its place."""
    if isinstance(node, list):
        return [without_patches(item) for item in node]
    if not isinstance(node, dict):
        return node
    patch = node.get("x-exact", {})
    return {key: without_patches(value) for key, value in merged(node, patch).items() if key != "x-exact"}


def exact(served):
    """The document that the service is held to: patches applied, and the head of a GET promised to a HEAD."""
    result = without_patches(served)
    for item in result["paths"].values():
        if "head" in item:
            item["head"]["responses"] = item["get"]["responses"]
    return result


SERVED = yaml.safe_load(PATH.read_text())
EXACT = exact(SERVED)
