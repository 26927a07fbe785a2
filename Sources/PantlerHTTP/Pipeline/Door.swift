/// What a listener asks of its connections. Each loop has those of all listeners (`LoopState.doors`), replaced where the configuration changes.
struct Door: Sendable {
    /// The names that a Host field may carry.
    let hosts: ServedHosts
    /// Whether a call needs a token that allows it.
    let needsToken: Bool
    /// Whether its connections begin with a TLS handshake.
    let speaksTLS: Bool
    /// What they speak it with; `nil` where they do not.
    var tls: TLSMaterial?
    /// Whether `/metrics` is open to those who have no token.
    let opensMetrics: Bool

    /// - Parameter options: of which `allowedHosts` may be empty: then any name is served where no page in a browser can do harm, which the
    ///   check is there to keep out: it has no token, and reaches no Unix socket.
    init(_ listener: Listener, _ options: HTTPOptions) {
        needsToken = listener.needsToken
        speaksTLS = listener.speaksTLS
        opensMetrics = options.opensMetrics
        let names = options.allowedHosts
        switch listener.place {
        case .port(let host, _):
            // A listener at all addresses has no name by that.
            let address = host == "*" ? "localhost" : host
            hosts = ServedHosts(names.isEmpty && listener.needsToken ? ["*"] : names, address: address)
        case .socket:
            hosts = ServedHosts(names.isEmpty ? ["*"] : names, address: "localhost")
        }
    }
}
