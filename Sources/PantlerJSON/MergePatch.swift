extension JSON {
    /// Applies a JSON merge patch (RFC 7396) to a JSON text, in bytes.
    ///
    /// Members that the patch does not name keep their bytes, numbers digit for digit, and their order; those it names
    /// are written in their place, new ones at the end in the patch's order. Names are compared decoded. Where a name
    /// occurs more than once, the last one counts, in target and patch: the others go once the patch names it.
    ///
    /// - Parameter maxDepth: how deep target and patch may nest, which the result then keeps to as well. The patch is
    ///   walked by recursion: keep it to a thousand or so.
    /// - Throws: what `validate` throws, for either text.
    /// - Complexity: O(target + patch).
    package static func mergePatch(
        target: UnsafeRawBufferPointer,
        patch: UnsafeRawBufferPointer,
        maxDepth: Int
    ) throws(JSONError) -> [UInt8] {
        let target = target.slice(try validate(target, maxDepth: maxDepth))
        let patch = patch.slice(try validate(patch, maxDepth: maxDepth))
        guard patch[0] == UInt8(ascii: "{") else { return Array(patch) }

        var merge = Merge(target: target, patch: try PatchTree(patch, maxDepth: maxDepth), maxDepth: maxDepth)
        guard target[0] == UInt8(ascii: "{") else {
            merge.write(PatchTree.root)
            return merge.output
        }
        var scanner = JSONScanner(target)
        try merge.locate(PatchTree.root, &scanner)
        scanner = JSONScanner(target)
        try merge.apply(PatchTree.root, &scanner)
        return merge.output
    }
}

/// One walk over a target to see where each named member occurs last, and a second one to write the result. Two, since
/// only the end of an object tells which of several members of one name counts; and each is a single pass, since values
/// are entered where they stand and not measured first, level for level.
private struct Merge {
    let target: UnsafeRawBufferPointer
    var patch: PatchTree
    let maxDepth: Int
    var output: [UInt8] = []

    init(target: UnsafeRawBufferPointer, patch: PatchTree, maxDepth: Int) {
        self.target = target
        self.patch = patch
        self.maxDepth = maxDepth
        output.reserveCapacity(target.count + patch.bytes.count)
    }

    /// Passes the target's object under the cursor and notes where its members stand that `node` names.
    mutating func locate(_ node: Int, _ scanner: inout JSONScanner) throws(JSONError) {
        scanner.offset += 1
        var isFirst = true
        while try scanner.advance(in: .object, isFirst: isFirst) {
            isFirst = false
            let name = try scanner.scanMemberName()
            if let child = patch.child(of: node, named: try patch.key(target.slice(name))) {
                patch.nodes[child].lastSeen = name.lowerBound
                if patch.nodes[child].type == .object, scanner.current == UInt8(ascii: "{") {
                    try locate(child, &scanner)
                    continue
                }
            }
            try scanner.scanValue(maxDepth: maxDepth)
        }
    }

    /// Passes the target's object under the cursor and writes it as `node` changes it.
    mutating func apply(_ node: Int, _ scanner: inout JSONScanner) throws(JSONError) {
        let start = scanner.offset
        scanner.offset += 1
        output.append(UInt8(ascii: "{"))
        var isFirst = true
        var needsComma = false
        while try scanner.advance(in: .object, isFirst: isFirst) {
            isFirst = false
            let name = try scanner.scanMemberName()
            guard let child = patch.child(of: node, named: try patch.key(target.slice(name))) else {
                let value = try scanner.scanValue(maxDepth: maxDepth)
                separate(&needsComma)
                output.append(contentsOf: target[name.lowerBound..<value.upperBound])
                continue
            }
            let patched = patch.nodes[child]
            guard patched.lastSeen == name.lowerBound, patched.type != .null else {
                try scanner.scanValue(maxDepth: maxDepth)
                continue
            }
            separate(&needsComma)
            output.append(contentsOf: target[name])
            output.append(UInt8(ascii: ":"))
            if patched.type == .object, scanner.current == UInt8(ascii: "{") {
                try apply(child, &scanner)
            } else {
                try scanner.scanValue(maxDepth: maxDepth)
                write(child)
            }
        }
        // A place before `start` is one in an earlier object of the same name, which is gone.
        for child in patch.nodes[node].children where patch.nodes[child].lastSeen < start {
            writeMember(child, &needsComma)
        }
        output.append(UInt8(ascii: "}"))
    }

    /// Writes what `node` makes of nothing: itself, without the members that would remove something.
    mutating func write(_ node: Int) {
        guard patch.nodes[node].type == .object else {
            output.append(contentsOf: patch.bytes[patch.nodes[node].value])
            return
        }
        output.append(UInt8(ascii: "{"))
        var needsComma = false
        for child in patch.nodes[node].children {
            writeMember(child, &needsComma)
        }
        output.append(UInt8(ascii: "}"))
    }

    private mutating func writeMember(_ node: Int, _ needsComma: inout Bool) {
        if patch.nodes[node].type == .null { return }
        separate(&needsComma)
        output.append(contentsOf: patch.bytes[patch.nodes[node].name])
        output.append(UInt8(ascii: ":"))
        write(node)
    }

    private mutating func separate(_ needsComma: inout Bool) {
        if needsComma { output.append(UInt8(ascii: ",")) }
        needsComma = true
    }
}
