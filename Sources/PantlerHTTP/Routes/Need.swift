import PantlerModel

/// What a call needs of its caller, at a listener that asks for tokens.
enum Need: Hashable, Sendable {
    /// Nothing: it tells nothing that a stranger may not know.
    case nothing
    /// A token, whatever it is for.
    case token
    /// A role in the namespace that the path names.
    case role(Role)
    /// A role in all namespaces.
    case roleEverywhere(Role)
}

extension Resource {
    /// What a call needs of its caller: the one place that says so.
    ///
    /// The API document says the same of each operation (`security`, `x-pantler-role`), and a test tries every operation with every role.
    func need(_ method: Method) -> Need {
        switch self {
        case .livez, .readyz: .nothing
        case _ where method == .options: .token
        case .root, .document, .documentInJSON, .token, .namespaces: .token
        case .entry, .value: .role(method.isSafe ? .read : .write)
        case .entries, .leases, .namespaceStats, .batchGet: .role(.read)
        case .counter, .lease, .batchSet, .batchDelete, .batchLease, .invalidate: .role(.write)
        case .namespace: .role(method.isSafe ? .read : .admin)
        case .stats, .metrics, .listeners: .roleEverywhere(.read)
        case .tokens, .tokenRecord, .tokenRotation: .roleEverywhere(.admin)
        }
    }
}

extension Problem {
    /// The caller may not make the call. The same for every namespace, there or not.
    static func forbidden(_ need: Need) -> Problem {
        switch need {
        case .role(let role):
            Problem(
                .forbidden,
                "This call needs the role '\(role.rawValue)' in the namespace, which the token does not have."
            )
        case .roleEverywhere(let role):
            Problem(
                .forbidden,
                "This call needs the role '\(role.rawValue)' in all namespaces ('*'), which the token does not have."
            )
        case .nothing, .token: .tokenRequired
        }
    }
}
