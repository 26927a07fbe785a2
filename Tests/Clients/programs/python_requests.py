"""Pantler from Python, by requests."""

import os
from urllib.parse import quote

import requests

shop = os.environ.get("PANTLER_URL", "http://127.0.0.1:8080") + "/v1/namespaces/python_requests"
session = requests.Session()  # keeps its connections

# Put and get.
answer = session.put(f"{shop}/entries/product-42", json={"value": {"name": "Quince jelly", "price": 4.2}, "ttl": 60})
answer.raise_for_status()
entry = session.get(f"{shop}/entries/product-42")
assert entry.json()["value"] == {"name": "Quince jelly", "price": 4.2}

# A miss says why.
miss = session.get(f"{shop}/entries/nothing")
assert (miss.status_code, miss.json()["reason"]) == (404, "absent")
# For who calls raise_for_status() everywhere a miss can be an answer without a body, too.
miss = session.get(f"{shop}/entries/nothing", params={"miss": 204})
miss.raise_for_status()
assert miss.status_code == 204

# Compare and set: what was read is replaced only if nobody else was there first.
etag = entry.headers["ETag"]
assert session.put(f"{shop}/entries/product-42", json={"value": 1}, headers={"If-Match": etag}).ok
late = session.put(f"{shop}/entries/product-42", json={"value": 2}, headers={"If-Match": etag})
assert (late.status_code, late.json()["code"]) == (412, "version_mismatch")
# Ask again only for what has changed.
etag = session.get(f"{shop}/entries/product-42").headers["ETag"]
assert session.get(f"{shop}/entries/product-42", headers={"If-None-Match": etag}).status_code == 304

# Bytes with a media type.
logo = b"\x89PNG\r\n\x1a\n\x00"
session.put(f"{shop}/values/logo", params={"ttl": 60}, data=logo, headers={"Content-Type": "image/png"}).raise_for_status()
got = session.get(f"{shop}/values/logo")
assert (got.content, got.headers["Content-Type"]) == (logo, "image/png")
# A generator goes up in chunks.
session.put(f"{shop}/values/chunks", data=iter([b"one", b"two"])).raise_for_status()
assert session.get(f"{shop}/values/chunks").content == b"onetwo"

# Many in one round trip.
found = session.post(f"{shop}/batch/get", json={"keys": ["product-42", "nothing"]}).json()
assert [entry["key"] for entry in found["entries"]] == ["product-42"] and found["missing"] == ["nothing"]

# Of all who miss at once one gets a lease and loads; the others wait for what it puts, or are told that it is about to.
taken = session.post(f"{shop}/leases/report", json={"ttl": 30})
assert taken.status_code == 201
held = session.post(f"{shop}/leases/report")
assert (held.status_code, held.json()["reason"]) == (409, "filling")
lease = {"Lease": taken.json()["lease"]["token"]}
session.put(f"{shop}/entries/report", json={"value": "done", "ttl": 60}, headers=lease).raise_for_status()
assert session.post(f"{shop}/leases/report", json={"wait": 5}).json()["value"] == "done"
# A lease fills once.
late = session.put(f"{shop}/entries/report", json={"value": "late"}, headers=lease)
assert (late.status_code, late.json()["code"]) == (412, "lease_lost")

# Odd keys: quote(…, safe="") in a path, params in a query; `..` and what begins with a slash by the query alone.
for key in ["a b", "a+b", "50%", "user/42", "what?", "#1", "crème ☕", "&=;"]:
    session.put(f"{shop}/entries/{quote(key, safe='')}", json={"value": key}).raise_for_status()
    assert session.get(f"{shop}/entries/{quote(key, safe='')}").json()["value"] == key
    assert session.get(f"{shop}/entry", params={"key": key}).json()["value"] == key
for key in [".", "..", "/rooted", "a//b"]:
    session.put(f"{shop}/entry", params={"key": key}, json={"value": key}).raise_for_status()
    assert session.get(f"{shop}/entry", params={"key": key}).json()["value"] == key

# A string as it is has no content type, and is read as JSON; a dict without json= is a form, and no JSON.
session.put(f"{shop}/entries/stumble", data='{"value": "no content type"}').raise_for_status()
assert session.put(f"{shop}/entries/stumble", data={"value": "a form"}).json()["code"] == "invalid_json"
# quote leaves `..` alone, and requests folds it: these ask to drop the whole namespace, or for nothing that there is.
assert session.delete(f"{shop}/entries/{quote('../../python_requests')}").json()["code"] == "confirmation_required"
assert session.delete(f"{shop}/entries/{quote('..', safe='')}").json()["code"] == "route_not_found"

# What goes on all day.
for number in range(1, 501):
    session.put(f"{shop}/entries/item-{number}", json={"value": number, "ttl": 60}).raise_for_status()
    assert session.get(f"{shop}/entries/item-{number}").json()["value"] == number
