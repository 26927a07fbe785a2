import PantlerModel

/// The plain GET of an entry or a value, and the plain PUT of an entry's envelope, read in the bytes themselves: no string, no
/// allocation, one pass.
///
/// It takes what it understands to the last byte, and decides nothing else: whatever is not such a request, or says anything that
/// might matter, is left to SwiftNIO's decoder from its first byte on. So the two can only differ about a request that the
/// lane takes, and a test holds them against each other over mutated requests.
enum FastLane {
    struct FastRequest {
        /// Bytes of the whole request, its body included.
        let length: Int
        let aspect: EntryAspect
        /// In form (`NamespaceName.isValid`).
        let namespace: UnsafeRawBufferPointer
        /// 1 to 1,024 bytes of ASCII, none of which needs decoding.
        let key: UnsafeRawBufferPointer
    }

    enum Verdict {
        case get(FastRequest)
        /// Of an entry. The body says that it is JSON, and nobody has looked whether it is.
        case put(FastRequest, body: UnsafeRawBufferPointer)
        /// All that has come so far could be such a request.
        case incomplete
        case other
    }

    /// Longest head and longest body, in bytes. What is longer is left, also where it is not whole yet.
    struct Bounds {
        let head: Int
        let body: Int
    }

    /// Reads the request at the front of `bytes`, which are not empty.
    ///
    /// - Complexity: O(length of the head).
    static func parse(_ bytes: UnsafeRawBufferPointer, _ hosts: ServedHosts, _ bounds: Bounds) -> Verdict {
        bytes[0] == UInt8(ascii: "P") ? put(bytes, hosts, bounds) : get(bytes, hosts, bounds)
    }

    private static func get(_ bytes: UnsafeRawBufferPointer, _ hosts: ServedHosts, _ bounds: Bounds) -> Verdict {
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
        guard let key = reader.key(), reader.pass(" HTTP/1.1\r\n") else { return reader.verdict }
        guard reader.fields(hosts, aspect, needed: .ofGet), reader.offset <= bounds.head else {
            return reader.offset > bounds.head ? .other : reader.verdict
        }
        return .get(FastRequest(length: reader.offset, aspect: aspect, namespace: namespace, key: key))
    }

    /// A body that is not whole yet is left, too: the slow lane has its own patience with bodies.
    private static func put(_ bytes: UnsafeRawBufferPointer, _ hosts: ServedHosts, _ bounds: Bounds) -> Verdict {
        var reader = LaneReader(bytes)
        guard reader.pass("PUT /v1/namespaces/") else { return reader.verdict }
        guard let namespace = reader.namespace(), reader.pass("entries/") else { return reader.verdict }
        guard let key = reader.key(), reader.pass(" HTTP/1.1\r\n") else { return reader.verdict }
        guard reader.fields(hosts, .entry, needed: .ofPut), reader.offset <= bounds.head else {
            return reader.offset > bounds.head ? .other : reader.verdict
        }
        guard let body = reader.body(atMost: bounds.body) else { return .other }
        let request = FastRequest(length: reader.offset, aspect: .entry, namespace: namespace, key: key)
        return .put(request, body: body)
    }
}
