internal import NIOHTTP1
import PantlerModel
import PantlerStore

// `If-Match` and `If-None-Match` (RFC 9110, section 13.1), whose entity tags are versions in quotes.

extension Condition {
    /// Both conditions of a write. Throws `header_invalid`.
    init(_ headers: HTTPHeaders) throws(Problem) {
        self.init(
            ifMatch: try EntityTags(headers, "If-Match", keepsWeak: false),
            ifNoneMatch: try EntityTags(headers, "If-None-Match", keepsWeak: true)
        )
    }
}

extension EntityTags {
    /// A condition's tags; `nil` where the field is not there.
    ///
    /// Tags that are no version as Pantler writes it can match nothing, and are left out.
    ///
    /// - Parameter keepsWeak: a weak tag matches like a strong one in `If-None-Match`, and never in `If-Match`.
    /// - Throws: `header_invalid`.
    init?(_ headers: HTTPHeaders, _ name: String, keepsWeak: Bool) throws(Problem) {
        let lines = headers[name]
        if lines.isEmpty { return nil }
        let text = lines.joined(separator: ",")
        if trimmed(text) == "*" {
            self.init(any: true)
            return
        }
        guard let versions = Self.versions(Array(text.utf8), keepsWeak: keepsWeak) else {
            throw Problem(
                .headerInvalid,
                "\(name) is \(Problem.quoted(text)); it takes '*', or entity tags in quotes with commas between them."
            )
        }
        self.init(versions: versions)
    }

    /// The versions in a list of entity tags; `nil` if the text is no such list, or an empty one. Empty elements of a list are passed over,
    /// as section 5.6.1 wants.
    private static func versions(_ text: [UInt8], keepsWeak: Bool) -> [Version]? {
        var versions: [Version] = []
        var count = 0
        var index = 0
        var needsComma = false
        while index < text.count {
            switch text[index] {
            case UInt8(ascii: " "), UInt8(ascii: "\t"):
                index += 1
            case UInt8(ascii: ","):
                needsComma = false
                index += 1
            default:
                let isWeak = text[index...].starts(with: "W/".utf8)
                if isWeak { index += 2 }
                guard !needsComma, index < text.count, text[index] == UInt8(ascii: "\""),
                    let end = text[(index + 1)...].firstIndex(of: UInt8(ascii: "\""))
                else { return nil }
                let tag = text[(index + 1)..<end]
                guard tag.allSatisfy({ $0 == 0x21 || (0x23...0x7e).contains($0) || $0 >= 0x80 }) else { return nil }
                if keepsWeak || !isWeak, let version = version(tag) { versions.append(version) }
                count += 1
                needsComma = true
                index = end + 1
            }
        }
        return count > 0 ? versions : nil
    }

    /// The version that an entity tag stands for; `nil` if it is not written as Pantler writes a version.
    private static func version(_ tag: ArraySlice<UInt8>) -> Version? {
        guard let first = tag.first, first != UInt8(ascii: "0"), tag.count <= 16,
            tag.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let version = Version(String(decoding: tag, as: UTF8.self)), version <= Version(Limits.maxSafeInteger)
        else { return nil }
        return version
    }
}
