/// A merge patch taken apart as far as it is objects within objects; what stands in arrays is plain value to it.
struct PatchTree {
    struct Node {
        /// The name's literal in the patch; empty for the root.
        var name: Range<Int>
        var value: Range<Int>
        var type: JSONType
        /// In the order of their first occurrence.
        var children: [Int] = []
        var indices: [[UInt8]: Int] = [:]
        /// Where the target's last member of this name begins, -1 if nowhere so far.
        var lastSeen = -1
    }

    static let root = 0

    let bytes: UnsafeRawBufferPointer
    var nodes: [Node] = []

    /// - Parameter bytes: a valid object, nested no deeper than `maxDepth`.
    /// - Complexity: O(n).
    init(_ bytes: UnsafeRawBufferPointer, maxDepth: Int) throws(JSONError) {
        self.bytes = bytes
        nodes.append(Node(name: 0..<0, value: 0..<bytes.count, type: .object))
        var scanner = JSONScanner(bytes)
        try read(Self.root, &scanner, maxDepth: maxDepth)
    }

    func child(of node: Int, named key: [UInt8]) -> Int? {
        nodes[node].indices[key]
    }

    /// What names are compared by. Lone surrogates are no error in a value, so they must compare as well.
    func key(_ literal: UnsafeRawBufferPointer) throws(JSONError) -> [UInt8] {
        try JSON.stringBytes(literal, loneSurrogates: .generalised)
    }

    /// Passes the object under the cursor and hangs its members below `node`.
    private mutating func read(_ node: Int, _ scanner: inout JSONScanner, maxDepth: Int) throws(JSONError) {
        scanner.offset += 1
        var isFirst = true
        while try scanner.advance(in: .object, isFirst: isFirst) {
            isFirst = false
            let name = try scanner.scanMemberName()
            let start = scanner.offset
            guard let type = JSON.type(of: scanner.current) else { throw .syntax(offset: start, expected: "a value") }
            let child = add(
                Node(name: name, value: start..<start, type: type),
                to: node,
                key: try key(bytes.slice(name))
            )
            if type == .object {
                try read(child, &scanner, maxDepth: maxDepth)
            } else {
                try scanner.scanValue(maxDepth: maxDepth)
            }
            nodes[child].value = start..<scanner.offset
        }
    }

    /// A later member takes the place of an earlier one of its name.
    private mutating func add(_ child: Node, to node: Int, key: [UInt8]) -> Int {
        if let existing = nodes[node].indices[key] {
            nodes[existing] = child
            return existing
        }
        nodes.append(child)
        nodes[node].children.append(nodes.count - 1)
        nodes[node].indices[key] = nodes.count - 1
        return nodes.count - 1
    }
}
