"""Pantler by the client that `openapi-generator generate -g python` makes."""

import os

from openapi_client import (ApiClient, BatchesApi, Configuration, EntriesApi, EntryWrite, KeyBatch, NamespacesApi, PolicyPatch,
                            StatisticsApi, ValuesApi)
from openapi_client.exceptions import ApiException, NotFoundException

client = ApiClient(Configuration(host=os.environ.get("PANTLER_URL", "http://127.0.0.1:8080")))
entries, values, batches, namespaces = EntriesApi(client), ValuesApi(client), BatchesApi(client), NamespacesApi(client)
ns = "openapi_python"

# Put and get.
jelly = {"name": "Quince jelly", "price": 4.2}
entries.put_entry(ns, "product-42", EntryWrite(value=jelly, ttl=60, tags=["products"]))
entry = entries.get_entry(ns, "product-42")
assert entry.value == jelly and entry.tags == ["products"] and entry.expires_at is not None

# A miss says why.
try:
    entries.get_entry(ns, "nothing")
    raise AssertionError("nothing is there")
except NotFoundException as miss:
    assert miss.data.reason == "absent"
assert entries.get_entry(ns, "nothing", miss="204") is None

# Compare and set: what was read is replaced only if nobody else was there first.
etag = f'"{entry.version}"'
written = entries.put_entry(ns, "product-42", EntryWrite(value=None), if_match=etag)
assert written.version > entry.version and written.expires_at is None
try:
    entries.put_entry(ns, "product-42", EntryWrite(value=2), if_match=etag)
    raise AssertionError("a stale version was replaced")
except ApiException as late:
    assert (late.status, late.data.code, late.data.version) == (412, "version_mismatch", written.version)
# Whether it is there, without its value.
assert entries.head_entry_with_http_info(ns, "product-42").headers["etag"] == f'"{written.version}"'

# Bytes with a media type.
logo = b"\x89PNG\r\n\x1a\n\x00"
values.put_value(ns, "logo", ttl=60, body=logo, _content_type="image/png")
got = values.get_value_with_http_info(ns, "logo")
assert (got.data, got.headers["content-type"]) == (logo, "image/png")

# Many in one round trip.
found = batches.get_batch(ns, KeyBatch(keys=["product-42", "logo", "nothing"]))
assert [entry.key for entry in found.entries] == ["product-42", "logo"] and found.missing == ["nothing"]
assert found.entries[1].content_type == "image/png"

# Odd keys; `..` and what begins with a slash by the query alone.
for key in ["a b", "a+b", "50%", "user/42", "what?", "#1", "crème ☕", "&=;"]:
    entries.put_entry(ns, key, EntryWrite(value=key))
    assert entries.get_entry(ns, key).value == entries.get_entry_by_query(ns, key).value == key
for key in [".", "..", "/rooted", "a//b"]:
    entries.put_entry_by_query(ns, key, EntryWrite(value=key))
    assert entries.get_entry_by_query(ns, key).value == key

# A patch of a policy says what it changes and no more.
namespaces.patch_namespace(ns, PolicyPatch(max_ttl=3600))
namespaces.patch_namespace(ns, PolicyPatch(durability="memory", max_entries=None))
policy = namespaces.get_namespace(ns)
assert (policy.max_ttl, policy.durability, policy.max_entries) == (3600, "memory", None)
assert StatisticsApi(client).get_namespace_stats(ns).hits.total > 0
