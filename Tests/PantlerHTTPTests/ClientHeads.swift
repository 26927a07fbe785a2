/// What real clients send as they come: each gets an entry, or puts `{"value":1}`.
enum ClientHeads {
    static let all = gets + puts

    static let gets: [(client: String, request: String)] = [
        ("curl 8", get("Host: localhost:8080", "User-Agent: curl/8.14.1", "Accept: */*")),
        (
            "Python, requests",
            get(
                "Host: localhost:8080",
                "User-Agent: python-requests/2.32.5",
                "Accept-Encoding: gzip, deflate",
                "Accept: */*",
                "Connection: keep-alive"
            )
        ),
        (
            "Python, httpx",
            get(
                "Host: localhost:8080",
                "Accept: */*",
                "Accept-Encoding: gzip, deflate",
                "Connection: keep-alive",
                "User-Agent: python-httpx/0.28.1"
            )
        ),
        (
            "Python, aiohttp",
            get(
                "Host: localhost:8080",
                "Accept: */*",
                "Accept-Encoding: gzip, deflate",
                "User-Agent: Python/3.13 aiohttp/3.13.2"
            )
        ),
        (
            "Python, urllib",
            get(
                "Accept-Encoding: identity",
                "Host: localhost:8080",
                "User-Agent: Python-urllib/3.13",
                "Connection: close"
            )
        ),
        (
            "Node, fetch",
            get(
                "host: localhost:8080",
                "connection: keep-alive",
                "accept: */*",
                "accept-language: *",
                "sec-fetch-mode: cors",
                "user-agent: node",
                "accept-encoding: gzip, deflate"
            )
        ),
        (
            "Node, axios",
            get(
                "Accept: application/json, text/plain, */*",
                "User-Agent: axios/1.13.2",
                "Accept-Encoding: gzip, compress, deflate, br",
                "Host: localhost:8080",
                "Connection: keep-alive"
            )
        ),
        ("Node, http", get("Host: localhost:8080", "Connection: keep-alive")),
        (
            "Java, java.net.http, which offers HTTP/2",
            get(
                "Connection: Upgrade, HTTP2-Settings",
                "Content-Length: 0",
                "Host: localhost:8080",
                "HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA",
                "Upgrade: h2c",
                "User-Agent: Java-http-client/21.0.9"
            )
        ),
        (
            "Java, java.net.http",
            get("Content-Length: 0", "Host: localhost:8080", "User-Agent: Java-http-client/21.0.9")
        ),
        (
            "Java, HttpURLConnection",
            get("User-Agent: Java/21.0.9", "Host: localhost:8080", "Accept: */*", "Connection: keep-alive")
        ),
        (
            "Java, OkHttp",
            get("Host: localhost:8080", "Connection: Keep-Alive", "Accept-Encoding: gzip", "User-Agent: okhttp/5.3.2")
        ),
        ("Go", get("Host: localhost:8080", "User-Agent: Go-http-client/1.1", "Accept-Encoding: gzip")),
        (
            "Ruby, Net::HTTP",
            get(
                "Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3",
                "Accept: */*",
                "User-Agent: Ruby",
                "Host: localhost:8080",
                "Connection: close"
            )
        ),
        ("PHP, file_get_contents", get("Host: localhost:8080", "Connection: close")),
        ("PHP, Guzzle", get("Host: localhost:8080", "User-Agent: GuzzleHttp/7")),
        ("Rust, reqwest", get("accept: */*", "host: localhost:8080")),
        (
            ".NET, HttpClient",
            get("Host: localhost:8080", "traceparent: 00-3f0e7f6d2f3d2c5b8f0a4f5c3a1f7d11-b7ad6b7169203331-00")
        ),
        (
            "nginx, proxy_pass as it comes",
            get("Host: localhost", "Connection: close", "User-Agent: curl/8.14.1", "Accept: */*", version: "1.0")
        ),
        (
            "nginx, keep-alive and forwarding",
            get(
                "Host: localhost",
                "X-Real-IP: 203.0.113.7",
                "X-Forwarded-For: 203.0.113.7",
                "X-Forwarded-Proto: https",
                "User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
                "Accept: */*",
                "Cookie: session=abc; theme=dark"
            )
        ),
        (
            "Envoy",
            get(
                "host: localhost",
                "user-agent: curl/8.14.1",
                "accept: */*",
                "x-forwarded-proto: http",
                "x-request-id: 9f1ab1a7-6c3f-4f5d-8a2e-1c0f5a0d3b11",
                "x-envoy-expected-rq-timeout-ms: 15000",
                "x-b3-traceid: 463ac35c9f6413ad48485a3953bb6124",
                "x-b3-spanid: a2fb4a1d1a96d312",
                "x-b3-sampled: 1"
            )
        ),
        (
            "a service with a token and a trace",
            get(
                "Host: localhost",
                "Authorization: Bearer pt_7_c2VjcmV0LXNlY3JldC1zZWNyZXQ",
                "X-Forwarded-For: 203.0.113.7, 10.0.0.4",
                "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                "tracestate: vendor=opaque",
                "baggage: userId=alice"
            )
        ),
        (
            "a browser",
            get(
                "Host: localhost:8080",
                "Connection: keep-alive",
                "Cache-Control: max-age=0",
                "sec-ch-ua: \"Chromium\";v=\"142\", \"Not=A?Brand\";v=\"24\"",
                "sec-ch-ua-mobile: ?0",
                "Upgrade-Insecure-Requests: 1",
                "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                "Sec-Fetch-Site: none",
                "Accept-Encoding: gzip, deflate, br, zstd",
                "Accept-Language: en-GB,en;q=0.9",
                "Pragma: no-cache"
            )
        ),
        (
            "one that says what it does not send",
            get("Host: localhost", "Content-Type: application/json", "Content-Type: text/plain", "X-Name: Zo\u{e9}\tK")
        ),
        (
            "a key that was encoded",
            get("Host: localhost", path: "entries/user%3A42%2Fcaf%C3%A9%20%2B%20%f0%9f%8d%9e")
        ),
    ]

    static let puts: [(client: String, request: String)] = [
        (
            "curl 8, -d",
            put(
                "Host: localhost:8080",
                "User-Agent: curl/8.14.1",
                "Accept: */*",
                "Content-Length: 11",
                "Content-Type: application/x-www-form-urlencoded"
            )
        ),
        (
            "curl 8, --json",
            put(
                "Host: localhost:8080",
                "User-Agent: curl/8.14.1",
                "Content-Type: application/json",
                "Accept: application/json",
                "Content-Length: 11"
            )
        ),
        (
            "Python, requests",
            put(
                "Host: localhost:8080",
                "User-Agent: python-requests/2.32.5",
                "Accept-Encoding: gzip, deflate",
                "Accept: */*",
                "Connection: keep-alive",
                "Content-Length: 11",
                "Content-Type: application/json"
            )
        ),
        (
            "Python, urllib",
            put(
                "Accept-Encoding: identity",
                "Content-Type: application/x-www-form-urlencoded",
                "Content-Length: 11",
                "Host: localhost:8080",
                "User-Agent: Python-urllib/3.13",
                "Connection: close"
            )
        ),
        (
            "Node, fetch",
            put(
                "host: localhost:8080",
                "connection: keep-alive",
                "content-type: text/plain;charset=UTF-8",
                "accept: */*",
                "accept-language: *",
                "sec-fetch-mode: cors",
                "user-agent: node",
                "accept-encoding: gzip, deflate",
                "content-length: 11"
            )
        ),
        (
            "Java, java.net.http, which offers HTTP/2",
            put(
                "Connection: Upgrade, HTTP2-Settings",
                "Content-Length: 11",
                "Host: localhost:8080",
                "HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA",
                "Upgrade: h2c",
                "User-Agent: Java-http-client/21.0.9"
            )
        ),
        (
            "Java, java.net.http",
            put("Content-Length: 11", "Host: localhost:8080", "User-Agent: Java-http-client/21.0.9")
        ),
        (
            "Go",
            put("Host: localhost:8080", "User-Agent: Go-http-client/1.1", "Content-Length: 11", "Accept-Encoding: gzip")
        ),
        (
            "Ruby, Net::HTTP",
            put(
                "Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3",
                "Accept: */*",
                "User-Agent: Ruby",
                "Content-Type: application/json",
                "Host: localhost:8080",
                "Content-Length: 11"
            )
        ),
        (
            "nginx, proxy_pass as it comes",
            put(
                "Host: localhost",
                "Connection: close",
                "Content-Length: 11",
                "Content-Type: application/json",
                version: "1.0"
            )
        ),
        (
            "a service with a token and a trace",
            put(
                "Host: localhost",
                "Authorization: Bearer pt_7_c2VjcmV0LXNlY3JldC1zZWNyZXQ",
                "X-Forwarded-For: 203.0.113.7",
                "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                "Content-Type: application/json; charset=utf-8",
                "Content-Length: 11",
                "Idempotency-Key: 7"
            )
        ),
        (
            "a key that was encoded",
            put("Host: localhost", "Content-Length: 11", path: "entries/user%3A42%2Fcaf%C3%A9")
        ),
    ]

    private static func get(_ fields: String..., path: String = "entries/a", version: String = "1.1") -> String {
        head("GET", path, version, fields)
    }

    private static func put(_ fields: String..., path: String = "entries/a", version: String = "1.1") -> String {
        head("PUT", path, version, fields) + #"{"value":1}"#
    }

    private static func head(_ method: String, _ path: String, _ version: String, _ fields: [String]) -> String {
        "\(method) /v1/namespaces/shop/\(path) HTTP/\(version)\r\n" + fields.map { $0 + "\r\n" }.joined() + "\r\n"
    }
}
