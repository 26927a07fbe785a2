import Logging
import Support
import Testing

@testable import pantler

@Suite("Log lines", .serialized)
struct LogTests {
    private func line(
        _ format: LogFormat,
        _ level: Logger.Level = .info,
        _ message: String,
        _ metadata: Logger.Metadata = [:]
    ) -> String {
        let lines = Shared<[String]>([])
        var logger = Logger(label: "pantler.test") { label in
            LineHandler(label: label, format: format) { bytes in
                lines.update { $0.append(String(decoding: bytes, as: UTF8.self)) }
            }
        }
        logger.logLevel = .trace
        logger[metadataKey: "always"] = "here"
        logger.log(level: level, "\(message)", metadata: metadata)
        return lines.value.joined()
    }

    @Test("a line for people has time, level, message and metadata")
    func text() throws {
        let line = line(.text, .warning, "The disk is full.", ["path": "/a b", "count": "7", "empty": ""])
        let parts = line.split(separator: " ", maxSplits: 1)
        #expect(parts[0].wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/) != nil)
        #expect(parts[1] == "warning  The disk is full. always=here count=7 empty=\"\" path=\"/a b\"\n")
    }

    @Test("a line for programs is one JSON object")
    func json() throws {
        let line = line(.json, .error, "a \"b\"\nc", ["list": ["1", "2"], "deep": ["x": "y"]])
        #expect(line.hasSuffix("}\n") && line.dropLast().allSatisfy { $0 != "\n" })
        let json = JSON(Array(line.utf8))
        #expect(json.names == ["time", "level", "logger", "message", "metadata"])
        #expect(json["level"].string == "error")
        #expect(json["logger"].string == "pantler.test")
        #expect(json["message"].string == "a \"b\"\nc")
        #expect(json["metadata"]["list"].strings == ["1", "2"])
        #expect(json["metadata"]["deep"]["x"].string == "y")
        #expect(json["metadata"]["always"].string == "here")
    }

    @Test(
        "a line for systemd's journal begins with its priority, and has no time",
        arguments: [(Logger.Level.critical, 2), (.error, 3), (.warning, 4), (.notice, 5), (.info, 6), (.debug, 7)]
    )
    func journal(level: Logger.Level, priority: Int) throws {
        for format in LogFormat.allCases {
            let lines = Shared<[String]>([])
            var logger = Logger(label: "pantler.test") { label in
                LineHandler(label: label, format: format, isJournal: true) { bytes in
                    lines.update { $0.append(String(decoding: bytes, as: UTF8.self)) }
                }
            }
            logger.logLevel = .trace
            logger.log(level: level, "It happened.", metadata: ["a": "b"])
            let line = lines.value.joined()
            switch format {
            case .text: #expect(line == "<\(priority)>It happened. a=b\n")
            case .json:
                #expect(line.hasPrefix("<\(priority)>{"))
                #expect(JSON(Array(line.dropFirst(3).utf8)).names == ["level", "logger", "message", "metadata"])
            }
        }
    }

    @Test("nothing that a client sent breaks a line")
    func injection() {
        let line = line(.text, .info, "key a\nfake", ["key": "x\ny\u{1b}[31m"])
        #expect(line.dropLast().allSatisfy { $0 != "\n" && $0 != "\u{1b}" })
        #expect(line.contains(#"key a\nfake"#))
    }

    @Test("the level changes for every logger that has none of its own", arguments: Logger.Level.allCases)
    func level(level: Logger.Level) {
        defer { ProcessLog.setLevel(.info) }
        let logger = Logger(label: "a") { LineHandler(label: $0, format: .text) }
        ProcessLog.setLevel(level)
        #expect(logger.logLevel == level)
    }
}
