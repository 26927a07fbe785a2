/// The table of requests that are refused. NS stands for a namespace with `max_value_size` 1,000 that holds one entry, `kept`.
enum BadInputCases {
    static let all = keys + namespaces + bodies + times + queries + heads

    private static func put(_ name: String, _ body: String, _ status: Int, _ code: String?) -> BadRequest {
        BadRequest(name, "PUT", "NS/entries/kept", body: body, status, code)
    }

    private static let keys: [BadRequest] = [
        ("1,025 bytes", String(repeating: "k", count: 1025), "key_too_long"),
        ("1,026 bytes in 513 characters", String(repeating: "%C3%A9", count: 513), "key_too_long"),
        ("invalid UTF-8", "a%FF", "key_invalid"), ("NUL", "a%00b", "key_invalid"),
        ("overlong NUL", "%C0%80", "key_invalid"),
        ("overlong slash", "%C0%AF", "key_invalid"), ("a surrogate", "%ED%A0%80", "key_invalid"),
        ("cut short", "%E2%82", "key_invalid"), ("beyond Unicode", "%F4%90%80%80", "key_invalid"),
        ("a percent and no hex", "%zz", nil),
        ("a percent at the end", "a%", nil),
    ].flatMap { name, key, code in
        [
            BadRequest("key with \(name): GET", "GET", "NS/entries/\(key)", 400, code),
            BadRequest("key with \(name): PUT", "PUT", "NS/entries/\(key)", body: #"{"value":1}"#, 400, code),
            BadRequest("key with \(name): PUT of a value", "PUT", "NS/values/\(key)", body: "1", 400, code),
            BadRequest("key with \(name): DELETE", "DELETE", "NS/entry?key=\(key)", 400, code),
            BadRequest("key with \(name): POST", "POST", "NS/counters/\(key)", body: #"{"initial":1}"#, 400, code),
        ]
    }

    private static let namespaces: [BadRequest] = [
        "Shop", "-shop", ".shop", "_shop", "sh%20op", "sh%2Fop", "%FF", "sh%C3%B6p", "..",
        String(repeating: "n", count: 64),
    ].flatMap { name in
        [
            BadRequest("namespace \(name): GET", "GET", "/v1/namespaces/\(name)/entries/a", 400, "namespace_invalid"),
            BadRequest(
                "namespace \(name): PUT",
                "PUT",
                "/v1/namespaces/\(name)/entries/a",
                body: #"{"value":1}"#,
                400,
                "namespace_invalid"
            ),
            BadRequest(
                "namespace \(name): policy",
                "PUT",
                "/v1/namespaces/\(name)",
                body: "{}",
                400,
                "namespace_invalid"
            ),
        ]
    }

    private static let deep = String(repeating: "[", count: 10_000) + String(repeating: "]", count: 10_000)
    private static let deepObject =
        String(repeating: #"{"a":"#, count: 10_000) + "1" + String(repeating: "}", count: 10_000)
    private static let tags = (0...64).map { "\"t\($0)\"" }.joined(separator: ",")

    private static let bodies: [BadRequest] = [
        put("no body", "", 400, "invalid_json"),
        put("half a body", #"{"value":"#, 400, "invalid_json"),
        put("more than one value", #"{"value":1}{}"#, 400, "invalid_json"),
        put("a trailing comma", #"{"value":1,}"#, 400, "invalid_json"),
        put("a leading zero", #"{"value":01}"#, 400, "invalid_json"),
        put("single quotes", "{'value':1}", 400, "invalid_json"),
        put("a bare control character", "{\"value\":\"\u{01}\"}", 400, "invalid_json"),
        put("a bad escape", #"{"value":"\x"}"#, 400, "invalid_json"),
        put("a byte order mark", "\u{feff}{\"value\":1}", 400, "invalid_json"),
        put("nested 10,000 deep", #"{"value":\#(deep)}"#, 400, "json_too_deep"),
        put("objects nested 10,000 deep", #"{"value":\#(deepObject)}"#, 400, "json_too_deep"),
        BadRequest("a JSON value nested 10,000 deep", "PUT", "NS/values/kept", body: deep, 400, "json_too_deep"),
        BadRequest("a JSON value that is none", "PUT", "NS/values/kept", body: "{]", 400, "invalid_json"),
        BadRequest("an empty JSON value", "PUT", "NS/values/kept", body: "", 400, "invalid_json"),
        put("a member twice", #"{"value":1,"value":2}"#, 400, "duplicate_member"),
        put("a member twice, once escaped", #"{"value":1,"v\u0061lue":2}"#, 400, "duplicate_member"),
        BadRequest(
            "a policy's member twice",
            "PUT",
            "NS",
            body: #"{"max_ttl":1,"max_ttl":2}"#,
            400,
            "duplicate_member"
        ),
        BadRequest(
            "a counter's member twice",
            "POST",
            "NS/counters/c",
            body: #"{"by":1,"by":2}"#,
            400,
            "duplicate_member"
        ),
        put("an unknown member", #"{"value":1,"tll":60}"#, 422, "unknown_member"),
        put("no value", #"{"ttl":60}"#, 422, "missing_member"),
        put("no object", "[1]", 422, nil),
        put("two values", #"{"value":1,"value_base64":"AQID"}"#, 422, nil),
        put("a content type without bytes", #"{"value":1,"content_type":"image/png"}"#, 422, nil),
        put("bad base64", #"{"value_base64":"A?=="}"#, 422, "member_invalid"),
        put("base64 cut short", #"{"value_base64":"AQI"}"#, 422, "member_invalid"),
        put(
            "a content type that is none",
            #"{"value_base64":"AQID","content_type":"png\r\nX: 1"}"#,
            422,
            "member_invalid"
        ),
        put("65 tags", #"{"value":1,"tags":[\#(tags)]}"#, 422, "tags_invalid"),
        put("an empty tag", #"{"value":1,"tags":[""]}"#, 422, "tags_invalid"),
        put(
            "a tag of 256 bytes",
            #"{"value":1,"tags":["\#(String(repeating: "t", count: 256))"]}"#,
            422,
            "tags_invalid"
        ),
        put("tags that are no strings", #"{"value":1,"tags":[1]}"#, 422, "tags_invalid"),
        put("tags that are no array", #"{"value":1,"tags":"a"}"#, 422, "tags_invalid"),
        put("a value over the limit", #"{"value":"\#(String(repeating: "v", count: 1000))"}"#, 413, "value_too_large"),
    ]

    private static let times: [BadRequest] =
        [
            "0", "-1", "-0.001", "1e300", "3153600001", "\"60\"", "true", "[]", "0.0001",
        ].flatMap { ttl in
            [
                put("ttl \(ttl)", #"{"value":1,"ttl":\#(ttl)}"#, 422, "ttl_invalid"),
                BadRequest(
                    "ttl \(ttl): PATCH",
                    "PATCH",
                    "NS/entries/kept",
                    type: "application/merge-patch+json",
                    body: #"{"ttl":\#(ttl)}"#,
                    422,
                    "ttl_invalid"
                ),
                BadRequest(
                    "ttl \(ttl): counter",
                    "POST",
                    "NS/counters/c",
                    body: #"{"initial":1,"ttl":\#(ttl)}"#,
                    422,
                    "ttl_invalid"
                ),
            ]
        }
        + ["0", "-1", "NaN", "nan", "Infinity", "1e300", "0x10", "60s", "", "1%2C5"].map { ttl in
            BadRequest(
                "?ttl=\(ttl)",
                "PUT",
                "NS/values/kept?ttl=\(ttl)",
                type: "image/png",
                body: "x",
                422,
                "ttl_invalid"
            )
        } + [
            put("ttl NaN", #"{"value":1,"ttl":NaN}"#, 400, "invalid_json"),
            put("ttl Infinity", #"{"value":1,"ttl":Infinity}"#, 400, "invalid_json"),
            put(
                "ttl and expires_at",
                #"{"value":1,"ttl":60,"expires_at":"2099-01-01T00:00:00Z"}"#,
                400,
                "ttl_conflict"
            ),
            BadRequest(
                "?ttl&expires_at",
                "PUT",
                "NS/values/kept?ttl=60&expires_at=2099-01-01T00:00:00Z",
                type: "image/png",
                body: "x",
                400,
                "ttl_conflict"
            ),
            put("stale_ttl -1", #"{"value":1,"stale_ttl":-1}"#, 422, "ttl_invalid"),
            put("stale_ttl 1e300", #"{"value":1,"stale_ttl":1e300}"#, 422, "ttl_invalid"),
            put(
                "expires_at without a zone",
                #"{"value":1,"expires_at":"2099-01-01T00:00:00"}"#,
                422,
                "expires_at_invalid"
            ),
            put(
                "expires_at on the 30th of February",
                #"{"value":1,"expires_at":"2099-02-30T00:00:00Z"}"#,
                422,
                "expires_at_invalid"
            ),
            put("expires_at as a number", #"{"value":1,"expires_at":4070908800}"#, 422, "expires_at_invalid"),
            put(
                "expires_at in the past",
                #"{"value":1,"expires_at":"2001-01-01T00:00:00Z"}"#,
                422,
                "expires_at_invalid"
            ),
        ]

    private static let queries: [BadRequest] = [
        BadRequest("a bad cursor", "GET", "NS/entries?cursor=nonsense", 400, "cursor_invalid"),
        BadRequest("limit 0", "GET", "NS/entries?limit=0", 400, "limit_invalid"),
        BadRequest("limit 1001", "GET", "NS/entries?limit=1001", 400, "limit_invalid"),
        BadRequest("peek maybe", "GET", "NS/entries/kept?peek=maybe", 400, "query_invalid"),
        BadRequest(
            "a target of 9,000 bytes",
            "GET",
            "NS/entries/" + String(repeating: "k", count: 9000),
            414,
            "uri_too_long"
        ),
        BadRequest("no route", "GET", "/v2/namespaces", 404, "route_not_found"),
        BadRequest("no route in a namespace", "GET", "NS/nothing/kept", 404, "route_not_found"),
        BadRequest("a lease of an empty key", "POST", "NS/leases/", body: "{}", 400, "key_required"),
        BadRequest("a lease to be got", "GET", "NS/leases/kept", 405, "method_not_allowed"),
        BadRequest(
            "a lease by a form",
            "POST",
            "NS/leases/a",
            type: "text/plain",
            body: "ttl=1",
            415,
            "unsupported_media_type"
        ),
        BadRequest("a path with a slash too many", "GET", "/livez/", 404, "route_not_found"),
    ]

    private static let heads: [BadRequest] = [
        BadRequest("a miss of another status", "GET", "NS/entries/none?miss=200", 400, "query_invalid"),
        BadRequest(
            "an envelope as a form of parts",
            "PUT",
            "NS/entries/kept",
            type: "multipart/form-data; boundary=x",
            body: #"{"value":1}"#,
            415,
            "unsupported_media_type"
        ),
        BadRequest(
            "a value as a form of parts",
            "PUT",
            "NS/values/kept",
            type: "Multipart/Form-Data; boundary=x",
            body: "--x--",
            415,
            "unsupported_media_type"
        ),
        BadRequest(
            "a patch as text",
            "PATCH",
            "NS/entries/kept",
            type: "text/plain",
            body: #"{"ttl":1}"#,
            415,
            "unsupported_media_type"
        ),
        BadRequest(
            "a flush as text",
            "POST",
            "NS/invalidate",
            type: "text/plain",
            body: #"{"all":true}"#,
            415,
            "unsupported_media_type"
        ),
        BadRequest(
            "a flush of no type",
            "POST",
            "NS/invalidate",
            type: nil,
            body: #"{"all":true}"#,
            415,
            "unsupported_media_type"
        ),
        BadRequest(
            "a batch as text",
            "POST",
            "NS/batch/delete",
            type: "text/plain",
            body: #"{"keys":["kept"]}"#,
            415,
            "unsupported_media_type"
        ),
        BadRequest(
            "a counter as a form",
            "POST",
            "NS/counters/kept",
            type: "multipart/form-data",
            body: "{}",
            415,
            "unsupported_media_type"
        ),
        BadRequest("a policy as text", "PUT", "NS", type: "text/plain", body: "{}", 415, "unsupported_media_type"),
        BadRequest(
            "If-Match: nonsense",
            "DELETE",
            "NS/entries/kept",
            headers: ["If-Match": "kept"],
            400,
            "header_invalid"
        ),
        BadRequest(
            "Cache-Tag with a tag of 256 bytes",
            "PUT",
            "NS/values/kept",
            type: "image/png",
            headers: ["Cache-Tag": String(repeating: "t", count: 256)],
            body: "x",
            422,
            "tags_invalid"
        ),
    ]
}
