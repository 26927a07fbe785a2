import NIOCore

/// The first message of a client, read as far as to say whether it is worth an answer (RFC 8446, section 4.1.2, and RFC 7301).
///
/// All else about it is for the TLS library. What is found here is found before anything is made or computed for the connection: that the
/// bytes are no TLS, and that client and server share no protocol.
enum ClientHello {
    enum Verdict: Equatable {
        /// The message is not whole.
        case incomplete
        /// It is whole, and the library may have it, also to say what is wrong with it.
        case whole
        /// The client names the protocols that it speaks, and none of them is spoken here.
        case otherProtocol
        /// A request of HTTP without TLS.
        case plainHTTP
        case foreign
    }

    /// The most bytes that are looked at. The library takes messages of up to 16 KiB, which nobody sends; the rest is for the heads of records.
    static let maxBytes = 17 << 10
    private static let maxMessage = 16 << 10
    /// The most records that the message may come in: all of them are read again with whatever comes, and no client needs more than one or two.
    private static let maxRecords = 32

    private static let methods = [
        "GET ", "PUT ", "POST ", "HEAD ", "PATCH ", "DELETE ", "OPTIONS ", "CONNECT ", "TRACE ", "PRI ",
    ]

    /// - Parameter bytes: all that has come.
    static func judge(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        guard let first = bytes.first else { return .incomplete }
        guard first == handshakeRecord else { return judgeForeign(bytes) }
        var record = TLSBytes(bytes)
        var message: [UInt8] = []
        var records = 0
        while let type = record.readByte(), let major = record.readByte() {
            records += 1
            guard type == handshakeRecord, major == 3, records <= maxRecords else { return .foreign }
            guard record.readByte() != nil, let length = record.readUInt16() else { break }
            guard (1...maxMessage).contains(length) else { return .foreign }
            // What is there of the record is enough to see whether it may be one.
            message += record.readAtMost(length)
            if let verdict = judge(message: message) { return verdict }
        }
        return bytes.count >= maxBytes ? .foreign : .incomplete
    }

    private static let handshakeRecord: UInt8 = 22
    private static let helloMessage: UInt8 = 1

    private static func judgeForeign(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        for method in methods where method.utf8.starts(with: bytes.prefix(method.utf8.count)) {
            return bytes.count < method.utf8.count ? .incomplete : .plainHTTP
        }
        return .foreign
    }

    /// Judges what there is of the message; `nil` where more of it is needed.
    private static func judge(message: [UInt8]) -> Verdict? {
        guard let type = message.first else { return nil }
        if type != helloMessage { return .foreign }
        return message.withUnsafeBytes { bytes -> Verdict? in
            var bytes = TLSBytes(UnsafeRawBufferPointer(rebasing: bytes.dropFirst()))
            guard let length = bytes.readUInt24() else { return nil }
            if length > maxMessage { return .foreign }
            guard let body = bytes.read(length) else { return nil }
            return offersOther(body) ? .otherProtocol : .whole
        }
    }

    /// Whether a message names protocols, and ours is none of them. A message that makes no sense is left to the library.
    private static func offersOther(_ body: TLSBytes) -> Bool {
        var body = body
        // Version and random number, session, cipher suites, methods of compression.
        guard body.read(2 + 32) != nil, let session = body.readByte(), body.read(Int(session)) != nil,
            let suites = body.readUInt16(), body.read(suites) != nil,
            let compressions = body.readByte(), body.read(Int(compressions)) != nil,
            let length = body.readUInt16(), var extensions = body.read(length)
        else { return false }
        while let type = extensions.readUInt16(), let length = extensions.readUInt16(),
            var content = extensions.read(length)
        {
            guard type == protocolNegotiation else { continue }
            guard let length = content.readUInt16(), var names = content.read(length) else { return false }
            while let length = names.readByte(), let name = names.read(Int(length)) {
                if name.rest.elementsEqual(TLSMaterial.applicationProtocol.utf8) { return false }
            }
            return true
        }
        return false
    }

    private static let protocolNegotiation = 16
}

/// Numbers and stretches of bytes, from the front of a message of TLS.
private struct TLSBytes {
    private(set) var rest: UnsafeRawBufferPointer

    init(_ bytes: UnsafeRawBufferPointer) { rest = bytes }

    mutating func readByte() -> UInt8? {
        guard let byte = rest.first else { return nil }
        rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst())
        return byte
    }

    mutating func readUInt16() -> Int? {
        guard rest.count >= 2, let high = readByte(), let low = readByte() else { return nil }
        return Int(high) << 8 | Int(low)
    }

    mutating func readUInt24() -> Int? {
        guard rest.count >= 3, let high = readByte(), let low = readUInt16() else { return nil }
        return Int(high) << 16 | low
    }

    mutating func read(_ count: Int) -> TLSBytes? {
        guard rest.count >= count else { return nil }
        return TLSBytes(readAtMost(count))
    }

    mutating func readAtMost(_ count: Int) -> UnsafeRawBufferPointer {
        let taken = rest.prefix(count)
        rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
        return UnsafeRawBufferPointer(rebasing: taken)
    }
}
