// Pantler by the client that `openapi-generator generate -g typescript-fetch` makes.
import { BatchesApi, Configuration, EntriesApi, LeasesApi, NamespacesApi, ResponseError, StatisticsApi, ValuesApi } from "./client";

declare const process: { env: Record<string, string | undefined> };

const configuration = new Configuration({ basePath: process.env.PANTLER_URL ?? "http://127.0.0.1:8080" });
const entries = new EntriesApi(configuration);
const values = new ValuesApi(configuration);
const leases = new LeasesApi(configuration);
const batches = new BatchesApi(configuration);
const namespaces = new NamespacesApi(configuration);
const ns = "typescript_fetch";

function equal(left: unknown, right: unknown): void {
  const [a, b] = [JSON.stringify(left), JSON.stringify(right)];
  if (a !== b) throw new Error(`${a} is not ${b}`);
}

/** The problem that a call is answered with. */
async function problem(call: Promise<unknown>): Promise<{ status: number; code: string; reason?: string; version?: number }> {
  try {
    await call;
  } catch (error) {
    if (error instanceof ResponseError) return await error.response.json();
    throw error;
  }
  throw new Error("the call was answered");
}

async function main(): Promise<void> {
  // Put and get.
  const jelly = { name: "Quince jelly", price: 4.2 };
  await entries.putEntry({ ns, key: "product-42", entryWrite: { value: jelly, ttl: 60, tags: ["products"] } });
  const entry = await entries.getEntry({ ns, key: "product-42" });
  equal(entry.value, jelly);
  equal(entry.expiresAt instanceof Date, true);

  // A miss says why.
  const miss = await problem(entries.getEntry({ ns, key: "nothing" }));
  equal([miss.status, miss.reason], [404, "absent"]);
  equal(await entries.getEntry({ ns, key: "nothing", miss: "204" }), null);

  // Compare and set: what was read is replaced only if nobody else was there first.
  const ifMatch = `"${entry.version}"`;
  const written = await entries.putEntry({ ns, key: "product-42", ifMatch, entryWrite: { value: null } });
  equal([written.version > entry.version, written.expiresAt], [true, null]);
  const late = await problem(entries.putEntry({ ns, key: "product-42", ifMatch, entryWrite: { value: 2 } }));
  equal([late.status, late.code, late.version], [412, "version_mismatch", written.version]);
  // Whether it is there, without its value.
  const head = await entries.headEntryRaw({ ns, key: "product-42" });
  equal(head.raw.headers.get("etag"), `"${written.version}"`);

  // Bytes with a media type.
  const logo = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00]);
  const asPNG = { headers: { "Content-Type": "image/png" } };
  await values.putValue({ ns, key: "logo", ttl: 60, body: new Blob([logo]) }, asPNG);
  const got = await values.getValue({ ns, key: "logo" });
  equal([got.type, Array.from(new Uint8Array(await got.arrayBuffer()))], ["image/png", Array.from(logo)]);

  // Many in one round trip.
  const found = await batches.getBatch({ ns, keyBatch: { keys: ["product-42", "logo", "nothing"] } });
  equal([found.entries.map((one) => one.key), found.missing], [["product-42", "logo"], ["nothing"]]);

  // Of all who miss at once one gets a lease and loads; the others wait for what it puts, or are told that it is about to.
  const taken = await leases.takeLease({ ns, key: "report", leaseWanted: { ttl: 30 } });
  const held = await problem(leases.takeLease({ ns, key: "report", leaseWanted: { wait: 0.1 } }));
  equal([held.status, held.reason], [409, "filling"]);
  await entries.putEntry({ ns, key: "report", lease: taken.lease?.token, entryWrite: { value: "done", ttl: 60 } });
  const hit = await leases.takeLease({ ns, key: "report", leaseWanted: { wait: 5 } });
  equal([hit.lease, hit.value], [undefined, "done"]);

  // Odd keys; `..` and what begins with a slash by the query alone.
  for (const key of ["a b", "a+b", "50%", "user/42", "what?", "#1", "crème ☕", "&=;"]) {
    await entries.putEntry({ ns, key, entryWrite: { value: key } });
    equal((await entries.getEntry({ ns, key })).value, key);
    equal((await entries.getEntryByQuery({ ns, key })).value, key);
  }
  for (const key of [".", "..", "/rooted", "a//b"]) {
    await entries.putEntryByQuery({ ns, key, entryWrite: { value: key } });
    equal((await entries.getEntryByQuery({ ns, key })).value, key);
  }

  // A patch of a policy says what it changes and no more.
  await namespaces.patchNamespace({ ns, policyPatch: { maxTtl: 3600 } });
  await namespaces.patchNamespace({ ns, policyPatch: { durability: "memory", maxEntries: null } });
  const policy = await namespaces.getNamespace({ ns });
  equal([policy.maxTtl, policy.durability, policy.maxEntries], [3600, "memory", null]);
  equal((await new StatisticsApi(configuration).getNamespaceStats({ ns })).hits.total > 0, true);
}

main();
