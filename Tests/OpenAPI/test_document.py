"""The document by itself: valid, its examples true to its schemas, its codes those of the sources."""

import json
import re
from pathlib import Path

import pytest
from document import EXACT, SERVED
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

ROOT = Path(__file__).resolve().parents[2]
PROBLEMS = (ROOT / "Sources/PantlerModel/Problem.swift").read_text()
METHODS = {"get", "head", "put", "patch", "post", "delete"}
# Every schema is judged as the service holds to it, and as a generator of clients reads it.
REGISTRY = Registry().with_resources(
    [(f"urn:{name}", Resource(contents=contents, specification=DRAFT202012))
     for name, contents in (("exact", EXACT), ("served", SERVED))]
)


def resolve(node):
    """The node of the exact document that a reference names, or the node itself."""
    while isinstance(node, dict) and "$ref" in node:
        node = pointed(node["$ref"])
    return node


def pointed(reference):
    node = EXACT
    for part in reference.removeprefix("#/").split("/"):
        node = node[part.replace("~1", "/").replace("~0", "~")]
    return node


def absolute(node, document):
    """The schema with its references made to point into a document."""
    if isinstance(node, dict):
        return {
            key: f"urn:{document}{value}" if key == "$ref" and isinstance(value, str) else absolute(value, document)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [absolute(item, document) for item in node]
    return node


def errors(schema, instance, document="exact"):
    validator = Draft202012Validator(absolute(schema, document), registry=REGISTRY, format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(instance)]


def walk(node, path=""):
    yield path, node
    if isinstance(node, dict):
        for key, value in node.items():
            yield from walk(value, f"{path}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from walk(value, f"{path}/{index}")


def operations():
    for path, item in EXACT["paths"].items():
        for method in METHODS & item.keys():
            yield path, method, item[method], item.get("parameters", []) + item[method].get("parameters", [])


def source_statuses():
    """Every code of `Problem.Code` with its status, read from the Swift source."""
    codes = dict(re.findall(r'case (\w+) = "(\w+)"', PROBLEMS))
    body = PROBLEMS[PROBLEMS.index("package var status: Int") :]
    # The end of the property's body, by its indentation.
    body = body[: body.index("\n        }\n    }")]
    statuses = {}
    for cases, status in re.findall(r"case ([^:]+):\s*(\d{3})", body):
        for name in re.findall(r"\.(\w+)", cases):
            statuses[codes[name]] = int(status)
    assert statuses.keys() == set(codes.values())
    return statuses


def documented_statuses():
    """Every code that a response names, with the status that the response is for."""
    found = {}
    for name, response in EXACT["components"]["responses"].items():
        problem = response.get("content", {}).get("application/problem+json")
        if problem is not None:
            own = problem["schema"]["properties"]
            for code in own["code"]["enum"]:
                assert found.setdefault(code, own["status"]["const"]) == own["status"]["const"], (name, code)
    return found


@pytest.mark.parametrize("document", [SERVED, EXACT], ids=["served", "exact"])
def test_the_document_is_valid_openapi(document):
    problems = [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()]
    assert problems == []


def test_every_code_of_the_sources_is_documented_with_its_status_and_no_other():
    assert documented_statuses() == source_statuses()
    assert set(EXACT["components"]["schemas"]["ProblemCode"]["enum"]) == source_statuses().keys()


def test_responses_are_used_under_the_status_that_their_problem_has():
    for path, method, operation, _ in operations():
        for status, response in operation["responses"].items():
            content = resolve(response).get("content", {})
            if "application/problem+json" in content:
                own = content["application/problem+json"]["schema"]["properties"]
                assert str(own["status"]["const"]) == status, f"{method} {path}"


def test_every_component_is_used():
    text = json.dumps(SERVED)
    unused = [
        f"{kind}/{name}"
        for kind, components in SERVED["components"].items()
        for name in components
        if kind != "securitySchemes" and f'"#/components/{kind}/{name}"' not in text and f'"#/components/{kind}/{name}/' not in text
    ]
    # A path that is not in the document has no operation to hang its answer on, nor has what is no message of HTTP/1.1.
    assert unused == [f"responses/{name}" for name in ("RouteNotFound", "TransferCodingNotSupported", "VersionNotSupported")]


def test_operations_have_names_of_their_own():
    names = [operation["operationId"] for _, _, operation, _ in operations()]
    assert len(names) == len(set(names))


def test_every_operation_says_what_it_needs_and_answers_those_who_have_it_not():
    """That the service holds to it is tried operation by operation in test_live.py."""
    for path, method, operation, _ in operations():
        where = f"{method} {path}"
        need = operation["x-pantler-role"]
        assert re.fullmatch(r"none|any|(read|write|admin)(:\*)?", need), where
        assert (operation.get("security") == []) == (need == "none"), where
        statuses = operation["responses"].keys()
        assert ({"401", "429"} <= statuses) == (need != "none"), where
        is_change = method not in ("get", "head")
        assert ("403" in statuses) == (is_change or need not in ("none", "any")), where
        if "403" in statuses:
            codes = resolve(operation["responses"]["403"])["content"]["application/problem+json"]["schema"]["properties"]["code"]
            assert ("cross_site" in codes["enum"]) == is_change, where


def test_head_is_served_wherever_get_is_and_takes_the_same():
    components = SERVED["components"]["responses"]
    for path, item in SERVED["paths"].items():
        if "get" in item:
            assert item["head"].get("parameters") == item["get"].get("parameters"), path
            assert item["head"]["responses"].keys() == item["get"]["responses"].keys(), path
            for status in item["head"]["responses"]:
                head, get = (components[item[method]["responses"][status]["$ref"].split("/")[-1]] for method in ("head", "get"))
                assert "content" not in head, f"{path}: {status}"
                assert head.get("headers", {}).items() <= get.get("headers", {}).items(), f"{path}: {status}"


def test_every_request_and_answer_with_a_body_has_an_example():
    for path, method, operation, parameters in operations():
        where = f"{method} {path}"
        for parameter in map(resolve, parameters):
            assert "example" in parameter or parameter["name"] == "cursor", f"{where}: {parameter['name']}"
        bodies = [resolve(operation["requestBody"])] if "requestBody" in operation else []
        for content in [body["content"] for body in bodies + [resolve(r) for r in operation["responses"].values()]
                        if "content" in body]:
            for media_type, media in content.items():
                told = media.keys() & {"example", "examples"} or resolve(media.get("schema", {})).get("examples")
                bytes_as_they_are = media_type in ("application/octet-stream", "*/*")
                assert told or bytes_as_they_are, f"{where}: {media_type}"


EXAMPLES = []
for name, document in (("exact", EXACT), ("served", SERVED)):
    for where, node in walk(document, name):
        if isinstance(node, dict) and "/example" not in where and "/x-exact" not in where:
            if "schema" in node and "example" in node:
                EXAMPLES.append((f"{where}/example", node["schema"], node["example"]))
            if "schema" in node and isinstance(node.get("examples"), dict):
                EXAMPLES += [(f"{where}/examples/{name}", node["schema"], example["value"])
                             for name, example in node["examples"].items()]
            if isinstance(node.get("examples"), list):
                schema = {key: value for key, value in node.items() if key not in ("examples", "description")}
                EXAMPLES += [(f"{where}/examples/{index}", schema, value) for index, value in enumerate(node["examples"])]


@pytest.mark.parametrize("where,schema,value", EXAMPLES, ids=[where for where, _, _ in EXAMPLES])
def test_an_example_is_true_to_its_schema(where, schema, value):
    assert errors(schema, value, where.split("/")[0]) == []


def served_nodes(root):
    """What a generator of clients reads: no examples, and nothing that stands in `x-exact`."""
    return [(where, node) for where, node in walk(root)
            if isinstance(node, dict) and "/example" not in where and "/x-exact" not in where]


def test_generators_of_clients_can_read_what_is_served():
    """Each of these broke a client that was made from the document; what they would say stands in `x-exact`."""
    for where, node in served_nodes(SERVED):
        if "$ref" in node:
            assert re.fullmatch(r"#/components/\w+/\w+", node["$ref"]), f"{where} refers into the middle of something"
            assert node.keys() == {"$ref"}, f"{where} has something beside its reference"
    unread = {"not", "oneOf", "if", "then", "const", "dependentRequired", "unevaluatedProperties"}
    for where, node in served_nodes(SERVED["components"]["schemas"]):
        if not where.endswith("/properties"):
            assert not unread & node.keys(), where
            kinds = node.get("type", [])
            if {"integer", "number"} & set([kinds] if isinstance(kinds, str) else kinds):
                assert node.get("format") in ("int32", "int64", "double"), f"{where} does not say how wide the number is"


def test_what_generators_make_types_of_has_a_name():
    for where, node in served_nodes(SERVED["components"]["schemas"]):
        inline = where.count("/") > 1 and not re.fullmatch(r"/\w+/allOf/1", where)
        assert not (inline and node.get("type") == "object"), f"{where} has no name"
    for where, node in served_nodes(SERVED["components"]["responses"]):
        if "/content/" in where and "schema" in node:
            assert "$ref" in node["schema"] or node["schema"] == {"type": "string"}, f"{where} has no name"


def test_members_of_enums_have_names_of_their_own():
    """Constants of Go share one scope."""
    members = [member for schema in SERVED["components"]["schemas"].values() for member in schema.get("enum", [])]
    assert len(members) == len(set(members))


def test_answers_may_get_new_members():
    """A client that was made from the document refuses what it forbids."""
    for name, response in SERVED["components"]["responses"].items():
        for media in response.get("content", {}).values():
            seen, left = set(), [media["schema"]]
            while left:
                for where, node in served_nodes(left.pop()):
                    assert node.get("additionalProperties") is not False, f"{name}{where}"
                    if "$ref" in node and node["$ref"] not in seen:
                        seen.add(node["$ref"])
                        left.append(SERVED["components"]["schemas"][node["$ref"].split("/")[-1]])


def test_refused_requests_are_refused_by_the_schemas_too():
    """The schemas are as tight as the service: each of these is a 400 or 422 there."""
    refused = {
        "EntryWrite": [
            {}, [], None, {"value": 1, "value_base64": "AA=="}, {"value": 1, "tll": 5}, {"value": 1, "ttl": 0},
            {"value": 1, "ttl": -1}, {"value": 1, "ttl": "5"}, {"value": 1, "ttl": 1e300}, {"value": 1, "ttl": 3153600001},
            {"value": 1, "ttl": 5, "expires_at": "2099-01-01T00:00:00Z"}, {"value": 1, "stale_ttl": -1},
            {"value": 1, "tags": [""]}, {"value": 1, "tags": "a"}, {"value": 1, "tags": ["t"] * 65},
            {"value_base64": "%"}, {"value_base64": "AAA"}, {"value": 1, "tags": ["x" * 256]}, {"absent": False}, {"absent": 1},
            {"absent": True, "value": 1}, {"absent": True, "value_base64": "AA=="}, {"absent": True, "stale_ttl": 5},
            {"absent": True, "content_type": "image/png"}, {"value": 1, "lease": "Ab3dEfGh5jKlMn7pQrStVw"},
        ],
        "EntryPatch": [[], {"version": 3}, {"ttl": 0}, {"ttl": 1, "expires_at": "2099-01-01T00:00:00Z"}, {"key": "k"}],
        "CounterAdd": [{"by": 1.5}, {"by": "1"}, {"by": 2**53}, {"initial": None}, {"ttl": 0}, {"add": 1}],
        "KeyBatch": [{}, {"keys": "a"}, {"keys": [""]}, {"keys": [1]}, {"keys": ["a\x00"]}, {"keys": ["k"] * 1001}],
        "BatchSet": [{}, {"entries": {}}, {"entries": [1]}, {"entries": [{"value": 1}]}],
        "LeaseWanted": [{"ttl": 0.05}, {"ttl": 301}, {"ttl": "5"}, {"wait": -1}, {"wait": 31}, {"tll": 5}, []],
        "LeaseProlonging": [{"wait": 1}, {"ttl": 0.05}, {"ttl": 301}],
        "LeaseBatch": [{}, {"keys": [""]}, {"keys": ["a"], "wait": 31}, {"keys": ["a"], "ttl": 301}, {"keys": ["k"] * 1001}],
        "Invalidation": [{}, {"all": False}, {"all": True, "tags": ["a"]}, {"keys": ["a"], "prefix": "b"}, {"prefix": ""},
                         {"all": True, "mode": "old"}],
        "PolicyWrite": [{"durability": "disk"}, {"max_memory": "8MiB"}, {"max_memory": -1}, {"ttl_jitter": 1.5},
                        {"compression": {"level": 10}}, {"colour": 1}, {"negative_ttl": 0}, {"negative_ttl": None},
                        {"early_refresh": -1}, {"early_refresh": 10.5}],
    }
    for name, instances in refused.items():
        for instance in instances:
            assert errors({"$ref": f"#/components/schemas/{name}"}, instance), f"{name} takes {instance}"
