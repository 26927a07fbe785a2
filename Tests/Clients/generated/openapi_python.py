"""Pantler by the client that `openapi-generator generate -g python` makes."""

import os

from openapi_client import (ApiClient, BatchEntry, BatchesApi, BatchSet, Configuration, EntriesApi, EntryWrite, KeyBatch, LeaseBatch,
                            LeaseProlonging, LeasesApi, LeaseWanted, NamespacesApi, PolicyPatch, StatisticsApi, ValuesApi)
from openapi_client.exceptions import ApiException, ConflictException, NotFoundException

client = ApiClient(Configuration(host=os.environ.get("PANTLER_URL", "http://127.0.0.1:8080")))
entries, values, leases, batches = EntriesApi(client), ValuesApi(client), LeasesApi(client), BatchesApi(client)
namespaces = NamespacesApi(client)
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

# Of all who miss at once one gets a lease and loads; the others wait for what it puts, or are told that it is about to.
lease = leases.take_lease(ns, "report", LeaseWanted(ttl=30)).lease
try:
    leases.take_lease(ns, "report", LeaseWanted(wait=0.1))
    raise AssertionError("two have the lease")
except ConflictException as held:
    assert held.data.code == "lease_held" and held.data.reason == "filling" and held.data.retry_after > 0
assert [listed.key for listed in leases.list_leases(ns).leases] == ["report"]
assert leases.prolong_lease(lease.token, ns, "report", LeaseProlonging(ttl=60)).lease.expires_at > lease.expires_at
entries.put_entry(ns, "report", EntryWrite(value="done", ttl=60), lease=lease.token)
hit = leases.take_lease(ns, "report", LeaseWanted(wait=5))
assert hit.lease is None and hit.value == "done"
taken = batches.lease_batch(ns, LeaseBatch(keys=["report", "another"]))
assert [entry.value for entry in taken.entries] == ["done"]
fill = BatchSet(entries=[BatchEntry(key="another", value=1, lease=taken.leases[0].token)])
assert batches.set_batch(ns, fill).errors == []

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
