extension JSON {
    /// Applies a JSON merge patch (RFC 7396) to a JSON text, in bytes.
    ///
    /// Members that the patch does not name keep their bytes, numbers digit for digit, and their order; those it names
    /// are written in their place, new ones at the end in the patch's order. Names are compared decoded. Where a name
    /// occurs more than once, the last one counts, in target and patch: the others go once the patch names it.
    ///
    /// - Parameters:
    ///   - maxDepth: how deep target and patch may nest, which the result then keeps to as well. The patch is
    ///     walked by recursion: keep it to a thousand or so.
    ///   - limit: the most bytes that the result may have. One that may be larger is measured before it is written.
    /// - Throws: what `validate` throws, for either text; `tooLarge` for the result, and for texts of 2 GiB.
    /// - Complexity: O(target + patch).
    package static func mergePatch(
        target: UnsafeRawBufferPointer,
        patch: UnsafeRawBufferPointer,
        maxDepth: Int,
        limit: Int = .max
    ) throws(JSONError) -> [UInt8] {
        for text in [target, patch] where text.count > Int(Int32.max) {
            throw .tooLarge(size: text.count, limit: Int(Int32.max))
        }
        let target = target.slice(try validate(target, maxDepth: maxDepth))
        let patch = patch.slice(try validate(patch, maxDepth: maxDepth))
        guard patch[0] == UInt8(ascii: "{") else {
            if patch.count > limit { throw .tooLarge(size: patch.count, limit: limit) }
            return Array(patch)
        }
        var merge = Merge(target: target, patch: try PatchTree(patch, maxDepth: maxDepth), maxDepth: maxDepth)
        // All bytes that are written come from either text.
        let atMost = target.count + patch.count
        if atMost <= limit { return try merge.result(reserving: atMost) }
        let size = try merge.size()
        if size > limit { throw .tooLarge(size: size, limit: limit) }
        return try merge.result(reserving: size)
    }
}

/// One walk over a target to see where each named member occurs last, and a second one to write the result. Two, since
/// only the end of an object tells which of several members of one name counts; and each is a single pass, since values
/// are entered where they stand and not measured first, level for level.
private struct Merge {
    let target: UnsafeRawBufferPointer
    var patch: PatchTree
    let maxDepth: Int
    private var output = Output()
    private var isLocated = false

    init(target: UnsafeRawBufferPointer, patch: PatchTree, maxDepth: Int) {
        self.target = target
        self.patch = patch
        self.maxDepth = maxDepth
    }

    /// The bytes of the result, none of which is written.
    mutating func size() throws(JSONError) -> Int {
        output = Output()
        output.isMeasured = true
        try run()
        return output.count
    }

    mutating func result(reserving size: Int) throws(JSONError) -> [UInt8] {
        output = Output()
        output.bytes.reserveCapacity(size)
        try run()
        return output.bytes
    }

    private mutating func run() throws(JSONError) {
        guard target[0] == UInt8(ascii: "{") else { return write(PatchTree.root) }
        if !isLocated {
            var scanner = JSONScanner(target)
            try locate(PatchTree.root, &scanner)
            isLocated = true
        }
        var scanner = JSONScanner(target)
        try apply(PatchTree.root, &scanner)
    }

    /// Passes the target's object under the cursor and notes where its members stand that `node` names.
    private mutating func locate(_ node: Int, _ scanner: inout JSONScanner) throws(JSONError) {
        scanner.offset += 1
        var isFirst = true
        while try scanner.advance(in: .object, isFirst: isFirst) {
            isFirst = false
            let (name, hasEscapes) = try scanner.scanName()
            if let child = try patch.child(of: node, named: target.slice(name), hasEscapes: hasEscapes) {
                patch.nodes[child].lastSeen = Int32(name.lowerBound)
                if patch.nodes[child].type == .object, scanner.current == UInt8(ascii: "{") {
                    try locate(child, &scanner)
                    continue
                }
            }
            try scanner.scanValue(maxDepth: maxDepth)
        }
    }

    /// Passes the target's object under the cursor and writes it as `node` changes it.
    private mutating func apply(_ node: Int, _ scanner: inout JSONScanner) throws(JSONError) {
        let start = Int32(scanner.offset)
        scanner.offset += 1
        output.append(UInt8(ascii: "{"))
        var isFirst = true
        var needsComma = false
        while try scanner.advance(in: .object, isFirst: isFirst) {
            isFirst = false
            let (name, hasEscapes) = try scanner.scanName()
            guard let child = try patch.child(of: node, named: target.slice(name), hasEscapes: hasEscapes) else {
                let value = try scanner.scanValue(maxDepth: maxDepth)
                separate(&needsComma)
                output.append(target.slice(name.lowerBound..<value.upperBound))
                continue
            }
            let patched = patch.nodes[child]
            guard patched.lastSeen == Int32(name.lowerBound), patched.type != .null else {
                try scanner.scanValue(maxDepth: maxDepth)
                continue
            }
            separate(&needsComma)
            output.append(target.slice(name))
            output.append(UInt8(ascii: ":"))
            if patched.type == .object, scanner.current == UInt8(ascii: "{") {
                try apply(child, &scanner)
            } else {
                try scanner.scanValue(maxDepth: maxDepth)
                write(child)
            }
        }
        // A place before `start` is one in an earlier object of the same name, which is gone.
        for child in patch.children(of: node) where patch.nodes[child].lastSeen < start {
            writeMember(child, &needsComma)
        }
        output.append(UInt8(ascii: "}"))
    }

    /// Writes what `node` makes of nothing: itself, without the members that would remove something.
    private mutating func write(_ node: Int) {
        guard patch.nodes[node].type == .object else { return output.append(patch.value(of: node)) }
        output.append(UInt8(ascii: "{"))
        var needsComma = false
        for child in patch.children(of: node) { writeMember(child, &needsComma) }
        output.append(UInt8(ascii: "}"))
    }

    private mutating func writeMember(_ node: Int, _ needsComma: inout Bool) {
        if patch.nodes[node].type == .null { return }
        separate(&needsComma)
        output.append(patch.name(of: node))
        output.append(UInt8(ascii: ":"))
        write(node)
    }

    private mutating func separate(_ needsComma: inout Bool) {
        if needsComma { output.append(UInt8(ascii: ",")) }
        needsComma = true
    }
}

/// The bytes of the result, which are written or only counted.
private struct Output {
    var bytes: [UInt8] = []
    var isMeasured = false
    private(set) var count = 0

    mutating func append(_ piece: UnsafeRawBufferPointer) {
        count += piece.count
        if !isMeasured { bytes.append(contentsOf: piece) }
    }

    mutating func append(_ byte: UInt8) {
        count += 1
        if !isMeasured { bytes.append(byte) }
    }
}
