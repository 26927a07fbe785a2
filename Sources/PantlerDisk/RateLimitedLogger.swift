import Logging
import PantlerModel
import Synchronization

/// Logs what goes wrong, each kind at most once in ten seconds, with the number of times that were not logged before: a broken disk must
/// not fill the log as well.
final class RateLimitedLogger: Sendable {
    private struct Past {
        var saidAt: UInt64
        var silent = 0
    }

    private static let pauseNanoseconds: UInt64 = 10_000_000_000
    private let logger: Logger
    private let kinds = Mutex<[String: Past]>([:])

    init(_ logger: Logger) {
        self.logger = logger
    }

    /// - Parameter kind: the message, a constant. Warnings of one kind are counted together.
    func warn(_ kind: String, _ detail: @autoclosure () -> String) {
        let now = monotonicNanoseconds()
        let silent: Int? = kinds.withLock {
            if let past = $0[kind], now - past.saidAt < Self.pauseNanoseconds {
                $0[kind]?.silent += 1
                return nil
            }
            let silent = $0[kind]?.silent ?? 0
            $0[kind] = Past(saidAt: now)
            return silent
        }
        guard let silent else { return }
        let before: Logger.Metadata = silent > 0 ? ["not_logged_before": "\(silent)"] : [:]
        logger.warning("\(kind)", metadata: before.merging(["detail": "\(detail())"]) { $1 })
    }

    func notice(_ message: String) {
        logger.notice("\(message)")
    }
}
