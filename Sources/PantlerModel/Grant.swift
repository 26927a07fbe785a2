/// What a caller may do: a role includes those below it.
package enum Role: String, Sendable, CaseIterable, Comparable {
    /// Sees entries, lists, policies and figures.
    case read
    /// Changes entries, takes leases, invalidates.
    case write
    /// Makes, changes and drops namespaces; with every namespace, tokens too.
    case admin

    package static func < (left: Role, right: Role) -> Bool { left.rank < right.rank }

    private var rank: Int {
        switch self {
        case .read: 0
        case .write: 1
        case .admin: 2
        }
    }
}

/// Which namespaces a grant is for: all (`*`), those whose names begin alike (`team-*`), or one.
package struct NamespacePattern: Hashable, Sendable, CustomStringConvertible {
    /// The name, or what all names begin with.
    private let bytes: [UInt8]
    private let isPrefix: Bool

    package static let everything = NamespacePattern(bytes: [], isPrefix: true)

    private init(bytes: [UInt8], isPrefix: Bool) {
        self.bytes = bytes
        self.isPrefix = isPrefix
    }

    /// `nil` where the bytes are neither a name nor the beginning of one followed by `*`. Complexity: O(length).
    package init?(_ text: some Collection<UInt8>) {
        var bytes = Array(text)
        let isPrefix = bytes.last == UInt8(ascii: "*")
        if isPrefix { bytes.removeLast() }
        guard isPrefix && bytes.isEmpty || NamespaceName.isValid(bytes) else { return nil }
        self.init(bytes: bytes, isPrefix: isPrefix)
    }

    package init?(_ text: String) { self.init(text.utf8) }

    package var description: String { String(decoding: bytes, as: UTF8.self) + (isPrefix ? "*" : "") }

    package var isEverything: Bool { isPrefix && bytes.isEmpty }

    /// Whether a name is among them; it need not be a valid one. Allocates nothing. Complexity: O(length).
    package func matches(_ name: UnsafeRawBufferPointer) -> Bool {
        guard isPrefix ? name.count >= bytes.count : name.count == bytes.count else { return false }
        for index in bytes.indices where name[index] != bytes[index] { return false }
        return true
    }

    package func matches(_ name: some StringProtocol) -> Bool {
        var name = String(name)
        return name.withUTF8 { matches(UnsafeRawBufferPointer($0)) }
    }
}

/// A role, and the namespaces that it is for.
package struct Grant: Hashable, Sendable {
    package var role: Role
    /// 1 to `namespaceLimit`; with none of them nothing is allowed.
    package var namespaces: [NamespacePattern]

    /// Most patterns of a grant.
    package static let namespaceLimit = 64

    package init(role: Role, namespaces: [NamespacePattern] = [.everything]) {
        self.role = role
        self.namespaces = namespaces
    }

    /// Whether a namespace is among those of the grant, which then sees at least that it is there.
    package func covers(_ namespace: UnsafeRawBufferPointer) -> Bool {
        for pattern in namespaces where pattern.matches(namespace) { return true }
        return false
    }

    package func covers(_ namespace: some StringProtocol) -> Bool {
        var name = String(namespace)
        return name.withUTF8 { covers(UnsafeRawBufferPointer($0)) }
    }

    /// Whether it includes what a role may do in a namespace. Allocates nothing. Complexity: O(patterns · length).
    package func allows(_ role: Role, _ namespace: UnsafeRawBufferPointer) -> Bool {
        self.role >= role && covers(namespace)
    }

    package func allows(_ role: Role, _ namespace: some StringProtocol) -> Bool {
        self.role >= role && covers(namespace)
    }

    /// Whether it includes what a role may do where no namespace is named: that takes all of them.
    package func allowsEverywhere(_ role: Role) -> Bool {
        self.role >= role && namespaces.contains { $0.isEverything }
    }
}
