"""Pantler from Python, by httpx."""

import os
from urllib.parse import quote

import httpx

url = os.environ.get("PANTLER_URL", "http://127.0.0.1:8080")
# A base URL ends in a slash here, and what is appended begins with none.
shop = httpx.Client(base_url=f"{url}/v1/namespaces/python_httpx/")

# Put and get.
shop.put("entries/product-42", json={"value": {"name": "Quince jelly", "price": 4.2}, "ttl": 60}).raise_for_status()
entry = shop.get("entries/product-42")
assert entry.json()["value"] == {"name": "Quince jelly", "price": 4.2}

# A miss says why.
miss = shop.get("entries/nothing")
assert (miss.status_code, miss.json()["reason"]) == (404, "absent")
# For who calls raise_for_status() everywhere a miss can be an answer without a body, too.
miss = shop.get("entries/nothing", params={"miss": 204})
miss.raise_for_status()
assert miss.status_code == 204

# Compare and set: what was read is replaced only if nobody else was there first.
etag = entry.headers["ETag"]
assert shop.put("entries/product-42", json={"value": 1}, headers={"If-Match": etag}).is_success
late = shop.put("entries/product-42", json={"value": 2}, headers={"If-Match": etag})
assert (late.status_code, late.json()["code"]) == (412, "version_mismatch")
# Ask again only for what has changed.
etag = shop.get("entries/product-42").headers["ETag"]
assert shop.get("entries/product-42", headers={"If-None-Match": etag}).status_code == 304

# Bytes with a media type.
logo = b"\x89PNG\r\n\x1a\n\x00"
shop.put("values/logo", params={"ttl": 60}, content=logo, headers={"Content-Type": "image/png"}).raise_for_status()
got = shop.get("values/logo")
assert (got.content, got.headers["Content-Type"]) == (logo, "image/png")
# A generator goes up in chunks.
shop.put("values/chunks", content=iter([b"one", b"two"])).raise_for_status()
assert shop.get("values/chunks").content == b"onetwo"

# Many in one round trip.
found = shop.post("batch/get", json={"keys": ["product-42", "nothing"]}).json()
assert [entry["key"] for entry in found["entries"]] == ["product-42"] and found["missing"] == ["nothing"]

# Of all who miss at once one gets a lease and loads; the others wait for what it puts, or are told that it is about to.
taken = shop.post("leases/report", json={"ttl": 30})
assert taken.status_code == 201
held = shop.post("leases/report")
assert (held.status_code, held.json()["reason"]) == (409, "filling")
lease = {"Lease": taken.json()["lease"]["token"]}
shop.put("entries/report", json={"value": "done", "ttl": 60}, headers=lease).raise_for_status()
assert shop.post("leases/report", json={"wait": 5}).json()["value"] == "done"
# A lease fills once.
late = shop.put("entries/report", json={"value": "late"}, headers=lease)
assert (late.status_code, late.json()["code"]) == (412, "lease_lost")

# Odd keys: quote(…, safe="") in a path, params in a query; `..` and what begins with a slash by the query alone.
for key in ["a b", "a+b", "50%", "user/42", "what?", "#1", "crème ☕", "&=;"]:
    shop.put(f"entries/{quote(key, safe='')}", json={"value": key}).raise_for_status()
    assert shop.get(f"entries/{quote(key, safe='')}").json()["value"] == key
    assert shop.get("entry", params={"key": key}).json()["value"] == key
for key in [".", "..", "/rooted", "a//b"]:
    shop.put("entry", params={"key": key}, json={"value": key}).raise_for_status()
    assert shop.get("entry", params={"key": key}).json()["value"] == key

# A string as it is has no content type, and is read as JSON; a dict without json= is a form, and no JSON.
shop.put("entries/stumble", content='{"value": "no content type"}').raise_for_status()
assert shop.put("entries/stumble", data={"value": "a form"}).json()["code"] == "invalid_json"
# quote leaves `..` alone, httpx folds it, and this asks to drop the whole namespace: it is refused.
folded = httpx.delete(f"{url}/v1/namespaces/python_httpx/entries/{quote('..', safe='')}")
assert folded.json()["code"] == "confirmation_required"

# What goes on all day.
for number in range(1, 501):
    shop.put(f"entries/item-{number}", json={"value": number, "ttl": 60}).raise_for_status()
    assert shop.get(f"entries/item-{number}").json()["value"] == number
