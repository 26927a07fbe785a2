internal import NIOCore
import PantlerJSON
import PantlerModel

/// The members of a body's one object, by name. They borrow the body's bytes.
///
/// All of the object is read before anything is made of it, so that what keeps it from being read at all is told first. A name that comes
/// twice is noticed only if it is one of those looked for, so that an object costs no more than its bytes, whatever it holds.
struct Members<Name: RawRepresentable & Equatable> where Name.RawValue == String {
    /// The names are a handful: looking through them is less work than hashing.
    private let allowed: [Name]
    /// The member of each name, in the order of `allowed`.
    private var elements: [JSONElement?]
    /// The first name that is not one of those allowed, or its beginning.
    private var unknown: String?

    /// - Parameters:
    ///   - allowed: the names that are taken here.
    ///   - depth: how deep a member's value may nest.
    /// - Throws: `invalid_json`, `json_too_deep`, `duplicate_member`; `member_invalid` for JSON that is no object.
    init(
        _ bytes: UnsafeRawBufferPointer,
        allowed: [Name],
        depth: Int = Limits.jsonDepth
    ) throws(Problem) {
        do {
            try self.init(reading: bytes, allowed, depth, refusesDuplicates: true)
        } catch {
            throw Problem(json: error)
        }
        if !Self.isObject(bytes) { throw Problem(.memberInvalid, "A JSON object is needed here.") }
    }

    /// Reads an object in which names may come twice: the first one counts.
    init(keepingDuplicates bytes: UnsafeRawBufferPointer, allowed: [Name]) throws(JSONError) {
        try self.init(reading: bytes, allowed, Limits.jsonDepth, refusesDuplicates: false)
    }

    private init(
        reading bytes: UnsafeRawBufferPointer,
        _ allowed: [Name],
        _ depth: Int,
        refusesDuplicates: Bool
    ) throws(JSONError) {
        self.allowed = allowed
        elements = Array(repeating: nil, count: allowed.count)
        guard Self.isObject(bytes) else {
            // If this is JSON, its fault is that it is no object, which the caller reports. If it is no JSON, or empty, that is its fault.
            try JSON.validate(bytes, maxDepth: depth + 1)
            return
        }
        var reader = try JSONObjectReader(bytes, maxDepth: depth)
        while let name = try reader.nextName() {
            guard let place = allowed.firstIndex(where: { name.says($0.rawValue) }) else {
                if unknown == nil { unknown = name.text(atMost: 400) }
                _ = try reader.value()
                continue
            }
            let isFirst = elements[place] == nil
            if !isFirst, refusesDuplicates { throw .duplicateMember(name: name.text) }
            let value = try reader.value()
            if isFirst { elements[place] = value }
        }
    }

    private static func isObject(_ bytes: UnsafeRawBufferPointer) -> Bool {
        JSON.trimmed(bytes).first.map { bytes[$0] == UInt8(ascii: "{") } ?? false
    }

    subscript(_ name: Name) -> JSONElement? { allowed.firstIndex(of: name).flatMap { elements[$0] } }

    /// Throws `unknown_member`.
    func checkUnknown() throws(Problem) {
        if let unknown { throw Problem(.unknownMember, "There is no member \(Problem.quoted(unknown)) here.") }
    }
}

extension Problem {
    /// What is wrong with a body's JSON.
    init(json error: JSONError) {
        let code: Code =
            switch error {
            case .syntax, .notUTF8, .loneSurrogate: .invalidJSON
            case .tooDeep: .jsonTooDeep
            case .duplicateMember: .duplicateMember
            case .tooLarge: .valueTooLarge
            }
        self.init(code, error.description)
    }
}

extension [UInt8] {
    /// Shows the bytes for the length of `body`.
    func withBytes<Answer>(
        _ body: (UnsafeRawBufferPointer) throws(Problem) -> Answer
    ) throws(Problem) -> Answer {
        try withUnsafeBufferPointer { bytes throws(Problem) in try body(UnsafeRawBufferPointer(bytes)) }
    }
}

extension ByteBuffer {
    /// Shows the readable bytes for the length of `body`.
    func withBytes<Answer>(
        _ body: (UnsafeRawBufferPointer) throws(Problem) -> Answer
    ) throws(Problem) -> Answer {
        let result: Result<Answer, Problem> = withUnsafeReadableBytes { bytes in
            do throws(Problem) {
                return .success(try body(bytes))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }
}
