// Calls that an event loop is not held for, because it has a thousand other connections. The bounds are where a call takes about a
// millisecond at worst. Above them a change of threads, which takes some 20 microseconds, does not matter.
extension Call {
    /// Longest body that is read on the loop: 64 KiB of the slowest JSON take half a millisecond.
    static let shortBody = 64 << 10
    /// The longest body of a batch of writes, or of an invalidation. Its entries may be four bytes long, and each is a write by itself.
    private static let shortBatch = 4 << 10
    /// The longest body of a batch of gets. Each of its keys may find 16 KiB to copy.
    private static let shortGets = 3 << 10
    /// Namespaces whose policies are told on the loop.
    private static let fewNamespaces = 100

    /// Whether answering takes so long that it is done on another thread.
    func isLong(bodyBytes: Int, namespaces: @autoclosure () -> Int) -> Bool {
        switch resource {
        case .batchGet, .batchLease: bodyBytes > Self.shortGets
        case .batchSet, .batchDelete, .invalidate: bodyBytes > Self.shortBatch
        // A page of all figures takes half a millisecond even with one namespace, and many may be asked for on each of many connections.
        case .metrics, .stats: true
        // There may be as many leases as the service gives.
        case .leases: true
        // There may be ten thousand.
        case .tokens: method.isSafe
        // The document in JSON is made of the one in YAML, once.
        case .documentInJSON: true
        case .namespaces: namespaces() > Self.fewNamespaces
        // A change of a namespace takes the locks of all shards, and may queue the marks of all tags.
        case .namespace: !method.isSafe
        default: readsBody && bodyBytes > Self.shortBody
        }
    }

    /// The size in bytes from which on giving a body's memory back takes so long that it is done on another thread, too.
    static let longBody = 4 << 20

    /// Whether the body means anything to the call. The body of a GET is passed over.
    var readsBody: Bool {
        switch method {
        case .put, .post, .patch: true
        case .get, .head, .delete, .options, .other: false
        }
    }
}
