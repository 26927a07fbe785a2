internal import Glibc
import PantlerModel
import PantlerStore

/// The field Authorization (RFC 9110, section 11.6.2; RFC 6750, section 2.1).
enum Authorization {
    /// The longest value in which a token is looked for. A good one has 62 bytes.
    static let longest = 256

    /// The credential of a value of the scheme Bearer, whatever the scheme's case; `nil` for another scheme. It may be anything, or empty.
    static func bearer(_ value: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        let scheme: StaticString = "bearer"
        let length = scheme.utf8CodeUnitCount
        guard value.count >= length else { return nil }
        for index in 0..<length where value[index] | 0x20 != scheme.utf8Start[index] { return nil }
        var start = length
        while start < value.count, value[start] == UInt8(ascii: " ") { start += 1 }
        guard start > length || value.count == length else { return nil }
        return UnsafeRawBufferPointer(rebasing: value[start...])
    }
}

/// The token that a connection has presented last, and what it may do. As long as the next request presents the same bytes, nobody has to
/// look it up.
///
/// It is used on the connection's loop alone. Its bytes are cleared when it ends, and nothing prints them.
final class KnownToken {
    /// Authorization's value, as it was sent.
    private let value: UnsafeMutableRawBufferPointer
    let pass: TokenPass
    /// `Tokens.generation` before the token was looked up.
    private let generation: UInt64
    /// When it is to be looked up again, by the wall clock: it may have expired, or be used on a new day.
    private let end: Int64
    /// What it may do whatever the namespace.
    private let readsAll: Bool
    private let writesAll: Bool

    private static let day: Int64 = 86_400_000

    /// Looks a token up. `nil` where the value has another scheme, or where its token is good for nothing.
    init?(_ value: UnsafeRawBufferPointer, _ tokens: Tokens, at wall: Int64) {
        // The number is read first: a change that comes now is seen at the next look.
        generation = tokens.generation
        guard value.count <= Authorization.longest, let credential = Authorization.bearer(value),
            let pass = tokens.check(credential, nowMilliseconds: wall)
        else { return nil }
        self.pass = pass
        let today = wall.quotientFlooring(Self.day)
        pass.noteUse(day: Int32(clamping: today))
        end = min(pass.expiresAt, (today + 1) * Self.day)
        readsAll = pass.grant.allowsEverywhere(.read)
        writesAll = pass.grant.allowsEverywhere(.write)
        self.value = .allocate(byteCount: value.count, alignment: 8)
        self.value.copyMemory(from: value)
    }

    deinit {
        if let start = value.baseAddress { explicit_bzero(start, value.count) }
        value.deallocate()
    }

    /// Whether a value is this one. It is compared in the same time wherever the two differ: others may send theirs over the same connection
    /// of a proxy.
    func isPresented(by other: UnsafeRawBufferPointer) -> Bool {
        let count = value.count
        guard other.count == count, count >= 8 else { return false }
        func word(at offset: Int) -> UInt64 {
            value.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                ^ other.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
        }
        var difference = word(at: count - 8)
        var offset = 0
        while offset < count - 8 {
            difference |= word(at: offset)
            offset += 8
        }
        return difference == 0
    }

    /// Whether what is known of it still holds.
    func holds(_ generation: UInt64, at wall: Int64) -> Bool { generation == self.generation && wall < end }

    /// Whether it may read, or write, in a namespace.
    func allows(_ role: LaneRole, _ namespace: UnsafeRawBufferPointer) -> Bool {
        switch role {
        case .read: readsAll || pass.grant.allows(.read, namespace)
        case .write: writesAll || pass.grant.allows(.write, namespace)
        }
    }

    /// The same token, looked up once more.
    func renewed(_ tokens: Tokens, at wall: Int64) -> KnownToken? {
        KnownToken(UnsafeRawBufferPointer(value), tokens, at: wall)
    }
}

/// What plain requests need.
enum LaneRole {
    case read, write
}

extension Int64 {
    fileprivate func quotientFlooring(_ divisor: Int64) -> Int64 {
        let (quotient, rest) = quotientAndRemainder(dividingBy: divisor)
        return rest < 0 ? quotient - 1 : quotient
    }
}
