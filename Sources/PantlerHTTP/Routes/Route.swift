import PantlerInsight

/// What a path names, whatever the method. The comment at each case is its path below the namespace, or the whole one.
enum Resource: Equatable, Sendable, CaseIterable {
    /// `entries/{key}` and `entry?key=`
    case entry
    /// `values/{key}` and `value?key=`
    case value
    /// `counters/{key}` and `counter?key=`
    case counter
    /// `leases/{key}` and `lease?key=`
    case lease
    /// `leases`
    case leases
    /// `entries`
    case entries
    /// `batch/get`
    case batchGet
    /// `batch/set`
    case batchSet
    /// `batch/delete`
    case batchDelete
    /// `batch/lease`
    case batchLease
    /// `invalidate`
    case invalidate
    /// `/v1/namespaces/{ns}`
    case namespace
    /// `stats`
    case namespaceStats
    /// `/v1/namespaces`
    case namespaces
    /// `/v1/token`
    case token
    /// `/v1/tokens`
    case tokens
    /// `/v1/tokens/{id}`
    case tokenRecord
    /// `/v1/tokens/{id}/rotate`
    case tokenRotation
    /// `/v1/listeners`
    case listeners
    /// `/v1/stats`
    case stats
    /// `/metrics`
    case metrics
    /// `/livez`
    case livez
    /// `/readyz`
    case readyz
    /// `/`
    case root
    /// `/openapi.yaml`
    case document
    /// `/openapi.json`
    case documentInJSON

    /// The value of `Allow`.
    var allow: String {
        switch self {
        case .entry, .namespace: "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"
        case .value: "GET, HEAD, PUT, DELETE, OPTIONS"
        case .lease: "POST, PATCH, DELETE, OPTIONS"
        case .tokens: "GET, HEAD, POST, OPTIONS"
        case .tokenRecord: "GET, HEAD, DELETE, OPTIONS"
        case .counter, .batchGet, .batchSet, .batchDelete, .batchLease, .invalidate, .tokenRotation: "POST, OPTIONS"
        case .entries, .leases, .namespaceStats, .namespaces, .token, .listeners, .stats, .metrics, .livez, .readyz,
            .root, .document, .documentInJSON:
            "GET, HEAD, OPTIONS"
        }
    }

    func takes(_ method: Method) -> Bool {
        switch method {
        case .options: true
        case .other: false
        case .get, .head: !isPosted
        case .post: isPosted || self == .tokens
        case .put: self == .entry || self == .value || self == .namespace
        case .delete: self == .entry || self == .value || self == .namespace || self == .lease || self == .tokenRecord
        case .patch: self == .entry || self == .namespace || self == .lease
        }
    }

    private var isPosted: Bool {
        switch self {
        case .counter, .lease, .batchGet, .batchSet, .batchDelete, .batchLease, .invalidate, .tokenRotation: true
        default: false
        }
    }

    /// What a request counts as.
    func operation(_ method: Method) -> Operation {
        switch self {
        case .entry, .value:
            switch method {
            case .get, .head: .get
            case .put: .put
            case .patch: .patch
            case .delete: .delete
            case .post, .options, .other: .other
            }
        case .counter: .counter
        case .lease, .leases: .lease
        case .entries: .list
        case .batchGet: .batchGet
        case .batchSet: .batchSet
        case .batchDelete: .batchDelete
        case .batchLease: .batchLease
        case .invalidate: .invalidate
        case .namespace, .namespaces: .namespace
        case .token, .tokens, .tokenRecord, .tokenRotation: .token
        case .namespaceStats, .stats, .listeners: .stats
        case .metrics: .metrics
        case .livez, .readyz: .probe
        case .root, .document, .documentInJSON: .document
        }
    }
}

/// A path taken apart: what it names, and where in the target namespace, key and token stand, still percent-encoded.
///
/// Nothing is folded and nothing decoded to find the way: `//`, `..` and `%2F` are a key's own bytes.
struct Route: Equatable, Sendable {
    enum KeyPlace: Equatable, Sendable {
        case none
        /// The whole rest of the path, empty or not.
        case path(Range<Int>)
        /// The query's `key`.
        case query
    }

    let resource: Resource
    let namespace: Range<Int>?
    let key: KeyPlace
    /// A token's id.
    let token: Range<Int>?

    /// - Parameter path: where in `target` the path stands.
    /// - Returns: `nil` where nothing is served. Complexity: O(length of the path).
    init?(_ target: UnsafeRawBufferPointer, path: Range<Int>) {
        var rest = Rest(target, path)
        guard rest.take("/v1/namespaces") else {
            if rest.take("/v1/tokens/") {
                let token = rest.takeSegment()
                guard rest.isEmpty || rest.equals("/rotate") else { return nil }
                self.init(rest.isEmpty ? .tokenRecord : .tokenRotation, namespace: nil, token: token)
                return
            }
            guard let resource = Self.service(rest) else { return nil }
            self.init(resource, namespace: nil)
            return
        }
        if rest.isEmpty {
            self.init(.namespaces, namespace: nil)
            return
        }
        guard rest.take("/") else { return nil }
        let namespace = rest.takeSegment()
        if rest.isEmpty {
            self.init(.namespace, namespace: namespace)
            return
        }
        guard rest.take("/") else { return nil }
        if rest.take("entries/") {
            self.init(.entry, namespace: namespace, key: .path(rest.range))
        } else if rest.take("values/") {
            self.init(.value, namespace: namespace, key: .path(rest.range))
        } else if rest.take("counters/") {
            self.init(.counter, namespace: namespace, key: .path(rest.range))
        } else if rest.take("leases/") {
            self.init(.lease, namespace: namespace, key: .path(rest.range))
        } else if rest.equals("entry") {
            self.init(.entry, namespace: namespace, key: .query)
        } else if rest.equals("value") {
            self.init(.value, namespace: namespace, key: .query)
        } else if rest.equals("counter") {
            self.init(.counter, namespace: namespace, key: .query)
        } else if rest.equals("lease") {
            self.init(.lease, namespace: namespace, key: .query)
        } else if let resource = Self.withinNamespace(rest) {
            self.init(resource, namespace: namespace)
        } else {
            return nil
        }
    }

    private init(_ resource: Resource, namespace: Range<Int>?, key: KeyPlace = .none, token: Range<Int>? = nil) {
        self.resource = resource
        self.namespace = namespace
        self.key = key
        self.token = token
    }

    private static func withinNamespace(_ rest: Rest) -> Resource? {
        if rest.equals("entries") { return .entries }
        if rest.equals("batch/get") { return .batchGet }
        if rest.equals("batch/set") { return .batchSet }
        if rest.equals("batch/delete") { return .batchDelete }
        if rest.equals("batch/lease") { return .batchLease }
        if rest.equals("leases") { return .leases }
        if rest.equals("invalidate") { return .invalidate }
        if rest.equals("stats") { return .namespaceStats }
        return nil
    }

    private static func service(_ rest: Rest) -> Resource? {
        if rest.equals("/v1/stats") { return .stats }
        if rest.equals("/v1/token") { return .token }
        if rest.equals("/v1/tokens") { return .tokens }
        if rest.equals("/v1/listeners") { return .listeners }
        if rest.equals("/metrics") { return .metrics }
        if rest.equals("/livez") { return .livez }
        if rest.equals("/readyz") { return .readyz }
        if rest.equals("/") { return .root }
        if rest.equals("/openapi.yaml") { return .document }
        if rest.equals("/openapi.json") { return .documentInJSON }
        return nil
    }
}

/// What is left of a path as it is read from the left.
private struct Rest {
    private let target: UnsafeRawBufferPointer
    private(set) var range: Range<Int>

    init(_ target: UnsafeRawBufferPointer, _ range: Range<Int>) {
        self.target = target
        self.range = range
    }

    var isEmpty: Bool { range.isEmpty }

    func equals(_ text: StaticString) -> Bool { range.count == text.utf8CodeUnitCount && begins(with: text) }

    /// Passes `text` if it stands here.
    mutating func take(_ text: StaticString) -> Bool {
        guard begins(with: text) else { return false }
        range = range.lowerBound + text.utf8CodeUnitCount..<range.upperBound
        return true
    }

    /// Passes what stands before the next slash, or everything.
    mutating func takeSegment() -> Range<Int> {
        let end = target[range].firstIndex(of: UInt8(ascii: "/")) ?? range.upperBound
        defer { range = end..<range.upperBound }
        return range.lowerBound..<end
    }

    private func begins(with text: StaticString) -> Bool {
        text.withUTF8Buffer { text in
            range.count >= text.count
                && text.elementsEqual(target[range.lowerBound..<range.lowerBound + text.count])
        }
    }
}
