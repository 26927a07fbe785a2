// What an event loop is not held for: it has a thousand other connections. The lines are drawn where a call takes about a millisecond at
// worst; above them a change of threads, some 20 microseconds, is no matter.
extension Call {
    /// Longest body that is read on the loop: 64 KiB of the least handy JSON take half a millisecond.
    static let shortBody = 64 << 10
    /// The same of a batch, some of whose entries may be four bytes long, and each of which is a write by itself.
    private static let shortBatch = 4 << 10
    /// The same of a batch of gets, each of which may find 16 KiB to copy.
    private static let shortGets = 3 << 10
    /// Namespaces whose policies are told on the loop.
    private static let fewNamespaces = 100

    /// Whether answering takes so long that it is done elsewhere.
    func isLong(bodyBytes: Int, namespaces: @autoclosure () -> Int) -> Bool {
        switch resource {
        case .batchGet: bodyBytes > Self.shortGets
        case .batchSet, .batchDelete, .invalidate: bodyBytes > Self.shortBatch
        // A page of all figures takes half a millisecond even of one namespace, and many may come on each of many connections.
        case .metrics, .stats: true
        // It is made of the other one, once.
        case .documentInJSON: true
        case .namespaces: namespaces() > Self.fewNamespaces
        // Such a change passes through all shards and takes the marks of all tags along.
        case .namespace: !method.isSafe
        default: readsBody && bodyBytes > Self.shortBody
        }
    }

    /// From this size on giving a body's memory back takes so long that it is done elsewhere too.
    static let longBody = 4 << 20

    /// Whether the body means anything to the call. What a GET brings is read past.
    private var readsBody: Bool {
        switch method {
        case .put, .post, .patch: true
        case .get, .head, .delete, .options, .other: false
        }
    }
}
