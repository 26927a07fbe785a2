/// A merge patch, parsed as far as it consists of objects within objects; arrays are values like others to it.
///
/// A patch may have as many members as a body has room for, of five bytes each. So a member costs a node of 48 bytes and two
/// places in one table of numbers for all objects together, and no allocation of its own.
struct PatchTree {
    struct Node {
        /// The name's literal in the patch; empty for the root.
        fileprivate(set) var name: Range<UInt32>
        fileprivate(set) var value: Range<UInt32>
        fileprivate(set) var firstChild: Int32 = -1
        fileprivate var lastChild: Int32 = -1
        /// The next of its parent's children, which stand in the order of their first occurrence.
        fileprivate(set) var sibling: Int32 = -1
        /// The number by which its children refer to it. It changes when a later member of its name takes its place, which has other children.
        fileprivate var identity: Int32
        /// The identity of the object that it is a member of.
        fileprivate let parent: Int32
        fileprivate let hash: UInt32
        /// Where the target's last member of this name begins, -1 if nowhere so far.
        var lastSeen: Int32 = -1
        fileprivate(set) var type: JSONType
        fileprivate var hasEscapes: Bool
    }

    static let root = 0

    let bytes: UnsafeRawBufferPointer
    var nodes: [Node] = []
    /// Numbers of nodes at the places of their hashes, or behind (linear probing); 0, which is the root and nobody's child, is none.
    private var table: [Int32] = Array(repeating: 0, count: 16)
    /// Members that took the place of another.
    private var replacements: Int32 = 0

    /// - Parameter bytes: a valid object, nested no deeper than `maxDepth`, of less than 2 GiB.
    /// - Complexity: O(n).
    init(_ bytes: UnsafeRawBufferPointer, maxDepth: Int) throws(JSONError) {
        self.bytes = bytes
        nodes.append(
            Node(
                name: 0..<0,
                value: 0..<UInt32(bytes.count),
                identity: 0,
                parent: -1,
                hash: 0,
                type: .object,
                hasEscapes: false
            )
        )
        var scanner = JSONScanner(bytes)
        try read(Self.root, &scanner, maxDepth: maxDepth)
    }

    /// The members of an object, in the order of their first occurrence.
    func children(of node: Int) -> Children { Children(nodes: nodes, number: nodes[node].firstChild) }

    struct Children: Sequence, IteratorProtocol {
        fileprivate let nodes: [Node]
        fileprivate var number: Int32

        mutating func next() -> Int? {
            guard number >= 0 else { return nil }
            defer { number = nodes[Int(number)].sibling }
            return Int(number)
        }
    }

    func name(of node: Int) -> UnsafeRawBufferPointer { slice(nodes[node].name) }

    func value(of node: Int) -> UnsafeRawBufferPointer { slice(nodes[node].value) }

    private func slice(_ range: Range<UInt32>) -> UnsafeRawBufferPointer {
        bytes.slice(Int(range.lowerBound)..<Int(range.upperBound))
    }

    /// The member of an object that a name in the target means. Names are compared decoded; lone surrogates are no error in a
    /// value, so they compare as well. Complexity: O(length) on average.
    ///
    /// - Parameter literal: a valid string with its quotes.
    func child(of node: Int, named literal: UnsafeRawBufferPointer, hasEscapes: Bool) throws(JSONError) -> Int? {
        // Most objects of a target are no object of the patch's, or one of few members.
        if nodes[node].firstChild < 0 { return nil }
        let parent = nodes[node].identity
        if hasEscapes { return try withDecoded(literal) { find($0, in: parent, Self.hash($0, in: parent)) } }
        let key = literal.slice(1..<literal.count - 1)
        return find(key, in: parent, Self.hash(key, in: parent))
    }

    private func withDecoded<Answer>(
        _ literal: UnsafeRawBufferPointer,
        _ body: (UnsafeRawBufferPointer) -> Answer
    ) throws(JSONError) -> Answer {
        let decoded = try JSON.stringBytes(literal, loneSurrogates: .generalised)
        return decoded.withUnsafeBytes(body)
    }

    /// Seeded by the process: nobody can choose names that share a place.
    private static func hash(_ key: UnsafeRawBufferPointer, in parent: Int32) -> UInt32 {
        var hasher = Hasher()
        hasher.combine(parent)
        hasher.combine(bytes: key)
        return UInt32(truncatingIfNeeded: hasher.finalize())
    }

    private func find(_ key: UnsafeRawBufferPointer, in parent: Int32, _ hash: UInt32) -> Int? {
        var place = Int(hash) & (table.count - 1)
        while table[place] != 0 {
            let node = nodes[Int(table[place])]
            if node.hash == hash, node.parent == parent, isNamed(node, key) { return Int(table[place]) }
            place = (place + 1) & (table.count - 1)
        }
        return nil
    }

    private func isNamed(_ node: Node, _ key: UnsafeRawBufferPointer) -> Bool {
        let literal = slice(node.name)
        // It was decoded once when it was added: it can be.
        guard node.hasEscapes, let decoded = try? JSON.stringBytes(literal, loneSurrogates: .generalised) else {
            return literal.slice(1..<literal.count - 1).elementsEqual(key)
        }
        return decoded.elementsEqual(key)
    }

    /// Passes the object under the cursor and hangs its members below `node`.
    private mutating func read(_ node: Int, _ scanner: inout JSONScanner, maxDepth: Int) throws(JSONError) {
        scanner.offset += 1
        var isFirst = true
        while try scanner.advance(in: .object, isFirst: isFirst) {
            isFirst = false
            let (name, hasEscapes) = try scanner.scanName()
            let start = scanner.offset
            guard let type = JSON.type(of: scanner.current) else { throw .syntax(offset: start, expected: "a value") }
            let child = try add(name, hasEscapes: hasEscapes, type, to: node)
            if type == .object {
                try read(child, &scanner, maxDepth: maxDepth)
            } else {
                try scanner.scanValue(maxDepth: maxDepth)
            }
            nodes[child].value = UInt32(start)..<UInt32(scanner.offset)
        }
    }

    /// A later member takes the place of an earlier one of its name. Returns its number.
    private mutating func add(
        _ name: Range<Int>,
        hasEscapes: Bool,
        _ type: JSONType,
        to parent: Int
    ) throws(JSONError) -> Int {
        let literal = bytes.slice(name)
        let identity = nodes[parent].identity
        let hash: UInt32
        let existing: Int?
        if hasEscapes {
            (hash, existing) = try withDecoded(literal) { key in
                let hash = Self.hash(key, in: identity)
                return (hash, find(key, in: identity, hash))
            }
        } else {
            let key = literal.slice(1..<literal.count - 1)
            hash = Self.hash(key, in: identity)
            existing = find(key, in: identity, hash)
        }
        let range = UInt32(name.lowerBound)..<UInt32(name.upperBound)
        if let existing {
            nodes[existing].name = range
            nodes[existing].hasEscapes = hasEscapes
            nodes[existing].type = type
            nodes[existing].firstChild = -1
            nodes[existing].lastChild = -1
            replacements += 1
            nodes[existing].identity = -replacements
            return existing
        }
        let number = Int32(nodes.count)
        nodes.append(
            Node(
                name: range,
                value: 0..<0,
                identity: number,
                parent: identity,
                hash: hash,
                type: type,
                hasEscapes: hasEscapes
            )
        )
        if nodes[parent].lastChild >= 0 {
            nodes[Int(nodes[parent].lastChild)].sibling = number
        } else {
            nodes[parent].firstChild = number
        }
        nodes[parent].lastChild = number
        if nodes.count * 2 > table.count { grow() } else { enter(number) }
        return Int(number)
    }

    private mutating func enter(_ number: Int32) {
        var place = Int(nodes[Int(number)].hash) & (table.count - 1)
        while table[place] != 0 { place = (place + 1) & (table.count - 1) }
        table[place] = number
    }

    private mutating func grow() {
        table = Array(repeating: 0, count: table.count * 2)
        for number in nodes.indices.dropFirst() { enter(Int32(number)) }
    }
}
