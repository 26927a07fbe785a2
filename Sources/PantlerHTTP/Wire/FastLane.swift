import PantlerModel

/// The plain GET of an entry or a value, and the plain PUT of an entry's envelope, read in the bytes themselves: no string, no
/// allocation, one pass.
///
/// It takes what it understands to the last byte. Of the fields of a head it steps over all that mean nothing to such a request, whatever they
/// are called, and leaves a request with one that does (`LaneField`) to SwiftNIO's decoder from its first byte on, as it does with
/// whatever is no such request. So the two can only differ about a request that the lane takes, and a test holds them against
/// each other over mutated requests.
enum FastLane {
    struct FastRequest {
        /// Bytes of the whole request, its body included.
        let length: Int
        let aspect: EntryAspect
        /// In form (`NamespaceName.isValid`).
        let namespace: UnsafeRawBufferPointer
        /// In form (`KeyForm`), decoded. Good until the next request is read.
        let key: UnsafeRawBufferPointer
        /// The path, as sent.
        let target: UnsafeRawBufferPointer
        /// Whether the connection ends with its answer.
        let closes: Bool
    }

    enum Verdict {
        case get(FastRequest)
        /// Of an entry. Nobody has looked whether the body is JSON.
        case put(FastRequest, body: UnsafeRawBufferPointer)
        /// All that has come so far could be such a request.
        case incomplete
        /// The whole head of a put, and a part of its body. Many clients send the two one after the other.
        case awaitsBody
        case other
    }

    /// Longest head and longest body, in bytes. What is longer is left, also where it is not whole yet.
    struct Bounds {
        let head: Int
        let body: Int
        /// The longest body that is waited for. A longer one that is not all there finds its room in the other lane.
        let awaitedBody: Int
    }

    /// Reads the request at the front of `bytes`, which are not empty.
    ///
    /// - Parameter scratch: where a key that has to be decoded goes; `Limits.keyBytes` at least.
    /// - Complexity: O(length of the head).
    static func parse(
        _ bytes: UnsafeRawBufferPointer,
        _ hosts: ServedHosts,
        _ bounds: Bounds,
        scratch: UnsafeMutableRawBufferPointer
    ) -> Verdict {
        bytes[0] == UInt8(ascii: "P") ? put(bytes, hosts, bounds, scratch) : get(bytes, hosts, bounds, scratch)
    }

    private static func get(
        _ bytes: UnsafeRawBufferPointer,
        _ hosts: ServedHosts,
        _ bounds: Bounds,
        _ scratch: UnsafeMutableRawBufferPointer
    ) -> Verdict {
        var reader = LaneReader(bytes)
        guard reader.pass("GET /v1/namespaces/") else { return reader.verdict }
        guard let namespace = reader.namespace() else { return reader.verdict }
        let aspect: EntryAspect
        if reader.next == UInt8(ascii: "e") {
            guard reader.pass("entries/") else { return reader.verdict }
            aspect = .entry
        } else {
            guard reader.pass("values/") else { return reader.verdict }
            aspect = .value
        }
        guard let key = reader.key(scratch) else { return reader.verdict }
        let target = reader.passed(from: 4)
        guard reader.version() else { return reader.verdict }
        guard reader.fields(hosts, isPut: false), reader.offset <= bounds.head else {
            return reader.offset > bounds.head ? .other : reader.verdict
        }
        return .get(
            FastRequest(
                length: reader.offset,
                aspect: aspect,
                namespace: namespace,
                key: key,
                target: target,
                closes: reader.closes
            )
        )
    }

    private static func put(
        _ bytes: UnsafeRawBufferPointer,
        _ hosts: ServedHosts,
        _ bounds: Bounds,
        _ scratch: UnsafeMutableRawBufferPointer
    ) -> Verdict {
        var reader = LaneReader(bytes)
        guard reader.pass("PUT /v1/namespaces/") else { return reader.verdict }
        guard let namespace = reader.namespace(), reader.pass("entries/") else { return reader.verdict }
        guard let key = reader.key(scratch) else { return reader.verdict }
        let target = reader.passed(from: 4)
        guard reader.version() else { return reader.verdict }
        guard reader.fields(hosts, isPut: true), reader.offset <= bounds.head else {
            return reader.offset > bounds.head ? .other : reader.verdict
        }
        if reader.bodyLength > bounds.body { return .other }
        guard let body = reader.body() else { return reader.bodyLength <= bounds.awaitedBody ? .awaitsBody : .other }
        return .put(
            FastRequest(
                length: reader.offset,
                aspect: .entry,
                namespace: namespace,
                key: key,
                target: target,
                closes: reader.closes
            ),
            body: body
        )
    }
}
