import PantlerModel
import Testing

@testable import pantler

@Suite("What is answered about a lease")
struct LeaseAnswerTests {
    private func answer(_ status: Int, _ body: String, cacheStatus: String? = nil) throws -> LeaseAnswer {
        let type = status < 400 ? "application/json" : "application/problem+json"
        return try LeaseAnswer(
            Reply(status: status, contentType: type, body: Array(body.utf8), cacheStatus: cacheStatus)
        )
    }

    @Test(
        "an entry's value is what the view of plain bytes has, to the byte",
        arguments: [
            (#"{"key":"k","value":{"a":1.50},"version":3,"expires_at":null}"#, #"{"a":1.50}"#),
            ("{\"key\":\"value\",\"value\": 42\n,\"version\":3}", " 42\n"),
            ("{\"key\":\"k\",\"value\":\"x\"\r\n\t}", "\"x\"\r\n\t"),
            (#"{"key":"k","value":null,"version":3}"#, "null"),
            (#"{"key":"k","value_base64":"aGkK","content_type":"text/plain","version":3}"#, "hi\n"),
            (#"{"key":"k","value_base64":"","content_type":"text/plain","version":3}"#, ""),
        ]
    )
    func value(body: String, value: String) throws {
        guard case .entry(let entry, let isStale) = try answer(200, body, cacheStatus: "pantler; hit; ttl=9") else {
            Issue.record("no entry")
            return
        }
        #expect(String(decoding: entry.bytes, as: UTF8.self) == value && !isStale)
        let stale = try answer(201, #"{"lease":{"token":"t","expires_at":"x"},"stale_entry":\#(body),"fresh":true}"#)
        #expect(stale == .lease(token: "t", stale: entry))
    }

    @Test("stale, absent and leased are told apart")
    func kinds() throws {
        let entry = EntryValue(bytes: [0x31], version: "3")
        let body = #"{"key":"k","value":1,"version":3}"#
        #expect(
            try answer(200, body, cacheStatus: "pantler; hit; ttl=-4; detail=stale") == .entry(entry, isStale: true)
        )
        #expect(try answer(200, #"{"key":"k","absent":true,"version":3,"expires_at":null}"#) == .absent)
        #expect(try answer(201, #"{"lease":{"token":"abc","expires_at":"x"}}"#) == .lease(token: "abc", stale: nil))
    }

    @Test(
        "a lease that is held says why, and when to ask again",
        arguments: [("filling", "2.5", 2500), ("failed", "60", 60_000), ("crowded", "1e99", 86_400_000)]
            as [(
                String, String, Int64
            )]
    )
    func held(reason: String, seconds: String, milliseconds: Int64) throws {
        let body = #"{"status":409,"code":"lease_held","detail":"D.","reason":"\#(reason)","retry_after":\#(seconds)}"#
        guard case .held(let held) = try answer(409, body) else {
            Issue.record("not held")
            return
        }
        #expect(held.reason.rawValue == reason && held.retryMilliseconds == milliseconds)
        #expect(held.failure.status == .conflict && held.failure.message == "D.")
    }

    @Test(
        "anything else is a failure",
        arguments: [
            (201, #"{"lease":{}}"#), (201, "{"), (200, "[]"), (409, #"{"code":"x","detail":"D."}"#), (404, "<html>"),
            (200, "<html>"),
        ]
    )
    func strange(status: Int, body: String) {
        #expect(throws: CommandFailure.self) { try answer(status, body) }
    }

    @Test("the cache's status is taken apart")
    func cacheStatus() {
        #expect(CacheStatus.ttl("pantler; hit; ttl=-4; detail=stale") == -4)
        #expect(CacheStatus.detail("pantler; hit; ttl=-4; detail=stale") == "stale")
        #expect(CacheStatus.ttl("pantler; fwd=uri-miss; detail=absent") == nil)
        #expect(CacheStatus.detail(nil) == nil)
    }

    @Test("an answer's date is read")
    func date() {
        #expect(WallTime(httpDate: "Sun, 06 Nov 1994 08:49:37 GMT") == RFC3339.parse("1994-11-06T08:49:37Z"))
        #expect(WallTime(httpDate: "Thu, 01 Jan 1970 00:00:00 GMT") == WallTime(milliseconds: 0))
        for text in ["", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun, 6 Nov 1994 08:49:37 GMT"] {
            #expect(WallTime(httpDate: text) == nil)
        }
    }
}
