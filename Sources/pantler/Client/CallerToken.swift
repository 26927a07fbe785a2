internal import Glibc

/// The token that a command sends: where it comes from, and that nothing shows it.
enum CallerToken {
    /// By flag or file, and else by the environment.
    ///
    /// - Throws: a failure that says nothing of what the token is.
    static func resolve(
        flag: String?,
        file: String?,
        warn: (String) -> Void
    ) throws(CommandFailure) -> String? {
        if flag != nil, file != nil { throw .usage("--token and --token-file both name a token: give one of them.") }
        if let flag { return try text(of: Array(flag.utf8), in: "--token") }
        if let file { return try read(file: file, warn: warn) }
        if let text = environment("PANTLER_TOKEN") { return try self.text(of: Array(text.utf8), in: "PANTLER_TOKEN") }
        return try environment("PANTLER_TOKEN_FILE").map { file throws(CommandFailure) in
            try read(file: file, warn: warn)
        }
    }

    /// - Parameter warn: told where others can read the file.
    static func read(file path: String, warn: (String) -> Void = Self.warn) throws(CommandFailure) -> String {
        let token = try text(of: Terminal.read(file: path), in: path)
        var status = stat()
        // Of a group it may be on purpose that its members read it.
        if stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_mode & S_IROTH != 0 {
            warn("everybody on this machine can read the token in \(path): `chmod o= \(path)` ends that.")
        }
        return token
    }

    static func warn(_ message: String) {
        Terminal.write(line: "pantler: \(message)", to: .error)
    }

    /// Without the end of its line. What else is no part of a header's value is refused, whoever made it one.
    static func text(of bytes: [UInt8], in place: String) throws(CommandFailure) -> String {
        var bytes = bytes[...]
        if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
        if bytes.isEmpty { throw .usage("\(place) holds no token: it is empty.") }
        guard bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
            throw .usage(
                "\(place) holds no token: there are blanks, line breaks or other characters that no token has."
            )
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
