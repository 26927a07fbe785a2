internal import NIOHTTP1
import PantlerInsight
import PantlerJSON
import PantlerModel
import PantlerStore

/// A request's head, judged as far as it can be by itself: everything but the body, and what the store knows.
struct Call: Sendable {
    let resource: Resource
    let method: Method
    /// In form; empty where the path has none.
    let namespace: String
    /// Empty where the call takes none.
    let key: [UInt8]
    let query: Query
    /// Of an entry or a value; on a GET `If-None-Match` alone.
    let condition: Condition
    let accept: Accept

    var operation: Operation { resource.operation(method) }

    /// Faults are looked for in a fixed order: path, method, namespace, key, query, conditions, `Accept`, `Content-Type`. An
    /// empty key is found before the method is looked at, so that no method makes anything of `entries/`.
    ///
    /// - Parameters:
    ///   - target: path and query, as sent.
    ///   - query: what stands behind the `?`; `nil` where there is none.
    /// - Throws: the problem to answer with.
    init(
        _ method: Method,
        _ target: UnsafeRawBufferPointer,
        path: Range<Int>,
        query: Range<Int>?,
        _ headers: HTTPHeaders
    ) throws(Problem) {
        guard let route = Route(target, path: path) else {
            throw Problem(.routeNotFound, "There is nothing under this path.")
        }
        let resource = route.resource
        self.resource = resource
        self.method = method
        accept = Accept(headers)
        if method == .options {
            namespace = ""
            key = []
            self.query = try Query(nil, allowed: [])
            condition = .none
            return
        }
        if case .path(let range) = route.key, range.isEmpty { try KeyForm.check([]) }
        guard resource.takes(method) else {
            throw Problem(.methodNotAllowed, "This path takes \(resource.allow).", extra: .allow(resource.allow))
        }
        namespace = try Self.namespace(target, route)
        if case .path(let range) = route.key {
            key = try KeyForm.decode(target.slice(range))
            self.query = try Query(query.map { target.slice($0) }, allowed: resource.parameters(method))
        } else {
            let inQuery = route.key == .query
            let allowed = resource.parameters(method).union(inQuery ? [.key] : [])
            self.query = try Query(query.map { target.slice($0) }, allowed: allowed)
            key = inQuery ? self.query[.key] ?? [] : []
            if inQuery { try KeyForm.check(key) }
        }
        condition = try Self.condition(resource, method, headers)
        try checkAccept()
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
        guard resource == .entry || resource == .value else { return .none }
        var condition = try Condition(headers)
        if method == .get || method == .head { condition.ifMatch = nil }
        return condition
    }

    /// Probes, metrics and the document come as they are, to whoever asks; a value's type is known only once it is found.
    private func checkAccept() throws(Problem) {
        switch (resource, method) {
        case (.metrics, _), (.livez, _), (.readyz, _), (.document, _), (_, .delete): return
        case (.value, .get), (.value, .head): return
        default: try accept.check(MediaType.json)
        }
    }

    private func checkContentType(_ headers: HTTPHeaders) throws(Problem) {
        let taken: [String]
        switch (resource, method) {
        case (.value, .put):
            try Self.checkCoding(headers)
            return
        case (.entry, .patch): taken = [MediaType.mergePatch]
        case (.namespace, .patch): taken = [MediaType.mergePatch, MediaType.json]
        case (_, .put), (_, .post): taken = [MediaType.json]
        default: return
        }
        try Self.checkCoding(headers)
        let types = headers["content-type"]
        guard types.count == 1, taken.contains(MediaType.essence(types[0])) else {
            let came = types.isEmpty ? "of no Content-Type" : Problem.quoted(types.joined(separator: ", "))
            throw Problem(
                .unsupportedMediaType,
                "The body is \(came); taken here: \(taken.joined(separator: ", "))."
            )
        }
    }

    /// A value is kept as it comes, and what would have to be told with it beside its media type would be lost.
    private static func checkCoding(_ headers: HTTPHeaders) throws(Problem) {
        let codings = headers["content-encoding"].joined(separator: ", ")
        if codings.isEmpty || trimmed(codings).asciiLowercased == "identity" { return }
        throw Problem(
            .unsupportedMediaType,
            "The body is encoded as \(Problem.quoted(codings)); bodies are taken as they are."
        )
    }
}

extension Accept {
    /// Throws `not_acceptable` if the type is not wanted.
    func check(_ type: String) throws(Problem) {
        if quality(of: type) == 0 { throw Problem(.notAcceptable, "Served here: \(type).") }
    }
}

extension Resource {
    /// What the query may hold, besides the key where it stands there.
    fileprivate func parameters(_ method: Method) -> Set<QueryName> {
        switch (self, method) {
        case (.entry, .get), (.entry, .head), (.value, .get), (.value, .head): [.peek]
        case (.value, .put): [.ttl, .expiresAt, .staleTTL]
        case (.entries, _): [.prefix, .limit, .cursor]
        default: []
        }
    }
}
