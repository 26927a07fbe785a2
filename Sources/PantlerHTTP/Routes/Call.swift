internal import NIOHTTP1
import PantlerInsight
import PantlerJSON
import PantlerModel
import PantlerStore

/// A request's head, judged as far as it can be by itself: everything but the body, and what the store knows.
struct Call: Sendable {
    let resource: Resource
    let method: Method
    /// A valid name; empty where the path has none.
    let namespace: String
    /// Empty where the call takes none.
    let key: [UInt8]
    /// The id that the path has of a token; `nil` where it has none, or none in form.
    let token: TokenID?
    let query: Query
    /// The condition of a call of an entry or a value; on a GET `If-None-Match` alone.
    let condition: Condition
    /// The lease that the call is made under; `nil` where it says none.
    let lease: LeaseToken?
    /// What a client of the metrics accepts: these have two formats. All else has one format, and is answered in it whatever the client
    /// accepts.
    let accept: Accept

    var operation: Operation { resource.operation(method) }

    /// Faults are looked for in a fixed order: path, method, namespace, a key in the path, what the caller may do, query, conditions,
    /// `Content-Type`. An empty key is found before the method is looked at, so that no method makes anything of `entries/`. The caller is
    /// judged before the store is asked for anything, so that nobody learns which namespaces there are.
    ///
    /// - Parameters:
    ///   - caller: who calls.
    ///   - target: path and query, as sent.
    ///   - query: what stands behind the `?`; `nil` where there is none.
    /// - Throws: the problem to answer with.
    init(
        _ method: Method,
        _ target: UnsafeRawBufferPointer,
        path: Range<Int>,
        query: Range<Int>?,
        _ headers: HTTPHeaders,
        by caller: Caller
    ) throws(Problem) {
        guard let route = Route(target, path: path) else {
            throw Problem(.routeNotFound, "There is nothing under this path.")
        }
        let resource = route.resource
        self.resource = resource
        self.method = method
        accept = resource == .metrics ? Accept(headers) : Accept([:])
        if method == .options {
            namespace = ""
            key = []
            token = nil
            self.query = try Query(nil, allowed: [])
            condition = .none
            lease = nil
            return
        }
        if case .path(let range) = route.key, range.isEmpty { try KeyForm.check([]) }
        guard resource.takes(method) else {
            throw Problem(.methodNotAllowed, "This path takes \(resource.allow).", extra: .allow(resource.allow))
        }
        namespace = try Self.namespace(target, route)
        token = route.token.flatMap { PercentDecoding.decode(target.slice($0)) }.flatMap { TokenID($0) }
        var keyOfPath: [UInt8]?
        if case .path(let range) = route.key { keyOfPath = try KeyForm.decode(target.slice(range)) }
        let need = resource.need(method)
        guard caller.meets(need, in: namespace) else { throw .forbidden(need) }
        let inQuery = route.key == .query
        let allowed = resource.parameters(method).union(inQuery ? [.key] : [])
        self.query = try Query(query.map { target.slice($0) }, allowed: allowed)
        key = keyOfPath ?? (inQuery ? self.query[.key] ?? [] : [])
        if inQuery { try KeyForm.check(key) }
        condition = try Self.condition(resource, method, headers)
        lease = try Self.lease(resource, method, headers)
        try checkContentType(headers)
    }

    private static func namespace(_ target: UnsafeRawBufferPointer, _ route: Route) throws(Problem) -> String {
        guard let range = route.namespace else { return "" }
        let encoded = target.slice(range)
        let name = PercentDecoding.decode(encoded) ?? Array(encoded)
        let text = String(decoding: name, as: UTF8.self)
        guard NamespaceName.isValid(name) else { throw .namespaceInvalid(text) }
        return text
    }

    private static func condition(
        _ resource: Resource,
        _ method: Method,
        _ headers: HTTPHeaders
    ) throws(Problem) -> Condition {
        if resource == .namespace, !method.isSafe { try refuseEntryFields(headers) }
        guard resource == .entry || resource == .value else { return .none }
        var condition = try Condition(headers)
        if method == .get || method == .head { condition.ifMatch = nil }
        return condition
    }

    /// The lease of a fill, or of a call of the lease itself. Other writes end leases, whoever holds them, so that one that names a lease
    /// is a mistake.
    private static func lease(
        _ resource: Resource,
        _ method: Method,
        _ headers: HTTPHeaders
    ) throws(Problem) -> LeaseToken? {
        switch (resource, method) {
        case (.entry, .put), (.value, .put): return try LeaseField.read(headers)
        case (.lease, .patch), (.lease, .delete):
            guard let lease = try LeaseField.read(headers) else {
                throw Problem(.headerInvalid, "The lease's token is needed, in the field Lease.")
            }
            return lease
        case (.entry, .patch), (.entry, .delete), (.value, .delete), (.counter, .post), (.lease, .post):
            guard headers.contains(name: LeaseField.name) else { return nil }
            throw Problem(
                .headerInvalid,
                "Lease goes with the PUT that fills the key, and with PATCH and DELETE of the lease."
            )
        default: return nil
        }
    }

    /// Refuses a call of a namespace with fields that only a call of an entry has. A client that folds `entries/..` has then made the one
    /// out of the other.
    private static func refuseEntryFields(_ headers: HTTPHeaders) throws(Problem) {
        for name in ["If-Match", "If-None-Match", "Cache-Tag", "Lease"] where headers.contains(name: name) {
            throw Problem(.headerInvalid, "\(name) goes with an entry, and this path is a namespace's.")
        }
    }

    private func checkContentType(_ headers: HTTPHeaders) throws(Problem) {
        let types = headers["content-type"]
        let taken: [String]
        switch (resource, method) {
        case (.value, .put), (.entry, .put):
            try Self.checkCoding(headers)
            try Self.refuseMultipart(types)
            return
        case (.counter, .post) where Self.hasNoBody(headers), (.lease, .post) where Self.hasNoBody(headers),
            (.lease, .patch) where Self.hasNoBody(headers), (.tokenRotation, .post) where Self.hasNoBody(headers):
            return
        case (.entry, .patch), (.namespace, .patch), (.lease, .patch): taken = [MediaType.mergePatch, MediaType.json]
        case (_, .put), (_, .post): taken = [MediaType.json]
        default: return
        }
        try Self.checkCoding(headers)
        guard types.count == 1, taken.contains(MediaType.essence(types[0])) else {
            let came = types.isEmpty ? "of no Content-Type" : Problem.quoted(types.joined(separator: ", "))
            throw Problem(
                .unsupportedMediaType,
                "The body is \(came); taken here: \(taken.joined(separator: ", "))."
            )
        }
    }

    /// Whether no body comes, and no type is said of one.
    private static func hasNoBody(_ headers: HTTPHeaders) -> Bool {
        !["transfer-encoding", "content-type"].contains { headers.contains(name: $0) }
            && headers["content-length"].allSatisfy { Int($0) == 0 }
    }

    /// Refuses a form of several parts. An entry's envelope is JSON, whatever a client calls it, and a value is kept as it comes; but a
    /// form's parts are neither.
    private static func refuseMultipart(_ types: [String]) throws(Problem) {
        guard let type = types.first(where: { MediaType.essence($0).hasPrefix("multipart/") }) else { return }
        throw Problem(
            .unsupportedMediaType,
            "The body is \(Problem.quoted(type)): a form of several parts. A body is taken as a whole, as with curl's --data-binary."
        )
    }

    /// Refuses an encoded body. A value is kept as it comes with its media type alone, so that its encoding would be lost.
    private static func checkCoding(_ headers: HTTPHeaders) throws(Problem) {
        let codings = headers["content-encoding"].joined(separator: ", ")
        if codings.isEmpty || trimmed(codings).asciiLowercased == "identity" { return }
        throw Problem(
            .unsupportedMediaType,
            "The body is encoded as \(Problem.quoted(codings)); bodies are taken as they are."
        )
    }
}

extension Resource {
    /// The parameters that the query may hold, besides the key where it stands there.
    fileprivate func parameters(_ method: Method) -> Set<QueryName> {
        switch (self, method) {
        case (.entry, .get), (.entry, .head), (.value, .get), (.value, .head): [.peek, .miss]
        case (.value, .put): [.ttl, .expiresAt, .staleTTL]
        case (.lease, .post): [.peek]
        case (.lease, .delete): [.retryAfter]
        case (.leases, _): [.prefix, .limit]
        case (.entries, _): [.prefix, .limit, .cursor]
        case (.namespace, .delete): [.confirm]
        default: []
        }
    }
}
