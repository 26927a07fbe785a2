internal import NIOCore
import PantlerInsight
import PantlerJSON
import PantlerModel
import PantlerStore

/// What the body of an invalidation says.
struct InvalidationOrder: Sendable {
    private enum Member: String, CaseIterable, Sendable {
        case keys, tags, prefix, all, mode
    }

    /// An `Invalidation` whose keys have no namespace yet.
    enum What: Equatable, Sendable {
        case keys([[UInt8]])
        case tags([EntryTag])
        case prefix([UInt8])
        case all
    }

    let what: What
    let mode: InvalidationMode

    /// - Throws: what is wrong with the body, which has to name exactly one thing to invalidate.
    init(_ body: UnsafeRawBufferPointer) throws(Problem) {
        let members = try Members(body, allowed: Member.allCases)
        try members.checkUnknown()
        let said = [Member.keys, .tags, .prefix, .all].compactMap { name in members[name].map { (name, $0) } }
        guard let (name, element) = said.first else {
            throw Problem(.missingMember, "One of 'keys', 'tags', 'prefix' and 'all' is needed.")
        }
        if said.count > 1 {
            throw Problem(.memberInvalid, "Only one of 'keys', 'tags', 'prefix' and 'all' is taken at a time.")
        }
        mode = try members[.mode].map { element throws(Problem) in try Self.mode(element) } ?? .gone
        switch name {
        case .keys: what = .keys(try KeyBatch.keys(element))
        case .tags: what = .tags(try Tags.read(element))
        case .prefix:
            guard element.type == .string else { throw Problem(.memberInvalid, "'prefix' takes a string.") }
            what = .prefix(try KeyForm.read(element.bytes))
        case .all, .mode:
            guard element.type == .true else { throw Problem(.memberInvalid, "'all' takes true.") }
            what = .all
        }
    }

    private static func mode(_ element: JSONElement) throws(Problem) -> InvalidationMode {
        switch element.type == .string ? try? JSON.string(element.bytes) : nil {
        case "gone": return .gone
        case "stale": return .stale
        default: throw Problem(.memberInvalid, "'mode' takes \"gone\" or \"stale\".")
        }
    }
}

extension Router {
    func invalidate(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        let order = try request.body.withBytes { body throws(Problem) in try InvalidationOrder(body) }
        guard let namespace = store.namespace(call.namespace) else { throw .namespaceNotFound(call.namespace) }
        let what: Invalidation =
            switch order.what {
            case .keys(let keys): .keys(keys.map { store.address(namespace, $0) })
            case .tags(let tags): .tags(tags)
            case .prefix(let prefix): .prefix(prefix)
            case .all: .all
            }
        store.invalidate(namespace, what, mode: order.mode) { result in
            exchange.respondFromAnywhere {
                let response =
                    switch result {
                    case .success(let invalidated): Response(invalidated)
                    case .failure(let problem): Response(problem: problem, operation: .invalidate)
                    }
                return order.what == .all ? response.auditing(.flush, namespace: call.namespace) : response
            }
        }
    }
}

extension Response {
    fileprivate init(_ invalidated: Invalidated) {
        var body = JSONWriter(capacity: 64)
        body.beginObject()
        body.member("invalidated")
        if let count = invalidated.count { body.integer(count) } else { body.null() }
        if let tags = invalidated.tags {
            body.member("tags")
            body.integer(tags)
        }
        if let generation = invalidated.generation {
            body.member("generation")
            body.integer(generation)
        }
        body.endObject()
        self.init(200, body, operation: .invalidate)
    }
}
