import PantlerModel

/// Recognises the plain GET of an entry or a value, the plain PUT of an entry's envelope, and the plain POST that asks for a lease, in the
/// bytes themselves: in one pass, without a string and without an allocation.
///
/// The lane takes a request that it understands to the last byte. It steps over all fields of a head that mean nothing to such a request,
/// whatever they are called. A request with a field that means something and that the lane does not understand (`LaneField`) is left to
/// SwiftNIO's decoder from its first byte on, and so is whatever is no such request. So the lane and the decoder can only differ about a
/// request that the lane takes, and a test compares the two over mutated requests.
enum FastLane {
    struct FastRequest {
        /// Bytes of the whole request, its body included.
        let length: Int
        let aspect: EntryAspect
        /// A valid name (`NamespaceName.isValid`).
        let namespace: UnsafeRawBufferPointer
        /// A valid key (`KeyForm`), decoded. Its bytes are there until the next request is read.
        let key: UnsafeRawBufferPointer
        /// The path, as sent.
        let target: UnsafeRawBufferPointer
        /// What Authorization says; empty without one.
        let authorization: UnsafeRawBufferPointer
        /// What X-Request-ID says, if it is to be echoed; empty otherwise.
        let requestID: UnsafeRawBufferPointer
        /// Whether the connection ends with the request's answer.
        let closes: Bool
    }

    enum Verdict {
        case get(FastRequest)
        /// The PUT of an entry. Nobody has looked whether the body is JSON.
        case put(FastRequest, body: UnsafeRawBufferPointer)
        /// The POST that asks for an entry or its lease. Nobody has looked whether the body is JSON.
        case lease(FastRequest, body: UnsafeRawBufferPointer)
        /// All that has come so far could be such a request.
        case incomplete
        /// The whole head of a put, and a part of its body. Many clients send the two one after the other. With what X-Request-ID says, as
        /// in `FastRequest`.
        case awaitsBody(requestID: UnsafeRawBufferPointer)
        case other
    }

    /// Longest head and longest body, in bytes. A request with a longer one is left to the decoder, also where it is not whole yet.
    struct Bounds {
        let head: Int
        let body: Int
        /// The longest body that is waited for. A longer one that is not all there finds its room in the slow lane.
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
        guard bytes[0] == UInt8(ascii: "P") else { return get(bytes, hosts, bounds, scratch) }
        guard bytes.count > 1 else { return .incomplete }
        return write(bytes, isPut: bytes[1] == UInt8(ascii: "U"), hosts, bounds, scratch)
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
        guard reader.fields(hosts, .get), reader.offset <= bounds.head else {
            return reader.offset > bounds.head ? .other : reader.verdict
        }
        return .get(
            FastRequest(
                length: reader.offset,
                aspect: aspect,
                namespace: namespace,
                key: key,
                target: target,
                authorization: reader.authorization,
                requestID: reader.requestID,
                closes: reader.closes
            )
        )
    }

    private static func write(
        _ bytes: UnsafeRawBufferPointer,
        isPut: Bool,
        _ hosts: ServedHosts,
        _ bounds: Bounds,
        _ scratch: UnsafeMutableRawBufferPointer
    ) -> Verdict {
        var reader = LaneReader(bytes)
        guard isPut ? reader.pass("PUT /v1/namespaces/") : reader.pass("POST /v1/namespaces/") else {
            return reader.verdict
        }
        guard let namespace = reader.namespace(), isPut ? reader.pass("entries/") : reader.pass("leases/") else {
            return reader.verdict
        }
        guard let key = reader.key(scratch) else { return reader.verdict }
        let target = reader.passed(from: isPut ? 4 : 5)
        guard reader.version() else { return reader.verdict }
        guard reader.fields(hosts, isPut ? .put : .post), reader.offset <= bounds.head else {
            return reader.offset > bounds.head ? .other : reader.verdict
        }
        if reader.bodyLength > bounds.body { return .other }
        guard let body = reader.body() else {
            return reader.bodyLength <= bounds.awaitedBody ? .awaitsBody(requestID: reader.requestID) : .other
        }
        let request = FastRequest(
            length: reader.offset,
            aspect: .entry,
            namespace: namespace,
            key: key,
            target: target,
            authorization: reader.authorization,
            requestID: reader.requestID,
            closes: reader.closes
        )
        return isPut ? .put(request, body: body) : .lease(request, body: body)
    }
}
