internal import ArgumentParser
internal import PantlerJSON

struct MgetCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "mget",
        abstract: "Print the values of several entries.",
        discussion: """
            A line for each entry that is there, in the order asked: its key, a tab, and its value as JSON in one line; bytes come as \
            a string of base64. With --output json comes the service's whole answer. Where an entry is missing, or a negative one, the exit status is 3.
            """
    )

    @Argument(help: "The entries' keys, up to 1,000.")
    var keys: [String]

    @OptionGroup var namespace: NamespaceOption
    @OptionGroup var client: ClientOptions

    func run(_ session: Session) async throws {
        let reply = try await session.client.expect(.post, namespace.path + "/batch/get", json: request)
        if session.output == .json {
            try session.write(json: reply.body)
        } else {
            try Terminal.write(try Self.lines(reply.body))
        }
        let answer = try MissingKeys(reply.body)
        if let failure = answer.notFound { throw failure }
        if let key = answer.omitted.first {
            throw CommandFailure(
                .failed,
                code: "answer_too_large",
                "The entry '\(key)' does not fit into the answer: ask for it by itself."
            )
        }
    }

    private var request: [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("keys")
        writer.beginArray()
        for key in keys { writer.string(key) }
        writer.endArray()
        writer.endObject()
        return writer.bytes
    }

    private static func lines(_ answer: [UInt8]) throws -> [UInt8] {
        var lines: [UInt8] = []
        try answer.withUnsafeBytes { bytes in
            var members = try JSONObjectReader(bytes, maxDepth: maxDepth)
            while let member = try members.next() {
                guard member.name.says("entries") else { continue }
                var entries = try JSONArrayReader(member.value.bytes, maxDepth: maxDepth)
                while let entry = try entries.next() { try append(entry.bytes, to: &lines) }
            }
        }
        return lines
    }

    /// As deep as a value may be, and the answer around it.
    private static let maxDepth = 1024

    private static func append(_ entry: UnsafeRawBufferPointer, to lines: inout [UInt8]) throws {
        var key = ""
        var value: [UInt8] = []
        var members = try JSONObjectReader(entry, maxDepth: maxDepth)
        while let member = try members.next() {
            if member.name.says("key") { key = try JSON.string(member.value.bytes) }
            if member.name.says("value") || member.name.says("value_base64") { value = inOneLine(member.value.bytes) }
        }
        lines += Array(Table.printable(key).utf8) + [UInt8(ascii: "\t")] + value + [UInt8(ascii: "\n")]
    }

    /// A JSON value without the whitespace between its parts.
    private static func inOneLine(_ value: UnsafeRawBufferPointer) -> [UInt8] {
        var line: [UInt8] = []
        line.reserveCapacity(value.count)
        var isString = false
        var isEscaped = false
        for byte in value {
            if isString {
                if !isEscaped, byte == UInt8(ascii: "\"") { isString = false }
                isEscaped = !isEscaped && byte == UInt8(ascii: "\\")
            } else if byte == UInt8(ascii: "\"") {
                isString = true
            } else if byte <= 0x20 {
                continue
            }
            line.append(byte)
        }
        return line
    }

    /// The keys that a batch's answer has no entry for.
    private struct MissingKeys {
        var missing: [String] = []
        /// Those that have a negative entry.
        var absent: [String] = []
        var omitted: [String] = []

        init(_ answer: [UInt8]) throws {
            try answer.withUnsafeBytes { bytes in
                var members = try JSONObjectReader(bytes, maxDepth: maxDepth)
                while let member = try members.next() {
                    if member.name.says("missing") { missing = try Self.keys(member.value.bytes) }
                    if member.name.says("absent") { absent = try Self.keys(member.value.bytes) }
                    if member.name.says("omitted") { omitted = try Self.keys(member.value.bytes) }
                }
            }
        }

        private static func keys(_ list: UnsafeRawBufferPointer) throws -> [String] {
            var keys: [String] = []
            var reader = try JSONArrayReader(list, maxDepth: maxDepth)
            while let key = try reader.next() { keys.append(try JSON.string(key.bytes)) }
            return keys
        }

        /// What is told where not all that was asked for is there; `nil` where it is.
        var notFound: CommandFailure? {
            var sentences: [String] = []
            for (keys, sentence) in [(missing, "There is no entry"), (absent, "The source has nothing under")] {
                guard let key = keys.first else { continue }
                let more = keys.count - 1
                sentences.append("\(sentence) '\(key)'" + (more == 0 ? "." : ", nor \(more) more of those asked."))
            }
            guard !sentences.isEmpty else { return nil }
            let code = missing.isEmpty ? "entry_absent" : "entry_not_found"
            return CommandFailure(.notFound, code: code, sentences.joined(separator: " "))
        }
    }
}
