"""Pantler by the client that `openapi-python-client generate` makes."""

import os
from io import BytesIO

from pantler_client import Client
from pantler_client.api.batches import get_batch
from pantler_client.api.entries import get_entry, get_entry_by_query, head_entry, put_entry, put_entry_by_query
from pantler_client.api.leases import take_lease
from pantler_client.api.namespaces import get_namespace, patch_namespace
from pantler_client.api.statistics import get_namespace_stats
from pantler_client.api.values import get_value, put_value
from pantler_client.models import Entry, EntryWrite, KeyBatch, LeaseWanted, PolicyPatch, Problem
from pantler_client.types import File

client = Client(base_url=os.environ.get("PANTLER_URL", "http://127.0.0.1:8080"), raise_on_unexpected_status=True)
ns = "openapi_python_client"

# Put and get.
jelly = {"name": "Quince jelly", "price": 4.2}
put_entry.sync(ns, "product-42", client=client, body=EntryWrite(value=jelly, ttl=60, tags=["products"]))
entry = get_entry.sync(ns, "product-42", client=client)
assert isinstance(entry, Entry) and entry.value == jelly and entry.tags == ["products"] and entry.expires_at is not None

# A miss says why.
miss = get_entry.sync(ns, "nothing", client=client)
assert isinstance(miss, Problem) and miss.reason == "absent"
assert get_entry.sync(ns, "nothing", client=client, miss="204") is None

# Compare and set: what was read is replaced only if nobody else was there first.
etag = f'"{entry.version}"'
written = put_entry.sync(ns, "product-42", client=client, body=EntryWrite(value=None), if_match=etag)
assert written.version > entry.version and written.expires_at is None
late = put_entry.sync_detailed(ns, "product-42", client=client, body=EntryWrite(value=2), if_match=etag)
assert (late.status_code, late.parsed.code, late.parsed.version) == (412, "version_mismatch", written.version)
# Whether it is there, without its value.
assert head_entry.sync_detailed(ns, "product-42", client=client).headers["ETag"] == f'"{written.version}"'
assert head_entry.sync_detailed(ns, "nothing", client=client).status_code == 404

# Bytes.
logo = b"\x89PNG\r\n\x1a\n\x00"
put_value.sync(ns, "logo", client=client, body=File(BytesIO(logo)), ttl=60)
assert get_value.sync(ns, "logo", client=client).payload.read() == logo

# Many in one round trip.
found = get_batch.sync(ns, client=client, body=KeyBatch(keys=["product-42", "logo", "nothing"]))
assert [entry.key for entry in found.entries] == ["product-42", "logo"] and found.missing == ["nothing"]
assert found.entries[1].content_type == "application/octet-stream"

# Of all who miss at once one gets a lease and loads; the others wait for what it puts, or are told that it is about to.
lease = take_lease.sync(ns, "report", client=client, body=LeaseWanted(ttl=30)).lease
held = take_lease.sync(ns, "report", client=client, body=LeaseWanted(wait=0.1))
assert isinstance(held, Problem) and (held.code, held.reason) == ("lease_held", "filling")
put_entry.sync(ns, "report", client=client, body=EntryWrite(value="done", ttl=60), lease=lease.token)
hit = take_lease.sync(ns, "report", client=client, body=LeaseWanted(wait=5))
assert not hit.lease and hit.value == "done"

# Odd keys; `..` and what begins with a slash by the query alone.
for key in ["a b", "a+b", "50%", "user/42", "what?", "#1", "crème ☕", "&=;"]:
    put_entry.sync(ns, key, client=client, body=EntryWrite(value=key))
    assert get_entry.sync(ns, key, client=client).value == key
    assert get_entry_by_query.sync(ns, client=client, key=key).value == key
for key in [".", "..", "/rooted", "a//b"]:
    put_entry_by_query.sync(ns, client=client, key=key, body=EntryWrite(value=key))
    assert get_entry_by_query.sync(ns, client=client, key=key).value == key

# A patch of a policy says what it changes and no more.
patch_namespace.sync(ns, client=client, body=PolicyPatch(max_ttl=3600))
patch_namespace.sync(ns, client=client, body=PolicyPatch(max_entries=None))
policy = get_namespace.sync(ns, client=client)
assert (policy.max_ttl, policy.durability, policy.max_entries) == (3600, "behind", None)
assert get_namespace_stats.sync(ns, client=client).hits.total > 0
