// Pantler from Node, by its own fetch.
import assert from "node:assert/strict";

const shop = `${process.env.PANTLER_URL ?? "http://127.0.0.1:8080"}/v1/namespaces/node`;

/** A call whose body is JSON, and the answer's body with its status. */
async function call(method, path, body, headers = {}) {
  const answer = await fetch(shop + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await answer.text();
  return { status: answer.status, etag: answer.headers.get("etag"), body: text === "" ? undefined : JSON.parse(text) };
}

// Put and get. Without a content type of one's own fetch says text/plain, which is read as JSON all the same.
const jelly = { name: "Quince jelly", price: 4.2 };
assert.ok((await call("PUT", "/entries/product-42", { value: jelly, ttl: 60 })).status < 300);
const entry = await call("GET", "/entries/product-42");
assert.deepEqual(entry.body.value, jelly);

// A miss says why.
const miss = await call("GET", "/entries/nothing");
assert.deepEqual([miss.status, miss.body.reason], [404, "absent"]);

// Compare and set: what was read is replaced only if nobody else was there first.
assert.equal((await call("PUT", "/entries/product-42", { value: 1 }, { "If-Match": entry.etag })).status, 200);
const late = await call("PUT", "/entries/product-42", { value: 2 }, { "If-Match": entry.etag });
assert.deepEqual([late.status, late.body.code], [412, "version_mismatch"]);
// Ask again only for what has changed.
const { etag } = await call("GET", "/entries/product-42");
assert.equal((await call("GET", "/entries/product-42", undefined, { "If-None-Match": etag })).status, 304);

// Bytes with a media type.
const logo = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00]);
await fetch(`${shop}/values/logo?ttl=60`, { method: "PUT", body: logo, headers: { "Content-Type": "image/png" } });
const got = await fetch(`${shop}/values/logo`);
assert.equal(got.headers.get("content-type"), "image/png");
assert.deepEqual(new Uint8Array(await got.arrayBuffer()), logo);
// A stream goes up in chunks.
const parts = new Blob(["one", "two"]).stream();
assert.ok((await fetch(`${shop}/values/chunks`, { method: "PUT", body: parts, duplex: "half" })).status < 300);
assert.equal(await (await fetch(`${shop}/values/chunks`)).text(), "onetwo");

// Many in one round trip. A POST says that it is JSON.
const json = { "Content-Type": "application/json" };
const found = await call("POST", "/batch/get", { keys: ["product-42", "nothing"] }, json);
assert.deepEqual([found.body.entries.map((entry) => entry.key), found.body.missing], [["product-42"], ["nothing"]]);

// Of all who miss at once one gets a lease and loads; the others wait for what it puts, or are told that it is about to.
const taken = await call("POST", "/leases/report");
assert.equal(taken.status, 201);
const held = await call("POST", "/leases/report", { wait: 0.1 }, json);
assert.deepEqual([held.status, held.body.reason], [409, "filling"]);
const lease = { Lease: taken.body.lease.token };
assert.ok((await call("PUT", "/entries/report", { value: "done", ttl: 60 }, lease)).status < 300);
assert.equal((await call("POST", "/leases/report", { wait: 5 }, json)).body.value, "done");
// A lease fills once.
const overtaken = await call("PUT", "/entries/report", { value: "late" }, lease);
assert.deepEqual([overtaken.status, overtaken.body.code], [412, "lease_lost"]);

// Odd keys: encodeURIComponent in a path, URLSearchParams in a query; `..` and what begins with a slash by the query alone.
for (const key of ["a b", "a+b", "50%", "user/42", "what?", "#1", "crème ☕", "&=;"]) {
  assert.ok((await call("PUT", `/entries/${encodeURIComponent(key)}`, { value: key })).status < 300);
  assert.equal((await call("GET", `/entries/${encodeURIComponent(key)}`)).body.value, key);
  assert.equal((await call("GET", `/entry?${new URLSearchParams({ key })}`)).body.value, key);
}
for (const key of [".", "..", "/rooted", "a//b"]) {
  assert.ok((await call("PUT", `/entry?${new URLSearchParams({ key })}`, { value: key })).status < 300);
  assert.equal((await call("GET", `/entry?${new URLSearchParams({ key })}`)).body.value, key);
}

// encodeURIComponent leaves `..` alone, and fetch folds it: these ask to drop the whole namespace, or for nothing that there is.
assert.equal((await call("DELETE", `/entries/${encodeURI("../../node")}`)).body.code, "confirmation_required");
assert.equal((await call("DELETE", `/entries/${encodeURIComponent("..")}`)).body.code, "route_not_found");
// FormData is several parts, and no value.
const form = new FormData();
form.append("file", new Blob([logo]), "logo.png");
assert.equal((await fetch(`${shop}/values/logo`, { method: "PUT", body: form })).status, 415);

// What goes on all day.
for (let number = 1; number <= 500; number++) {
  assert.ok((await call("PUT", `/entries/item-${number}`, { value: number, ttl: 60 }, json)).status < 300);
  assert.equal((await call("GET", `/entries/item-${number}`)).body.value, number);
}
