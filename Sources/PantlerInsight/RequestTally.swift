import Synchronization

/// What a request asks for, as its metrics name it. A HEAD counts with its GET; so do the two views of an entry.
package enum Operation: Int, Sendable, CaseIterable {
    case get, put, patch, delete, counter, lease
    case batchGet, batchSet, batchDelete, batchLease
    case list, invalidate, namespace, token, stats, metrics, probe, document
    /// What has no route, or could not be read so far as to know it.
    case other

    /// The value of the label `operation`.
    package var name: String {
        switch self {
        case .get: "get"
        case .put: "put"
        case .patch: "patch"
        case .delete: "delete"
        case .counter: "counter"
        case .lease: "lease"
        case .batchGet: "batch_get"
        case .batchSet: "batch_set"
        case .batchDelete: "batch_delete"
        case .batchLease: "batch_lease"
        case .list: "list"
        case .invalidate: "invalidate"
        case .namespace: "namespace"
        case .token: "token"
        case .stats: "stats"
        case .metrics: "metrics"
        case .probe: "probe"
        case .document: "document"
        case .other: "other"
        }
    }
}

/// The way on which a request was read.
package enum Lane: Int, Sendable, CaseIterable {
    /// Recognised in its bytes.
    case fast
    /// Through SwiftNIO's decoder.
    case full

    /// The value of the label `lane`.
    package var name: String {
        switch self {
        case .fast: "fast"
        case .full: "full"
        }
    }
}

/// The status codes that are counted each by itself.
package enum AnswerCode {
    /// Those that the service answers; all others count together, at the place after the last.
    package static let known = [
        200, 201, 204, 304, 400, 401, 403, 404, 405, 408, 409, 412, 413, 414, 415, 417, 421, 422, 429, 431, 500, 501,
        503, 505, 507,
    ]

    static let count = 26

    /// The value of the label `code`.
    static func name(_ index: Int) -> String { index < known.count ? String(known[index]) : "other" }

    /// Where a status stands in `known`: a jump through a table, since every request asks.
    static func index(of status: Int) -> Int {
        switch status {
        case 200: 0
        case 201: 1
        case 204: 2
        case 304: 3
        case 400: 4
        case 401: 5
        case 403: 6
        case 404: 7
        case 405: 8
        case 408: 9
        case 409: 10
        case 412: 11
        case 413: 12
        case 414: 13
        case 415: 14
        case 417: 15
        case 421: 16
        case 422: 17
        case 429: 18
        case 431: 19
        case 500: 20
        case 501: 21
        case 503: 22
        case 505: 23
        case 507: 24
        default: 25
        }
    }
}

/// Requests that one event loop has answered: how many, with which status, and how long they took.
///
/// Written by the one thread that its loop runs on, read by any. So a count is a plain load, an addition and a plain
/// store: no locked instruction on the way of a hit. All cells are relaxed: none publishes other memory, and a reader
/// that comes between two of them finds a request in one and not yet in the other.
package final class RequestTally: Sendable {
    /// An operation's cells: its buckets, its nanoseconds, its codes by lane.
    private static let stride = LatencyHistogram.bucketCount + 1 + AnswerCode.count * Lane.allCases.count
    private static let sumPlace = LatencyHistogram.bucketCount
    private static let codePlace = sumPlace + 1
    private static let cellCount = stride * Operation.allCases.count

    // Allocated in `init`, freed in `deinit`, never moved between, and nothing but atomics: any thread may use it as
    // long as it has the tally.
    nonisolated(unsafe) private let cells: UnsafeMutablePointer<Atomic<UInt64>>

    package init() {
        cells = .allocate(capacity: Self.cellCount)
        for cell in 0..<Self.cellCount { (cells + cell).initialize(to: Atomic(0)) }
    }

    deinit {
        cells.deinitialize(count: Self.cellCount).deallocate()
    }

    /// Counts an answered request. Only ever called on the one thread that this tally belongs to.
    package func record(_ operation: Operation, _ lane: Lane, status: Int, nanoseconds: UInt64) {
        let first = operation.rawValue * Self.stride
        add(1, to: first + LatencyHistogram.bucket(of: nanoseconds))
        add(nanoseconds, to: first + Self.sumPlace)
        add(1, to: first + Self.place(lane, AnswerCode.index(of: status)))
    }

    private static func place(_ lane: Lane, _ code: Int) -> Int { codePlace + lane.rawValue * AnswerCode.count + code }

    /// Not atomic as a whole, which is right as long as nobody else writes.
    private func add(_ amount: UInt64, to cell: Int) {
        let sum = cells[cell].load(ordering: .relaxed) &+ amount
        cells[cell].store(sum, ordering: .relaxed)
    }

    fileprivate func durations(_ operation: Operation) -> LatencyHistogram {
        let first = operation.rawValue * Self.stride
        return LatencyHistogram(sumNanoseconds: cells[first + Self.sumPlace].load(ordering: .relaxed)) {
            cells[first + $0].load(ordering: .relaxed)
        }
    }

    fileprivate func answers(_ operation: Operation, _ lane: Lane, _ code: Int) -> UInt64 {
        cells[operation.rawValue * Self.stride + Self.place(lane, code)].load(ordering: .relaxed)
    }
}

/// The sums over the tallies of all event loops, at the moment that they were read.
package struct RequestFigures: Sendable {
    private var durationsByOperation: [LatencyHistogram]
    /// In the order of `answerPlace`.
    private var answers: [UInt64]

    /// Complexity: O(tallies).
    package init(_ tallies: some Sequence<RequestTally>) {
        durationsByOperation = Array(repeating: LatencyHistogram(), count: Operation.allCases.count)
        answers = Array(repeating: 0, count: Operation.allCases.count * Lane.allCases.count * AnswerCode.count)
        for tally in tallies {
            for operation in Operation.allCases {
                durationsByOperation[operation.rawValue] += tally.durations(operation)
                for lane in Lane.allCases {
                    for code in 0..<AnswerCode.count {
                        answers[Self.answerPlace(operation, lane, code)] &+= tally.answers(operation, lane, code)
                    }
                }
            }
        }
    }

    private static func answerPlace(_ operation: Operation, _ lane: Lane, _ code: Int) -> Int {
        (operation.rawValue * Lane.allCases.count + lane.rawValue) * AnswerCode.count + code
    }

    package func durations(_ operation: Operation) -> LatencyHistogram { durationsByOperation[operation.rawValue] }

    /// Requests that were answered with a status, on either lane; all statuses that are not in `AnswerCode.known` are one.
    package func requests(_ operation: Operation, status: Int) -> UInt64 {
        Lane.allCases.reduce(0) { $0 &+ answers[Self.answerPlace(operation, $1, AnswerCode.index(of: status))] }
    }

    /// All counts that are not 0, with their labels.
    package var requests: [(operation: Operation, lane: Lane, code: String, count: UInt64)] {
        var counts: [(Operation, Lane, String, UInt64)] = []
        for operation in Operation.allCases {
            for lane in Lane.allCases {
                for code in 0..<AnswerCode.count {
                    let count = answers[Self.answerPlace(operation, lane, code)]
                    if count > 0 { counts.append((operation, lane, AnswerCode.name(code), count)) }
                }
            }
        }
        return counts
    }

    /// Adds the two families of requests: an operation has its durations from the first page on, and a code from its
    /// first answer.
    package func expose(to page: inout Exposition) {
        page.counter(
            "pantler_requests",
            "Requests that were answered, by operation, status code, and lane: fast = recognised in its bytes, full = read header by header."
        )
        for (operation, lane, code, count) in requests {
            page.sample(count, ["operation": operation.name, "code": code, "lane": lane.name])
        }
        page.histogram(
            "pantler_request_duration_seconds",
            "From the moment that a request's head was read until its answer was handed to the socket, by operation."
        )
        for operation in Operation.allCases { page.sample(durations(operation), ["operation": operation.name]) }
    }
}
