/// The command line as bytes.
///
/// ArgumentParser works on strings, and Swift repairs what is no UTF-8 in them: each odd byte becomes U+FFFD, and different keys one.
/// So arguments that are no UTF-8 go to the parser with every byte above ASCII replaced by a character of its own, out of a row of
/// private ones that no argument has, and what takes bytes gets them back with `bytes(of:)`. Nothing else may take such
/// an argument: see `checkText`.
struct RawArguments: Sendable {
    /// The arguments as the parser gets them.
    let texts: [String]
    /// The character that stands for byte 0x80; the next 127 characters stand for the bytes after it.
    private let base: UInt32
    /// The arguments that are no UTF-8.
    private let odd: [[UInt8]]

    init(_ arguments: [[UInt8]]) {
        let valid = arguments.compactMap { String(validating: $0, as: UTF8.self) }
        let base = Self.freeRow(valid)
        self.base = base
        odd = arguments.filter { String(validating: $0, as: UTF8.self) == nil }
        texts = arguments.map { argument in
            String(validating: argument, as: UTF8.self) ?? Self.replaced(argument, base)
        }
    }

    /// Those of this process, without its name.
    static let process = RawArguments(
        (1..<max(1, Int(CommandLine.argc))).compactMap { index in
            CommandLine.unsafeArgv[index].map { start in
                var bytes: [UInt8] = []
                while start[bytes.count] != 0 { bytes.append(UInt8(bitPattern: start[bytes.count])) }
                return bytes
            }
        }
    )

    /// What a text that the parser has handed out was on the command line.
    func bytes(of text: String) -> [UInt8] {
        guard isOdd(text) else { return Array(text.utf8) }
        return text.unicodeScalars.flatMap { scalar in
            row.contains(scalar.value) ? [UInt8(0x80 + scalar.value - base)] : Array(String(scalar).utf8)
        }
    }

    /// - Parameter bytes: the texts that the command takes as bytes; of every other argument only text makes sense.
    /// - Throws: a usage failure where one of those others is no UTF-8.
    func checkText(besides bytes: [String?]) throws(CommandFailure) {
        let taken = bytes.compactMap(\.self).filter(isOdd)
        guard odd.count > taken.count else { return }
        // An option and its value may have come as one argument.
        let values = taken.map { self.bytes(of: $0) }
        let refused = odd.first { argument in !values.contains { argument.suffix($0.count) == $0[...] } } ?? odd[0]
        throw .usage(
            "The argument '\(Self.shown(refused))' is no UTF-8: keys, prefixes, tags and names are text, and only a value may be any bytes."
        )
    }

    private var row: Range<UInt32> { base..<base + 128 }

    private func isOdd(_ text: String) -> Bool {
        !odd.isEmpty && text.unicodeScalars.contains { row.contains($0.value) }
    }

    /// The first of 128 private characters in a row that none of the texts has. There are 500 such rows, and a command line that had all
    /// of them on purpose would only mix up its own values.
    private static func freeRow(_ texts: [String]) -> UInt32 {
        let first: UInt32 = 0xf0000
        let rows = Set(texts.flatMap { $0.unicodeScalars.map { $0.value / 128 } })
        return ((first / 128)..<(0xffff0 / 128)).first { !rows.contains($0) }.map { $0 * 128 } ?? first
    }

    private static func replaced(_ argument: [UInt8], _ base: UInt32) -> String {
        var text = String.UnicodeScalarView()
        for byte in argument {
            let value = byte < 0x80 ? UInt32(byte) : base + UInt32(byte - 0x80)
            if let scalar = Unicode.Scalar(value) { text.append(scalar) }
        }
        return String(text)
    }

    /// With the odd bytes as a shell would write them.
    private static func shown(_ argument: [UInt8]) -> String {
        argument.map { byte in
            (0x20..<0x7f).contains(byte)
                ? String(Unicode.Scalar(byte)) : "\\x" + String(UInt16(byte) | 0x100, radix: 16).dropFirst()
        }.joined()
    }
}

/// A command that takes some of its arguments as bytes.
protocol TakesBytes {
    var byteArguments: [String?] { get }
}
