/// The kinds of answers that there are. A run has to have met them all to have shown anything.
enum HistoryOutcome: String, CaseIterable {
    case hit
    case stale = "stale hit"
    case missing
    case written
    case mismatch = "condition failed"
    case ended = "deleted or invalidated"
    case given = "lease given"
    case refresh = "lease given beside a stale entry"
    case filling = "held: filling"
    case failed = "held: failed"
    case filled
    case lost = "fill lost"
    case done = "prolonged or given up"
    case notDone = "not prolonged nor given up"

    /// `nil` = no answer.
    init?(_ operation: KeyOperation) {
        guard let answer = operation.answer else { return nil }
        let isFill = if case .put(let put) = operation.call { put.lease != nil } else { false }
        switch answer {
        case .found(let sighting): self = sighting.isStale == true ? .stale : .hit
        case .missing: self = .missing
        case .stored: self = isFill ? .filled : .written
        case .mismatch: self = .mismatch
        case .ended: self = .ended
        case .granted(_, stale: nil): self = .given
        case .granted: self = .refresh
        case .filling: self = .filling
        case .failed: self = .failed
        case .lost: self = isFill ? .lost : .notDone
        case .done: self = .done
        }
    }
}
