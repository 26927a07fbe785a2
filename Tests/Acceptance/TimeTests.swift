import Foundation
import Support
import Testing

@Suite("A machine whose clock is set")
struct TimeTests {
    private static let day = 86_400

    /// Seconds from the true present to a moment in an answer.
    private func seconds(until moment: String?) throws -> Double {
        let format = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
        return try format.parse(try #require(moment)).timeIntervalSinceNow
    }

    @Test("a start with the clock far ahead is told, and there is a way back that loses no entry")
    func farAhead() throws {
        let machine = try MadeUpMachine()
        defer { machine.remove() }
        let server = try ServerProcess(.init(environment: machine.environment))
        let entries = "/v1/namespaces/ns/entries"
        for (key, ttl) in [("hour", "3600"), ("ever", "null")] {
            expect(try server.client.put("\(entries)/\(key)", #"{"value":"\#(key)","ttl":\#(ttl)}"#), 201)
        }
        #expect(!server.log.contains("--reset-clock"))
        #expect(try server.terminate() == .exited(0))

        try machine.boot("two")
        try machine.setWall(aheadBy: 70 * 365 * Self.day)
        let ahead = try server.restarted()
        #expect(ahead.log.contains("--reset-clock"))
        expect(try ahead.client.get("\(entries)/hour"), 404, "entry_not_found")
        expect(try ahead.client.put("\(entries)/later", #"{"value":"later","ttl":3600}"#), 201)
        expect(try ahead.client.get("\(entries)/ever"), 200)
        #expect(try ahead.terminate() == .exited(0))

        try machine.setWall(aheadBy: 0)
        let back = try ServerProcess(
            .init(
                folder: server.folder,
                data: server.dataFolder,
                environment: machine.environment,
                flags: ["--reset-clock"]
            )
        )
        #expect(back.log.contains("put back"))
        for key in ["hour", "ever", "later"] {
            let found = try back.client.get("\(entries)/\(key)")
            expect(found, 200)
            #expect(found.json["value"].string == key)
            if key != "ever" { #expect(abs(try seconds(until: found.json["expires_at"].string) - 3600) < 120) }
        }
        #expect(abs(try back.metrics().sum("pantler_clock_offset_seconds")) < 1)
        #expect(try back.terminate() == .exited(0))
        let last = try server.restarted()
        #expect(!last.log.contains("--reset-clock"))
        expect(try last.client.get("\(entries)/hour"), 200)
        #expect(try last.terminate() == .exited(0))
    }

    @Test("moments are told and taken by the clock as it is, and TTLs go on", arguments: [day, -day])
    func steps(ahead: Int) throws {
        let machine = try MadeUpMachine()
        defer { machine.remove() }
        try machine.setWall(aheadBy: ahead)
        let server = try ServerProcess(.init(environment: machine.environment))
        let http = server.client
        let entries = "/v1/namespaces/ns/entries"
        expect(try http.put("\(entries)/before", #"{"value":1,"ttl":600}"#), 201)
        #expect(
            abs(try seconds(until: http.get("\(entries)/before").json["expires_at"].string) - 600 - Double(ahead)) < 60
        )

        // The clock is set right.
        try machine.setWall(aheadBy: 0)
        try eventually("it is seen") { server.log.contains("clock was set") }
        #expect(abs(try server.metrics().sum("pantler_clock_offset_seconds") + Double(ahead)) < 1)
        let kept = try http.get("\(entries)/before")
        #expect(abs(try seconds(until: kept.json["expires_at"].string) - 600) < 60)
        #expect(kept["Cache-Status"]?.contains("ttl=59") == true, "\(kept)")
        for path in [entries, "\(entries)?prefix=b"] {
            let row = try http.get(path).json["entries"].array.first
            #expect(abs(try seconds(until: row?["expires_at"].string) - 600) < 60)
        }
        let batch = try http.post("/v1/namespaces/ns/batch/get", #"{"keys":["before"]}"#).json["entries"].array.first
        #expect(abs(try seconds(until: batch?["expires_at"].string) - 600) < 60)
        #expect(abs(try seconds(until: http.get("/v1/namespaces/ns").json["created_at"].string)) < 60)
        #expect(abs(try seconds(until: http.get("/v1/namespaces/ns/stats").json["since"].string)) < 60)

        let format = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
        let named = Date(timeIntervalSinceNow: 300).ISO8601Format(format)
        let written = try http.put("\(entries)/named", #"{"value":1,"expires_at":"\#(named)"}"#)
        expect(written, 201)
        #expect(written.json["expires_at"].string == named)
        let status = try http.get("\(entries)/named")["Cache-Status"]
        // By the service's clock, which may be a millisecond apart from this one.
        #expect(["ttl=299", "ttl=300"].contains { status?.contains($0) == true }, "\(status ?? "none")")
        let past = Date(timeIntervalSinceNow: -10).ISO8601Format()
        expect(try http.put("\(entries)/past", #"{"value":1,"expires_at":"\#(past)"}"#), 422, "expires_at_invalid")
        expect(try http.put("/v1/namespaces/ns/values/past?expires_at=\(past)", bytes: [1]), 422, "expires_at_invalid")

        // The difference holds over a restart.
        #expect(try server.terminate() == .exited(0))
        let next = try server.restarted()
        #expect(abs(try seconds(until: next.client.get("\(entries)/before").json["expires_at"].string) - 600) < 60)
        #expect(try next.terminate() == .exited(0))
    }
}
