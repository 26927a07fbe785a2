<?php
// Pantler from PHP, by its curl extension.

$shop = (getenv("PANTLER_URL") ?: "http://127.0.0.1:8080") . "/v1/namespaces/php";
$curl = curl_init(); // keeps its connection

/** A call, and its answer: the status, the headers in small letters, the body. */
function call(string $method, string $path, mixed $body = null, array $headers = []): array
{
    global $curl, $shop;
    $told = [];
    curl_reset($curl);
    curl_setopt_array($curl, [
        CURLOPT_URL => $shop . $path,
        CURLOPT_CUSTOMREQUEST => $method,
        CURLOPT_HTTPHEADER => $headers,
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_HEADERFUNCTION => function ($curl, $line) use (&$told) {
            [$name, $value] = explode(":", $line, 2) + [1 => ""];
            $told[strtolower($name)] = trim($value);
            return strlen($line);
        },
    ]);
    if ($body !== null) {
        curl_setopt($curl, CURLOPT_POSTFIELDS, $body);
    }
    $answer = curl_exec($curl);
    return [curl_getinfo($curl, CURLINFO_RESPONSE_CODE), $told, $answer];
}

/** Without a content type of one's own curl says that a body is a form; it is read as JSON all the same. */
function put(string $path, mixed $value, array $headers = []): array
{
    return call("PUT", $path, json_encode(["value" => $value, "ttl" => 60], JSON_UNESCAPED_UNICODE), $headers);
}

function check(bool $right, array $answer): void
{
    $right || throw new Exception(json_encode($answer));
}

// Put and get.
check(put("/entries/product-42", ["name" => "Quince jelly", "price" => 4.2])[0] < 300, []);
$entry = call("GET", "/entries/product-42");
check(json_decode($entry[2], true)["value"] == ["name" => "Quince jelly", "price" => 4.2], $entry);
// The shortest way to read; a miss is a warning and false, or nothing at all where that is asked for.
check(json_decode(file_get_contents("$shop/entries/product-42"))->key === "product-42", []);
check(@file_get_contents("$shop/entries/nothing") === false, []);
check(file_get_contents("$shop/entries/nothing?miss=204") === "", []);

// A miss says why.
$miss = call("GET", "/entries/nothing");
check($miss[0] === 404 && json_decode($miss[2])->reason === "absent", $miss);

// Compare and set: what was read is replaced only if nobody else was there first.
$etag = $entry[1]["etag"];
check(put("/entries/product-42", 1, ["If-Match: $etag"])[0] < 300, []);
$late = put("/entries/product-42", 2, ["If-Match: $etag"]);
check($late[0] === 412 && json_decode($late[2])->code === "version_mismatch", $late);
// Ask again only for what has changed.
$etag = call("GET", "/entries/product-42")[1]["etag"];
check(call("GET", "/entries/product-42", null, ["If-None-Match: $etag"])[0] === 304, []);

// Bytes with a media type.
$logo = "\x89PNG\r\n\x1a\n\x00";
check(call("PUT", "/values/logo?ttl=60", $logo, ["Content-Type: image/png"])[0] < 300, []);
$got = call("GET", "/values/logo");
check($got[2] === $logo && $got[1]["content-type"] === "image/png", [bin2hex($got[2]), $got[1]]);

// Many in one round trip. A POST says that it is JSON.
$keys = json_encode(["keys" => ["product-42", "nothing"]]);
$found = call("POST", "/batch/get", $keys, ["Content-Type: application/json"]);
check(json_decode($found[2])->entries[0]->key === "product-42" && json_decode($found[2])->missing === ["nothing"], $found);

// Of all who miss at once one gets a lease and loads; the others wait for what it puts, or are told that it is about to.
$taken = call("POST", "/leases/report");
check($taken[0] === 201, $taken);
$held = call("POST", "/leases/report", json_encode(["wait" => 0.1]), ["Content-Type: application/json"]);
check($held[0] === 409 && json_decode($held[2])->reason === "filling", $held);
$token = json_decode($taken[2])->lease->token;
check(put("/entries/report", "done", ["Lease: $token"])[0] < 300, []);
$hit = call("POST", "/leases/report", json_encode(["wait" => 5]), ["Content-Type: application/json"]);
check(json_decode($hit[2])->value === "done", $hit);
// A lease fills once.
$late = put("/entries/report", "late", ["Lease: $token"]);
check($late[0] === 412 && json_decode($late[2])->code === "lease_lost", $late);

// Odd keys: rawurlencode in a path, http_build_query in a query; `..` and what begins with a slash by the query alone.
foreach (["a b", "a+b", "50%", "user/42", "what?", "#1", "crème ☕", "&=;"] as $key) {
    check(put("/entries/" . rawurlencode($key), $key)[0] < 300, [$key]);
    foreach (["/entries/" . rawurlencode($key), "/entry?" . http_build_query(["key" => $key])] as $path) {
        $got = call("GET", $path);
        check(json_decode($got[2])->value === $key, $got);
    }
}
foreach ([".", "..", "/rooted", "a//b"] as $key) {
    $path = "/entry?" . http_build_query(["key" => $key]);
    check(put($path, $key)[0] < 300, [$key]);
    $got = call("GET", $path);
    check(json_decode($got[2])->value === $key, $got);
}

// rawurlencode leaves `..` alone, and curl folds it: these ask to drop the whole namespace, or for nothing that there is.
$folded = call("DELETE", "/entries/../../php");
check(json_decode($folded[2])->code === "confirmation_required", $folded);
$folded = call("DELETE", "/entries/" . rawurlencode(".."));
check(json_decode($folded[2])->code === "route_not_found", $folded);
// An array is a form of several parts, and no value.
check(call("PUT", "/values/logo", ["file" => "logo"])[0] === 415, []);

// What goes on all day.
for ($number = 1; $number <= 500; $number++) {
    $path = "/entries/item-$number";
    check(put($path, $number, ["Content-Type: application/json"])[0] < 300, [$path]);
    $got = call("GET", $path);
    check(json_decode($got[2])->value === $number, $got);
}
