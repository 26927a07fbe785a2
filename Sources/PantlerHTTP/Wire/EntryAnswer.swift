internal import NIOCore
import PantlerInsight
import PantlerJSON
import PantlerModel
import PantlerStore

/// The view of an entry that a call asks for.
enum EntryAspect: Sendable {
    /// The JSON object with key, value, version and expiry.
    case entry
    /// The value alone.
    case value
}

/// The answer to a get that found its entry, ready for the wire.
///
/// It is made inside the store's closure, under a shard's lock. A small value is copied; of a large one a reference is taken, and it is
/// sent from where it lies. Whoever makes the answer hands it to its exchange once the store has returned.
struct EntryAnswer {
    let status: Int
    /// What the request is counted as.
    let operation: PantlerInsight.Operation
    /// The answer without the value that belongs into `gap`.
    private(set) var bytes: ByteBuffer
    private let gap: ValueGap?

    /// - Parameters:
    ///   - isNotModified: answers 304, without a body.
    ///   - missStatus: the status for a negative entry, as for a miss.
    init(
        _ found: Found,
        _ aspect: EntryAspect,
        at now: Timestamp,
        isNotModified: Bool = false,
        missStatus: Int = 404,
        on exchange: Exchange,
        operation: PantlerInsight.Operation = .get
    ) {
        self.operation = operation
        bytes = ByteBuffer()
        if found.entry.isAbsent {
            // Where the answer is an error without a condition, the condition is ignored (RFC 9110, section 13.2.1).
            gap = nil
            if operation == .lease {
                // Whoever would load from the source is told that there is nothing to load, which is no error.
                status = 200
                AbsentAnswer.writeFound(found, at: now, exchange.frame, to: &bytes)
            } else {
                status = missStatus
                AbsentAnswer.write(found, at: now, status: missStatus, exchange.frame, to: &bytes)
            }
        } else {
            status = isNotModified ? 304 : 200
            gap = Self.write(found, aspect, at: now, isNotModified: isNotModified, exchange.frame, to: &bytes)
        }
    }

    /// The whole answer. Not to be called within the store's closure.
    func complete(_ flight: Flight) -> WireAnswer {
        var answer = WireAnswer(bytes)
        if let gap { answer.add(gap.value(flight), at: gap.offset) }
        return answer
    }

    // MARK: Rendering

    /// Appends the answer. Returns the place of a large value, which is still to be filled in.
    ///
    /// - Parameter isNotModified: not looked at for a negative entry, whose answer is a 404.
    static func write(
        _ found: Found,
        _ aspect: EntryAspect,
        at now: Timestamp,
        isNotModified: Bool,
        _ frame: AnswerFrame,
        to output: inout ByteBuffer
    ) -> ValueGap? {
        if found.entry.isAbsent {
            AbsentAnswer.write(found, at: now, frame, to: &output)
            return nil
        }
        if isNotModified {
            writeNotModified(found, at: now, frame, to: &output)
            return nil
        }
        switch aspect {
        case .entry:
            let object = EntryObject(found)
            let gapCount = object.count - object.textCount
            return write(found, at: now, frame, type: nil, bodyCount: object.count, gapCount: gapCount, to: &output) {
                object.write(found, to: &$0)
            }
        case .value:
            let entry = found.entry
            let type = entry.isJSON ? nil : entry.mediaType
            let count = entry.value.count
            let gapCount = found.isLarge ? count : 0
            return write(found, at: now, frame, type: type, bodyCount: count, gapCount: gapCount, to: &output) {
                cursor in
                if let large = found.large { return ValueGap(large: large, isBase64: false, offset: cursor.count) }
                cursor.write(entry.value)
                return nil
            }
        }
    }

    /// - Parameters:
    ///   - type: `nil` = JSON.
    ///   - gapCount: bytes of the body that are not written, but belong into the gap.
    ///   - writeBody: writes the others of `bodyCount` bytes; not called for HEAD.
    private static func write(
        _ found: Found,
        at now: Timestamp,
        _ frame: AnswerFrame,
        type: UnsafeRawBufferPointer?,
        bodyCount: Int,
        gapCount: Int,
        to output: inout ByteBuffer,
        _ writeBody: (inout ByteCursor) -> ValueGap?
    ) -> ValueGap? {
        var gap: ValueGap?
        let start = output.writerIndex
        let room = headBytes + (type?.count ?? 0) + (frame.isHead ? 0 : bodyCount - gapCount)
        output.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { bytes in
            guard let base = bytes.baseAddress else { return 0 }
            var cursor = ByteCursor(base)
            cursor.write("HTTP/1.1 200 OK\r\n")
            frame.write(to: &cursor)
            if let type {
                cursor.write("content-type: ")
                cursor.write(type)
                cursor.write("\r\ncontent-length: ")
            } else {
                cursor.write("content-type: application/json\r\ncontent-length: ")
            }
            cursor.write(decimal: bodyCount)
            cursor.write("\r\netag: \"")
            cursor.write(decimal: found.entry.version)
            cursor.write("\"\r\ncache-control: private, no-cache\r\n")
            writeCacheStatus(found, at: now, &cursor)
            cursor.write("\r\n")
            if !frame.isHead { gap = writeBody(&cursor) }
            return cursor.count
        }
        gap?.offset += start
        return gap
    }

    private static func writeNotModified(
        _ found: Found,
        at now: Timestamp,
        _ frame: AnswerFrame,
        to output: inout ByteBuffer
    ) {
        output.writeWithUnsafeMutableBytes(minimumWritableBytes: headBytes) { bytes in
            guard let base = bytes.baseAddress else { return 0 }
            var cursor = ByteCursor(base)
            cursor.write("HTTP/1.1 304 Not Modified\r\n")
            frame.write(to: &cursor)
            cursor.write("etag: \"")
            cursor.write(decimal: found.entry.version)
            cursor.write("\"\r\ncache-control: private, no-cache\r\n")
            writeCacheStatus(found, at: now, &cursor)
            cursor.write("\r\n")
            return cursor.count
        }
    }

    /// Bytes that a head takes at most, without the media type.
    private static let headBytes = 260 + AnswerFrame.bytes

    private static func writeCacheStatus(_ found: Found, at now: Timestamp, _ cursor: inout ByteCursor) {
        writeHit(found, at: now, &cursor)
        switch (found.staleSince, found.tier) {
        case (_?, _): cursor.write("; detail=stale\r\n")
        case (nil, .memory): cursor.write("; detail=memory\r\n")
        case (nil, .disk): cursor.write("; detail=disk\r\n")
        case (nil, .shared): cursor.write("; detail=shared\r\n")
        }
    }

    /// Writes Cache-Status (RFC 9211) up to its detail. `ttl` is what is left of the TTL in whole seconds, rounded down; a stale entry's is
    /// negative from the moment on at which it went stale.
    static func writeHit(_ found: Found, at now: Timestamp, _ cursor: inout ByteCursor) {
        cursor.write("cache-status: pantler; hit")
        let end = found.staleSince ?? found.entry.expiresAt
        if end != .never {
            let left = end.milliseconds(since: now)
            if found.staleSince != nil || left < 0 {
                cursor.write("; ttl=-")
                cursor.write(decimal: UInt64(max(1, (999 &- left) / 1000)))
            } else {
                cursor.write("; ttl=")
                cursor.write(decimal: UInt64(left / 1000))
            }
        }
    }

    /// The value of Cache-Status for a caller who is to fill the key again, and has the entry meanwhile.
    static func cacheStatus(ofRefreshed found: Found, at now: Timestamp) -> String {
        guard let since = found.staleSince else {
            return "pantler; hit; ttl=\(found.entry.expiresAt.milliseconds(since: now) / 1000); detail=early"
        }
        return "pantler; fwd=stale; ttl=-\(max(1, (999 + now.milliseconds(since: since)) / 1000)); detail=stale"
    }
}

/// The place of a large value in an answer: the value goes there once no lock is held any more.
struct ValueGap {
    let large: HeldValue
    let isBase64: Bool
    /// The offset in the buffer that holds the answer.
    var offset: Int

    /// Bytes that go into the gap.
    var count: Int { isBase64 ? Base64.encodedCount(large.bytes.count) : large.bytes.count }

    /// The value for the gap. This takes the budget's lock, so that it may not be called within the store's closure.
    func value(_ flight: Flight) -> OutgoingValue {
        OutgoingValue(hold: ValueHold(large, flight), isBase64: isBase64)
    }
}
