internal import Glibc
internal import PantlerModel

/// The process's two output streams.
enum Terminal {
    enum Stream: Int32 {
        case output = 1
        case error = 2

        var isTerminal: Bool { isatty(rawValue) == 1 }
    }

    /// Whether a person can be asked something.
    static var isInteractive: Bool { isatty(STDIN_FILENO) == 1 && Stream.error.isTerminal }

    /// Writes all of it to standard output.
    ///
    /// - Throws: `ExitStatus.failed` if the reader has gone, which nobody needs to be told; else a failure that says why.
    static func write(_ bytes: [UInt8]) throws {
        let error = writeAll(bytes, to: .output)
        if error == EPIPE { throw ExitStatus.failed }
        guard error == 0 else {
            throw CommandFailure(
                .failed,
                code: "output_failed",
                "The output cannot be written: \(systemReason(error))."
            )
        }
    }

    /// Writes a message; an error is ignored.
    static func write(_ text: String, to stream: Stream) {
        _ = writeAll(Array(text.utf8), to: stream)
    }

    static func write(line: String, to stream: Stream) {
        write(line + "\n", to: stream)
    }

    /// - Returns: 0, or the error's number.
    private static func writeAll(_ bytes: [UInt8], to stream: Stream) -> Int32 {
        bytes.withUnsafeBytes { buffer in
            var offset = 0
            while offset < buffer.count {
                let count = Glibc.write(
                    stream.rawValue,
                    buffer.baseAddress?.advanced(by: offset),
                    buffer.count - offset
                )
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else { return errno }
                offset += count
            }
            return 0
        }
    }

    /// All of standard input.
    static func readInput() throws(CommandFailure) -> [UInt8] {
        try readAll(STDIN_FILENO, name: "standard input")
    }

    /// All of a file.
    static func read(file path: String) throws(CommandFailure) -> [UInt8] {
        try read(file: Array(path.utf8))
    }

    /// - Parameter path: as bytes, since file names have no encoding; without NUL.
    static func read(file path: [UInt8]) throws(CommandFailure) -> [UInt8] {
        let name = String(decoding: path, as: UTF8.self)
        let file = (path + [0]).withUnsafeBufferPointer { bytes in
            bytes.withMemoryRebound(to: CChar.self) { $0.baseAddress.map { open($0, O_RDONLY | O_CLOEXEC) } ?? -1 }
        }
        guard file >= 0 else { throw CommandFailure.unreadable(name, errno) }
        defer { close(file) }
        return try readAll(file, name: name)
    }

    private static func readAll(_ file: Int32, name: String) throws(CommandFailure) -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = Glibc.read(file, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw CommandFailure.unreadable(name, errno) }
            guard count > 0 else { return bytes }
            bytes.append(contentsOf: chunk[..<count])
        }
    }
}

extension CommandFailure {
    static func unreadable(_ name: String, _ error: Int32) -> CommandFailure {
        CommandFailure(.failed, code: "input_failed", "\(name) cannot be read: \(systemReason(error)).")
    }
}

/// Colours, on a terminal that wants them.
struct Style: Sendable {
    private let isOn: Bool

    /// - Parameter noColor: the flag; https://no-color.org's variable counts as well.
    init(noColor: Bool, on stream: Terminal.Stream) {
        isOn = !noColor && environment("NO_COLOR") == nil && environment("TERM") != "dumb" && stream.isTerminal
    }

    func bold(_ text: String) -> String { wrap(text, "1") }
    func red(_ text: String) -> String { wrap(text, "31") }

    private func wrap(_ text: String, _ code: String) -> String {
        isOn ? "\u{1b}[\(code)m\(text)\u{1b}[0m" : text
    }
}
