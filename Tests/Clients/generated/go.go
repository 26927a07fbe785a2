// Pantler by the client that `openapi-generator generate -g go` makes.
package main

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"os"

	pantler "example/client"
)

const ns = "openapi_go"

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func equal(left, right any) {
	if left != right {
		log.Panicf("%v is not %v", left, right)
	}
}

// problem is what a call was answered with.
func problem(err error) pantler.Problem {
	var told *pantler.GenericOpenAPIError
	if !errors.As(err, &told) {
		log.Panicf("no problem: %v", err)
	}
	return told.Model().(pantler.Problem)
}

func main() {
	configuration := pantler.NewConfiguration()
	if url := os.Getenv("PANTLER_URL"); url != "" {
		configuration.Servers = pantler.ServerConfigurations{{URL: url}}
	}
	client, ctx := pantler.NewAPIClient(configuration), context.Background()
	entries := client.EntriesAPI
	put := func(key string, value any, ifMatch ...string) (*pantler.EntryWritten, error) {
		call := entries.PutEntry(ctx, ns, key).EntryWrite(pantler.EntryWrite{Value: value})
		for _, etag := range ifMatch {
			call = call.IfMatch(etag)
		}
		written, _, err := call.Execute()
		return written, err
	}

	// Put and get.
	write := pantler.EntryWrite{Value: "Quince jelly", Tags: []string{"products"}}
	write.SetTtl(60)
	_, _, err := entries.PutEntry(ctx, ns, "product-42").EntryWrite(write).Execute()
	check(err)
	entry, answer, err := entries.GetEntry(ctx, ns, "product-42").Execute()
	check(err)
	equal(entry.Value, "Quince jelly")
	equal(entry.ExpiresAt.IsSet(), true)

	// A miss says why.
	_, _, err = entries.GetEntry(ctx, ns, "nothing").Execute()
	miss := problem(err)
	equal(miss.GetReason(), "absent")

	// Compare and set: what was read is replaced only if nobody else was there first.
	etag := answer.Header.Get("ETag")
	written, err := put("product-42", 1, etag)
	check(err)
	_, err = put("product-42", 2, etag)
	late := problem(err)
	equal(late.Code, "version_mismatch")
	equal(late.GetVersion(), written.Version)
	// Whether it is there, without its value.
	answer, err = entries.HeadEntry(ctx, ns, "product-42").Execute()
	check(err)
	equal(answer.StatusCode, http.StatusOK)

	// Bytes.
	logo := "\x89PNG\r\n\x1a\n\x00"
	check(os.WriteFile("logo.png", []byte(logo), 0o600))
	file, err := os.Open("logo.png")
	check(err)
	_, _, err = client.ValuesAPI.PutValue(ctx, ns, "logo").Ttl(60).Body(file).Execute()
	check(err)
	got, _, err := client.ValuesAPI.GetValue(ctx, ns, "logo").Execute()
	check(err)
	bytes, err := io.ReadAll(got)
	check(err)
	check(os.Remove(got.Name()))
	equal(string(bytes), logo)

	// Many in one round trip.
	keys := pantler.KeyBatch{Keys: []string{"product-42", "logo", "nothing"}}
	found, _, err := client.BatchesAPI.GetBatch(ctx, ns).KeyBatch(keys).Execute()
	check(err)
	equal(len(found.Entries), 2)
	equal(found.Missing[0], "nothing")

	// Of all who miss at once one gets a lease and loads; the others wait for what it puts, or are told that it is about to.
	leases := client.LeasesAPI
	wanted := pantler.LeaseWanted{}
	wanted.SetWait(0.1)
	taken, _, err := leases.TakeLease(ctx, ns, "report").LeaseWanted(wanted).Execute()
	check(err)
	_, _, err = leases.TakeLease(ctx, ns, "report").LeaseWanted(wanted).Execute()
	held := problem(err)
	equal(held.GetReason(), "filling")
	done := pantler.EntryWrite{Value: "done"}
	_, _, err = entries.PutEntry(ctx, ns, "report").EntryWrite(done).Lease(taken.Lease.Token).Execute()
	check(err)
	hit, _, err := leases.TakeLease(ctx, ns, "report").LeaseWanted(wanted).Execute()
	check(err)
	equal(hit.Value, "done")

	// Odd keys; `..` and what begins with a slash by the query alone.
	for _, key := range []string{"a b", "a+b", "50%", "user/42", "what?", "#1", "crème ☕", "&=;"} {
		_, err = put(key, key)
		check(err)
		entry, _, err = entries.GetEntry(ctx, ns, key).Execute()
		check(err)
		equal(entry.Value, key)
		entry, _, err = entries.GetEntryByQuery(ctx, ns).Key(key).Execute()
		check(err)
		equal(entry.Value, key)
	}
	for _, key := range []string{".", "..", "/rooted", "a//b"} {
		_, _, err = entries.PutEntryByQuery(ctx, ns).Key(key).EntryWrite(pantler.EntryWrite{Value: key}).Execute()
		check(err)
		entry, _, err = entries.GetEntryByQuery(ctx, ns).Key(key).Execute()
		check(err)
		equal(entry.Value, key)
	}

	// A patch of a policy says what it changes and no more.
	patch := pantler.PolicyPatch{}
	patch.SetMaxTtl(3600)
	_, _, err = client.NamespacesAPI.PatchNamespace(ctx, ns).PolicyPatch(patch).Execute()
	check(err)
	patch = pantler.PolicyPatch{}
	patch.SetDurability(pantler.MEMORY)
	patch.SetMaxEntriesNil()
	policy, _, err := client.NamespacesAPI.PatchNamespace(ctx, ns).PolicyPatch(patch).Execute()
	check(err)
	equal(policy.GetMaxTtl(), 3600.0)
	equal(policy.Durability, pantler.MEMORY)
	stats, _, err := client.StatisticsAPI.GetNamespaceStats(ctx, ns).Execute()
	check(err)
	equal(stats.Hits.Total > 0, true)
}
