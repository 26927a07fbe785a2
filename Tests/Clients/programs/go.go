// Pantler from Go, by net/http.
package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
)

var shop = "http://127.0.0.1:8080/v1/namespaces/go"

type entry struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

// call sends a request. The body is read to its end, so that the connection is used again.
func call(method, path, body string, headers ...string) (*http.Response, []byte) {
	request, err := http.NewRequest(method, shop+path, strings.NewReader(body))
	check(err == nil, "%v", err)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(request)
	check(err == nil, "%v", err)
	defer answer.Body.Close()
	told, err := io.ReadAll(answer.Body)
	check(err == nil, "%v", err)
	return answer, told
}

// put keeps a value and says with which status that was answered.
func put(path string, value any, headers ...string) (int, []byte) {
	body, err := json.Marshal(map[string]any{"value": value, "ttl": 60})
	check(err == nil, "%v", err)
	answer, told := call("PUT", path, string(body), headers...)
	return answer.StatusCode, told
}

func get(path string) (found entry, etag string) {
	answer, told := call("GET", path, "")
	check(answer.StatusCode == 200, "%s: %s", path, told)
	check(json.Unmarshal(told, &found) == nil, "%s: %s", path, told)
	return found, answer.Header.Get("ETag")
}

func check(right bool, format string, values ...any) {
	if !right {
		log.Fatalf(format, values...)
	}
}

func main() {
	if told := os.Getenv("PANTLER_URL"); told != "" {
		shop = told + "/v1/namespaces/go"
	}

	// Put and get. A request that is made by hand has no content type, and is read as JSON all the same.
	status, told := put("/entries/product-42", map[string]any{"name": "Quince jelly", "price": 4.2})
	check(status < 300, "%s", told)
	found, etag := get("/entries/product-42")
	check(found.Value.(map[string]any)["price"] == 4.2, "%v", found)

	// A miss says why.
	answer, told := call("GET", "/entries/nothing", "")
	check(answer.StatusCode == 404 && strings.Contains(string(told), `"reason":"absent"`), "%s", told)

	// Compare and set: what was read is replaced only if nobody else was there first.
	status, told = put("/entries/product-42", 1, "If-Match", etag)
	check(status < 300, "%s", told)
	status, told = put("/entries/product-42", 2, "If-Match", etag)
	check(status == 412 && strings.Contains(string(told), `"code":"version_mismatch"`), "%s", told)
	// Ask again only for what has changed.
	_, etag = get("/entries/product-42")
	answer, _ = call("GET", "/entries/product-42", "", "If-None-Match", etag)
	check(answer.StatusCode == 304, "%d", answer.StatusCode)

	// Bytes with a media type.
	logo := "\x89PNG\r\n\x1a\n\x00"
	answer, told = call("PUT", "/values/logo?ttl=60", logo, "Content-Type", "image/png")
	check(answer.StatusCode < 300, "%s", told)
	answer, told = call("GET", "/values/logo", "")
	check(string(told) == logo && answer.Header.Get("Content-Type") == "image/png", "%q", told)
	// A reader whose length is not known goes up in chunks.
	request, _ := http.NewRequest("PUT", shop+"/values/chunks", io.MultiReader(strings.NewReader("one"), strings.NewReader("two")))
	answer, err := http.DefaultClient.Do(request)
	check(err == nil && answer.StatusCode < 300, "%v", err)
	answer.Body.Close()
	_, told = call("GET", "/values/chunks", "")
	check(string(told) == "onetwo", "%s", told)

	// Many in one round trip. http.Post is told that it is JSON.
	answer, err = http.Post(shop+"/batch/get", "application/json", bytes.NewBufferString(`{"keys":["product-42","nothing"]}`))
	check(err == nil, "%v", err)
	var batch struct {
		Entries []entry  `json:"entries"`
		Missing []string `json:"missing"`
	}
	err = json.NewDecoder(answer.Body).Decode(&batch)
	answer.Body.Close()
	check(err == nil && batch.Entries[0].Key == "product-42" && batch.Missing[0] == "nothing", "%v", batch)

	// Of all who miss at once one gets a lease and loads; the others wait for what it puts, or are told that it is about to.
	var taken struct {
		Lease struct {
			Token string `json:"token"`
		} `json:"lease"`
	}
	answer, told = call("POST", "/leases/report", "")
	check(answer.StatusCode == 201 && json.Unmarshal(told, &taken) == nil, "%s", told)
	answer, told = call("POST", "/leases/report", `{"wait":0.1}`, "Content-Type", "application/json")
	check(answer.StatusCode == 409 && strings.Contains(string(told), `"reason":"filling"`), "%s", told)
	status, told = put("/entries/report", "done", "Lease", taken.Lease.Token)
	check(status < 300, "%s", told)
	answer, told = call("POST", "/leases/report", `{"wait":5}`, "Content-Type", "application/json")
	check(answer.StatusCode == 200 && strings.Contains(string(told), `"value":"done"`), "%s", told)
	// A lease fills once.
	status, told = put("/entries/report", "late", "Lease", taken.Lease.Token)
	check(status == 412 && strings.Contains(string(told), `"code":"lease_lost"`), "%s", told)

	// Odd keys: PathEscape in a path, Values in a query; `..` and what begins with a slash by the query alone.
	for _, key := range []string{"a b", "a+b", "50%", "user/42", "what?", "#1", "crème ☕", "&=;"} {
		status, told = put("/entries/"+url.PathEscape(key), key)
		check(status < 300, "%s: %s", key, told)
		for _, path := range []string{"/entries/" + url.PathEscape(key), "/entry?" + url.Values{"key": {key}}.Encode()} {
			found, _ = get(path)
			check(found.Value == key, "%s: %v", path, found)
		}
	}
	for _, key := range []string{".", "..", "/rooted", "a//b"} {
		path := "/entry?" + url.Values{"key": {key}}.Encode()
		status, told = put(path, key)
		check(status < 300, "%s: %s", key, told)
		found, _ = get(path)
		check(found.Value == key, "%s: %v", path, found)
	}

	// JoinPath folds `..`, and this asks to drop the whole namespace: it is refused.
	folded, err := url.JoinPath("/entries", "..")
	check(err == nil, "%v", err)
	answer, told = call("DELETE", strings.TrimSuffix(folded, "/"), "")
	check(strings.Contains(string(told), `"code":"confirmation_required"`), "%s: %s", folded, told)

	// What goes on all day.
	for number := 1; number <= 500; number++ {
		path := "/entries/item-" + strconv.Itoa(number)
		status, told = put(path, number)
		check(status < 300, "%s", told)
		found, _ = get(path)
		check(found.Value == float64(number), "%v", found)
	}
}
