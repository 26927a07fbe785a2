// Pantler from Java, by java.net.http. It runs as it is: java java.java

import static java.nio.charset.StandardCharsets.UTF_8;

import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

class Pantler {
    static final String SHOP =
        Optional.ofNullable(System.getenv("PANTLER_URL")).orElse("http://127.0.0.1:8080") + "/v1/namespaces/java";
    // A client as it comes offers HTTP/2 with every request, and is answered in 1.1.
    static final HttpClient CLIENT = HttpClient.newHttpClient();

    static HttpRequest.Builder at(String path) {
        return HttpRequest.newBuilder(URI.create(SHOP + path));
    }

    static HttpResponse<String> send(HttpRequest.Builder request) throws Exception {
        return CLIENT.send(request.build(), BodyHandlers.ofString());
    }

    static HttpResponse<String> get(String path) throws Exception {
        return send(at(path));
    }

    static HttpResponse<String> put(String path, String entry) throws Exception {
        return send(at(path).PUT(BodyPublishers.ofString(entry)));
    }

    // URLEncoder writes forms, where a space is `+`. In a path that would be a plus.
    static String inPath(String key) {
        return URLEncoder.encode(key, UTF_8).replace("+", "%20");
    }

    static String inQuery(String key) {
        return URLEncoder.encode(key, UTF_8);
    }

    static void check(boolean right, HttpResponse<?> answer) {
        if (!right) throw new AssertionError(answer.request().method() + " " + answer.uri() + ": " + answer + " " + answer.body());
    }

    public static void main(String[] arguments) throws Exception {
        // Put and get. A publisher says no content type, and its body is read as JSON all the same.
        var put = put("/entries/product-42", "{\"value\":{\"name\":\"Quince jelly\",\"price\":4.2},\"ttl\":60}");
        check(put.statusCode() < 300, put);
        var entry = get("/entries/product-42");
        check(entry.body().contains("\"value\":{\"name\":\"Quince jelly\",\"price\":4.2}"), entry);

        // A client that is told to speak 1.1 alone offers nothing, and is served the same.
        var plain = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        var same = plain.send(at("/entries/product-42").build(), BodyHandlers.ofString());
        check(same.body().equals(entry.body()) && entry.version() == HttpClient.Version.HTTP_1_1, same);

        // A miss says why.
        var miss = get("/entries/nothing");
        check(miss.statusCode() == 404 && miss.body().contains("\"reason\":\"absent\""), miss);

        // Compare and set: what was read is replaced only if nobody else was there first.
        var etag = entry.headers().firstValue("ETag").orElseThrow();
        var first = send(at("/entries/product-42").header("If-Match", etag).PUT(BodyPublishers.ofString("{\"value\":1}")));
        check(first.statusCode() < 300, first);
        var late = send(at("/entries/product-42").header("If-Match", etag).PUT(BodyPublishers.ofString("{\"value\":2}")));
        check(late.statusCode() == 412 && late.body().contains("\"code\":\"version_mismatch\""), late);
        // Ask again only for what has changed.
        etag = get("/entries/product-42").headers().firstValue("ETag").orElseThrow();
        var unchanged = send(at("/entries/product-42").header("If-None-Match", etag));
        check(unchanged.statusCode() == 304, unchanged);

        // Bytes with a media type.
        byte[] logo = {(byte) 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 0};
        var up = send(at("/values/logo?ttl=60").header("Content-Type", "image/png").PUT(BodyPublishers.ofByteArray(logo)));
        check(up.statusCode() < 300, up);
        var down = CLIENT.send(at("/values/logo").build(), BodyHandlers.ofByteArray());
        check(Arrays.equals(down.body(), logo), down);
        check(down.headers().firstValue("Content-Type").equals(Optional.of("image/png")), down);
        // What has no length that is known goes up in chunks.
        BodyPublisher parts = BodyPublishers.ofByteArrays(List.of("one".getBytes(), "two".getBytes()));
        var chunks = send(at("/values/chunks").PUT(parts));
        check(chunks.statusCode() < 300 && get("/values/chunks").body().equals("onetwo"), chunks);

        // Many in one round trip. A POST says that it is JSON.
        var keys = BodyPublishers.ofString("{\"keys\":[\"product-42\",\"nothing\"]}");
        var found = send(at("/batch/get").header("Content-Type", "application/json").POST(keys));
        check(found.body().contains("\"key\":\"product-42\"") && found.body().contains("\"missing\":[\"nothing\"]"), found);

        // Of all who miss at once one gets a lease and loads; the others wait for what it puts, or are told that it is about to.
        var taken = send(at("/leases/report").POST(BodyPublishers.noBody()));
        check(taken.statusCode() == 201, taken);
        var json = at("/leases/report").header("Content-Type", "application/json");
        var held = send(json.POST(BodyPublishers.ofString("{\"wait\":0.1}")));
        check(held.statusCode() == 409 && held.body().contains("\"reason\":\"filling\""), held);
        var token = taken.body().replaceAll(".*\"token\":\"([^\"]*)\".*", "$1");
        var fill = at("/entries/report").header("Lease", token);
        var filled = send(fill.PUT(BodyPublishers.ofString("{\"value\":\"done\",\"ttl\":60}")));
        check(filled.statusCode() < 300, filled);
        var hit = send(json.POST(BodyPublishers.ofString("{\"wait\":5}")));
        check(hit.statusCode() == 200 && hit.body().contains("\"value\":\"done\""), hit);
        // A lease fills once.
        var overtaken = send(fill.PUT(BodyPublishers.ofString("{\"value\":\"late\"}")));
        check(overtaken.statusCode() == 412 && overtaken.body().contains("\"code\":\"lease_lost\""), overtaken);

        // Odd keys; `..` and what begins with a slash by the query alone.
        for (var key : List.of("a b", "a+b", "50%", "user/42", "what?", "#1", "crème ☕", "&=;")) {
            var made = put("/entries/" + inPath(key), "{\"value\":\"" + key + "\"}");
            check(made.statusCode() < 300, made);
            for (var path : List.of("/entries/" + inPath(key), "/entry?key=" + inQuery(key))) {
                var got = get(path);
                check(got.body().contains("\"value\":\"" + key + "\""), got);
            }
        }
        for (var key : List.of(".", "..", "/rooted", "a//b")) {
            var made = put("/entry?key=" + inQuery(key), "{\"value\":\"" + key + "\"}");
            check(made.statusCode() < 300, made);
            var got = get("/entry?key=" + inQuery(key));
            check(got.body().contains("\"value\":\"" + key + "\""), got);
        }

        // Resolved, `..` is folded away, and this asks to drop the whole namespace: it is refused.
        var folded = send(HttpRequest.newBuilder(URI.create(SHOP + "/entries/").resolve("..")).DELETE());
        check(folded.statusCode() >= 400, folded);
        // Left as it is, it is no key in a path.
        var dots = send(at("/entries/..").DELETE());
        check(dots.statusCode() == 400 && dots.body().contains("?key="), dots);

        // What goes on all day.
        for (var number = 1; number <= 500; number++) {
            var kept = put("/entries/item-" + number, "{\"value\":" + number + ",\"ttl\":60}");
            check(kept.statusCode() < 300, kept);
            var got = get("/entries/item-" + number);
            check(got.body().contains("\"value\":" + number + ","), got);
        }
    }
}
