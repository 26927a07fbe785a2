internal import NIOCore
import PantlerInsight
import PantlerJSON
import PantlerModel
import PantlerStore

// Namespaces and their policies.

extension Router {
    /// Lists the namespaces that a caller may do anything in.
    func listNamespaces(seenBy caller: Caller) -> Response {
        var body = JSONWriter(capacity: 1024)
        body.beginObject()
        body.member("namespaces")
        body.beginArray()
        for namespace in store.namespaces() {
            let record = namespace.record
            if caller.sees(record.name.description) { body.namespace(record, madeAt: madeAt(namespace)) }
        }
        body.endArray()
        body.endObject()
        return Response(200, body, headers: Response.notStored, operation: .namespace)
    }

    func answerNamespace(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        switch call.method {
        case .put: try putNamespace(call, request, exchange)
        case .patch: try patchNamespace(call, request, exchange)
        case .delete: try deleteNamespace(call, exchange)
        case .get, .head, .post, .options, .other:
            guard let namespace = store.namespace(call.namespace) else { throw .namespaceNotFound(call.namespace) }
            exchange.respond(Response(200, namespace.record, madeAt: madeAt(namespace)))
        }
    }

    private func putNamespace(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        let name = try NamespaceName(call.namespace)
        let defaults = store.defaultPolicy
        let change = try request.body.withBytes { body throws(Problem) in try PolicyChange(body, name: name, .whole) }
        store.setPolicy(name, change.applied(to: defaults, defaults: defaults)) { result in
            exchange.respondFromAnywhere { [self] in
                Response(set: result, madeAt: madeAt).auditing(.policy, namespace: name.description)
            }
        }
    }

    private func patchNamespace(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        let name = try NamespaceName(call.namespace)
        // The defaults are read before the change: within it, this would wait for a lock that the change itself holds.
        let defaults = store.defaultPolicy
        let change = try request.body.withBytes { body throws(Problem) in try PolicyChange(body, name: name, .patch) }
        store.changePolicy(name) { policy throws(Problem) in
            policy = change.applied(to: policy, defaults: defaults)
        } completion: { result in
            exchange.respondFromAnywhere { [self] in
                Response(set: result, madeAt: madeAt).auditing(.policy, namespace: name.description)
            }
        }
    }

    private func madeAt(_ namespace: Namespace) -> WallTime { store.wallTime(namespace.createdAt) }

    /// Drops a namespace, if the call names what is to be lost: clients fold `entries/..` to a namespace's own path, and would drop it by
    /// mistake.
    private func deleteNamespace(_ call: Call, _ exchange: Exchange) throws(Problem) {
        let name = try NamespaceName(call.namespace)
        guard call.query[.confirm].map({ $0.elementsEqual(call.namespace.utf8) }) == true else {
            throw Problem(
                .confirmationRequired,
                "This drops the namespace '\(name)' with all its entries: it takes '?confirm=\(name)'."
            )
        }
        store.dropNamespace(name) { result in
            exchange.respondFromAnywhere {
                switch result {
                case .success(true):
                    Response(status: 204, operation: .namespace).auditing(.drop, namespace: name.description)
                case .success(false):
                    Response(problem: .namespaceNotFound(name.description), operation: .namespace)
                case .failure(let problem):
                    Response(problem: problem, operation: .namespace).auditing(.drop, namespace: name.description)
                }
            }
        }
    }
}

extension Response {
    fileprivate init(set result: Result<PolicySet, Problem>, madeAt: (Namespace) -> WallTime) {
        switch result {
        case .failure(let problem): self.init(problem: problem, operation: .namespace)
        case .success(let set): self.init(set.isNew ? 201 : 200, set.namespace.record, madeAt: madeAt(set.namespace))
        }
    }

    fileprivate init(_ status: Int, _ record: NamespaceRecord, madeAt: WallTime) {
        var body = JSONWriter(capacity: 512)
        body.namespace(record, madeAt: madeAt)
        self.init(status, body, headers: Self.notStored, operation: .namespace)
    }
}

extension JSONWriter {
    /// Writes a namespace with its policy: sizes in bytes, durations in seconds, null for what has no limit.
    mutating func namespace(_ record: NamespaceRecord, madeAt: WallTime) {
        let policy = record.policy
        beginObject()
        member("name")
        string(record.name.description)
        member("default_ttl")
        seconds(policy.defaultTTL)
        member("max_ttl")
        seconds(policy.maxTTL)
        member("stale_ttl")
        seconds(policy.staleTTL)
        member("negative_ttl")
        seconds(policy.negativeTTL)
        member("ttl_jitter")
        fraction(policy.ttlJitter)
        member("early_refresh")
        fraction(policy.earlyRefresh)
        member("max_memory")
        limit(policy.maxMemory)
        member("max_entries")
        limit(policy.maxEntries)
        member("max_disk")
        limit(policy.maxDisk)
        member("max_value_size")
        integer(policy.maxValueSize)
        member("eviction")
        string(policy.eviction.rawValue)
        member("durability")
        string(policy.durability.rawValue)
        member("compression")
        beginObject()
        member("threshold")
        integer(policy.compressionThreshold)
        member("level")
        integer(policy.compressionLevel)
        endObject()
        member("generation")
        integer(record.generation)
        member("created_at")
        moment(madeAt)
        endObject()
    }

    /// Writes milliseconds as seconds.
    mutating func seconds(_ milliseconds: Int64?) {
        if let milliseconds { raw(JSON.seconds(milliseconds: milliseconds).utf8) } else { null() }
    }

    /// Writes a number, a whole one without a fraction.
    private mutating func fraction(_ value: Double) {
        if let whole = Int(exactly: value) { integer(whole) } else { number(value) }
    }

    private mutating func limit(_ value: Int64?) {
        if let value { integer(value) } else { null() }
    }
}
