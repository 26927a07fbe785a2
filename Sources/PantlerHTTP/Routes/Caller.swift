import PantlerModel
import PantlerStore

/// Who makes a request, as far as that decides what it may do.
enum Caller: Sendable {
    /// Anybody, at a listener that asks for no token, or with a call that needs none. May do everything.
    case anybody
    /// The owner of a certificate that a client of TLS has shown, and no token.
    case certificate(Grant)
    case token(TokenPass)

    /// What it may do; `nil` = everything.
    var grant: Grant? {
        switch self {
        case .anybody: nil
        case .certificate(let grant): grant
        case .token(let pass): pass.grant
        }
    }

    /// Whether it may make a call.
    ///
    /// - Parameter namespace: that the call's path names.
    func meets(_ need: Need, in namespace: String) -> Bool {
        guard let grant else { return true }
        return switch need {
        case .nothing, .token: true
        case .role(let role): grant.allows(role, namespace)
        case .roleEverywhere(let role): grant.allowsEverywhere(role)
        }
    }

    /// Whether it may know that a namespace is there.
    func sees(_ namespace: String) -> Bool { grant?.covers(namespace) ?? true }

    static let certificateName = "certificate"

    /// As the logs name it: a token's id, which is no secret.
    var name: String {
        switch self {
        case .anybody: "listener"
        case .certificate: Self.certificateName
        case .token(let pass): "\(pass.id)"
        }
    }
}
