internal import PantlerJSON

/// A JSON answer as a tree, for what is shown to people. Numbers keep their digits; values of entries are never read this way.
indirect enum JSONTree: Sendable {
    case object([(name: String, value: JSONTree)])
    case array([JSONTree])
    case string(String)
    case number(String)
    case bool(Bool)
    case null

    private static let maxDepth = 16

    init(_ bytes: [UInt8]) throws(JSONError) {
        self = try bytes.withUnsafeBufferPointer { buffer throws(JSONError) in
            let bytes = UnsafeRawBufferPointer(buffer)
            let range = try JSON.validate(bytes, maxDepth: Self.maxDepth)
            return try Self(element: bytes.slice(range))
        }
    }

    /// - Parameter element: one valid value, with nothing around it.
    private init(element: UnsafeRawBufferPointer) throws(JSONError) {
        switch element.first.flatMap(JSON.type(of:)) {
        case .object:
            var members: [(name: String, value: JSONTree)] = []
            var reader = try JSONObjectReader(element, maxDepth: Self.maxDepth)
            while let member = try reader.next() {
                members.append((member.name.text, try JSONTree(element: member.value.bytes)))
            }
            self = .object(members)
        case .array:
            var elements: [JSONTree] = []
            var reader = try JSONArrayReader(element, maxDepth: Self.maxDepth)
            while let next = try reader.next() { elements.append(try JSONTree(element: next.bytes)) }
            self = .array(elements)
        case .string: self = .string(try JSON.string(element))
        case .true: self = .bool(true)
        case .false: self = .bool(false)
        case .null: self = .null
        case .number, nil: self = .number(String(decoding: element, as: UTF8.self))
        }
    }

    subscript(_ name: String) -> JSONTree? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name == name }?.value
    }

    /// A path of names.
    subscript(_ first: String, _ rest: String...) -> JSONTree? {
        rest.reduce(self[first]) { $0?[$1] }
    }

    var elements: [JSONTree] {
        if case .array(let elements) = self { elements } else { [] }
    }

    var members: [(name: String, value: JSONTree)] {
        if case .object(let members) = self { members } else { [] }
    }

    /// A string's characters, or a number's digits.
    var text: String? {
        switch self {
        case .string(let text), .number(let text): text
        default: nil
        }
    }

    var integer: Int64? {
        if case .number(let text) = self { Int64(text) } else { nil }
    }

    var bool: Bool? {
        if case .bool(let value) = self { value } else { nil }
    }

    var double: Double? {
        if case .number(let text) = self { Double(text) } else { nil }
    }
}

extension Reply {
    /// - Throws: a failure if it is no JSON.
    func tree() throws(CommandFailure) -> JSONTree {
        do {
            return try JSONTree(body)
        } catch {
            throw .unreadableAnswer(error)
        }
    }
}
