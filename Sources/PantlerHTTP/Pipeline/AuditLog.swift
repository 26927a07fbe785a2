internal import Logging
internal import NIOCore
import PantlerInsight
import PantlerModel
internal import PantlerSockets
internal import Synchronization

/// Why a request was refused before anything was made of it.
enum RefusalReason: CaseIterable {
    /// No token was presented.
    case missing
    /// The token is good for nothing.
    case invalid
    /// The token does not allow the call.
    case forbidden
    /// A page of another site has sent it.
    case crossSite
    /// The token makes too many requests.
    case rate

    /// `nil` for a problem of another kind.
    init?(_ code: Problem.Code) {
        switch code {
        case .tokenRequired: self = .missing
        case .tokenInvalid: self = .invalid
        case .forbidden: self = .forbidden
        case .crossSite: self = .crossSite
        case .rateLimited: self = .rate
        default: return nil
        }
    }

    /// The value of the label `reason`.
    var name: String {
        switch self {
        case .missing: "missing"
        case .invalid: "invalid"
        case .forbidden: "forbidden"
        case .crossSite: "cross_site"
        case .rate: "rate"
        }
    }
}

/// Counts refusals, of all loops. Relaxed: the numbers order nothing.
final class RefusalFigures: Sendable {
    private let missing = Atomic<UInt64>(0)
    private let invalid = Atomic<UInt64>(0)
    private let forbidden = Atomic<UInt64>(0)
    private let crossSite = Atomic<UInt64>(0)
    private let rate = Atomic<UInt64>(0)
    private let delayedCount = Atomic<UInt64>(0)

    func note(_ reason: RefusalReason) {
        switch reason {
        case .missing: missing.wrappingAdd(1, ordering: .relaxed)
        case .invalid: invalid.wrappingAdd(1, ordering: .relaxed)
        case .forbidden: forbidden.wrappingAdd(1, ordering: .relaxed)
        case .crossSite: crossSite.wrappingAdd(1, ordering: .relaxed)
        case .rate: rate.wrappingAdd(1, ordering: .relaxed)
        }
    }

    func count(_ reason: RefusalReason) -> UInt64 {
        switch reason {
        case .missing: missing.load(ordering: .relaxed)
        case .invalid: invalid.load(ordering: .relaxed)
        case .forbidden: forbidden.load(ordering: .relaxed)
        case .crossSite: crossSite.load(ordering: .relaxed)
        case .rate: rate.load(ordering: .relaxed)
        }
    }

    /// Counts a refusal that is answered a second later.
    func noteDelay() { delayedCount.wrappingAdd(1, ordering: .relaxed) }

    var delayed: UInt64 { delayedCount.load(ordering: .relaxed) }
}

/// How many refusals a loop may still write down in the present second. Changes have their line, however many there are: who makes them may
/// make them.
struct AuditBudget {
    private var ends = NIODeadline.uptimeNanoseconds(0)
    private var left = 0
    private var leftOut = 0

    static let linesPerSecond = 10

    /// Takes a line. Returns how many were left out before it; `nil` where it is left out itself.
    mutating func take(at now: NIODeadline) -> Int? {
        if now >= ends {
            ends = now + .seconds(1)
            left = Self.linesPerSecond
        }
        guard left > 0 else {
            leftOut += 1
            return nil
        }
        left -= 1
        defer { leftOut = 0 }
        return leftOut
    }
}

/// What an answer says to have been changed, of what the audit log tells.
struct AuditedChange: Sendable {
    enum Kind: String, Sendable {
        case policy = "policy changed"
        case drop = "namespace dropped"
        case flush = "namespace flushed"
        case tokenMade = "token made"
        case tokenRotated = "token rotated"
        case tokenRevoked = "token revoked"
    }

    let kind: Kind
    var namespace: String?
    /// The id of the token that was changed.
    var subject: String?
}

extension Response {
    /// The response, with what has come of a change that the audit log tells of.
    func auditing(_ kind: AuditedChange.Kind, namespace: String? = nil, subject: String? = nil) -> Response {
        var response = self
        response.change = AuditedChange(kind: kind, namespace: namespace, subject: subject)
        return response
    }
}

extension Connection {
    /// Counts a refusal, and writes it down.
    ///
    /// - Parameter caller: `nil` where it is not known, or where its token is worth nothing.
    func noteRefusal(_ problem: Problem, _ method: Method, _ target: [UInt8], by caller: Caller?) {
        let router = loop.router
        noteRefusal(problem, method, router.operation(method, target), router.namespace(target), by: caller)
    }

    func noteRefusal(
        _ problem: Problem,
        _ method: Method,
        _ operation: Operation,
        _ namespace: @autoclosure () -> String?,
        by caller: Caller?
    ) {
        let reason = RefusalReason(problem.code)
        if let reason { loop.router.refusals.note(reason) }
        guard reason != nil || problem.code == .hostNotServed else { return }
        guard loop.access.audits, let leftOut = loop.takeAuditLine() else { return }
        var line: Logger.Metadata = [
            "token": "\(caller?.name ?? "-")",
            "peer": "\(peer)",
            "method": "\("\(method)".uppercased())",
            "route": "\(operation.name)",
            "status": .stringConvertible(problem.code.status),
            "code": "\(problem.code.rawValue)",
        ]
        if let namespace = namespace() { line["namespace"] = "\(namespace)" }
        if leftOut > 0 { line["left_out"] = .stringConvertible(leftOut) }
        loop.auditLogger.info("refused", metadata: line)
    }

    /// Writes down a change that was made, or failed on the way.
    func note(_ change: AuditedChange, _ exchange: Exchange, _ response: Response) {
        guard loop.access.audits else { return }
        var line: Logger.Metadata = [
            "token": "\(exchange.caller.name)",
            "peer": "\(peer)",
            "method": "\("\(exchange.method)".uppercased())",
            "route": "\(response.operation.name)",
            "status": .stringConvertible(response.status),
        ]
        if let namespace = change.namespace { line["namespace"] = "\(namespace)" }
        if let subject = change.subject { line["subject"] = "\(subject)" }
        loop.auditLogger.info("\(change.kind.rawValue)", metadata: line)
    }
}
