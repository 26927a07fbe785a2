internal import NIOCore
import PantlerInsight
import PantlerJSON
import PantlerModel
import PantlerStore

// PUT, PATCH and DELETE of an entry in its envelope.

extension Router {
    func putEntry(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        let now = store.moment().now
        let envelope = try request.body.withBytes { body throws(Problem) in try PutEnvelope(body, now: now) }
        try put(
            Put(
                value: envelope.value,
                kind: envelope.kind,
                lifetime: envelope.lifetime,
                staleTTL: envelope.staleTTL,
                tags: envelope.tags,
                condition: call.condition
            ),
            call,
            exchange
        )
    }

    /// Puts what either view made of its body.
    func put(_ put: Put, _ call: Call, _ exchange: Exchange) throws(Problem) {
        let address: EntryAddress
        let namespace: Namespace
        if call.condition.ifMatch != nil {
            // No write that is bound to fail makes a namespace.
            guard let found = store.namespace(call.namespace) else { throw .versionMismatch(found: nil) }
            namespace = found
        } else {
            namespace = try namespaceForWriting(call)
        }
        address = store.address(namespace, call.key)
        store.put(namespace, address, put) { result in
            exchange.respondFromAnywhere { Response(written: result, address.key, .put) }
        }
    }

    func patchEntry(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        let now = store.moment().now
        var patch = try request.body.withBytes { body throws(Problem) in try PatchEnvelope(body, now: now).patch }
        patch.condition = call.condition
        let namespace = try namespaceWithEntry(call)
        let address = store.address(namespace, call.key)
        store.patch(namespace, address, patch) { result in
            exchange.respondFromAnywhere { Response(written: result, address.key, .patch) }
        }
    }

    func deleteEntry(_ call: Call, _ exchange: Exchange) throws(Problem) {
        let namespace = try namespaceWithEntry(call)
        store.delete(namespace, store.address(namespace, call.key), call.condition) { result in
            exchange.respondFromAnywhere {
                switch result {
                case .success: Response(status: 204, operation: .delete)
                case .failure(let problem): Response(problem: problem, operation: .delete)
                }
            }
        }
    }

    func namespaceForWriting(_ call: Call) throws(Problem) -> Namespace {
        try Array(call.namespace.utf8).withBytes { name throws(Problem) in try store.namespaceForWriting(name) }
    }

    /// The namespace of an entry that is to be changed; without one there is no such entry either.
    private func namespaceWithEntry(_ call: Call) throws(Problem) -> Namespace {
        if let namespace = store.namespace(call.namespace) { return namespace }
        throw call.condition.ifMatch == nil ? .notFound(.absent) : .versionMismatch(found: nil)
    }
}

extension Response {
    /// What a put or a patch is answered with.
    fileprivate init(written result: Result<Written, Problem>, _ key: [UInt8], _ operation: Operation) {
        switch result {
        case .failure(let problem): self.init(problem: problem, operation: operation)
        case .success(let written):
            var body = JSONWriter(capacity: key.count + 96)
            body.beginObject()
            body.member("key")
            body.string(key)
            body.member("version")
            body.integer(written.version)
            body.member("expires_at")
            body.moment(written.expiresAt)
            body.endObject()
            self.init(
                written.isNew ? 201 : 200,
                body,
                headers: [("ETag", "\"\(written.version)\"")],
                operation: operation
            )
        }
    }
}

extension JSONWriter {
    /// Writes a moment, or null for never.
    mutating func moment(_ moment: Timestamp) {
        if moment == .never { null() } else { string(RFC3339.string(moment)) }
    }
}
