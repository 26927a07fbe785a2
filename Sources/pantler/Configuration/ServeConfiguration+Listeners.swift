internal import PantlerHTTP
internal import PantlerModel

// Where the service listens, by the configuration, and what is refused of that.

extension ServeConfiguration {
    /// Where it listens: `server.listen`, or the port and the socket of `server`.
    var listeners: [Listener] { listenItems.map(\.item.listener) }

    /// The same as the configuration has it, each with its name in sentences.
    var listenItems: [(item: ListenItem, name: String)] {
        if !server.listen.isEmpty {
            return server.listen.enumerated().map { index, item in
                (item, "listener \(index + 1) of server.listen (\(item.listener.place))")
            }
        }
        var items: [(ListenItem, String)] = []
        if let port = server.port {
            var item = ListenItem()
            item.address = server.host
            item.port = port
            item.tls = server.tls
            item.tokens = server.tokens
            item.plaintext = server.plaintext
            items.append((item, "server.host (\(item.listener.place))"))
        }
        if let socket = server.socket {
            var item = ListenItem()
            item.socket = socket
            item.mode = server.socketMode
            item.group = server.socketGroup
            item.tokens = server.tokens
            items.append((item, "server.socket (\(item.listener.place))"))
        }
        return items
    }

    /// What keeps it from being served, as far as it shows without the data folder, each as a sentence for the operator.
    var refusals: [String] {
        let items = listenItems
        if items.isEmpty {
            return [
                "Nothing says where to listen: server.port is null, and there is neither a server.socket nor a server.listen."
            ]
        }
        var faults: [String] = []
        var seen: [Listener.Place: String] = [:]
        for (item, name) in items {
            if let first = seen.updateValue(name, forKey: item.identity), item.port != 0 {
                faults.append("\(name) is the same place as \(first): one of them has to go.")
            }
            if let refusal = item.refusal(name) { faults.append(refusal) }
        }
        let isMissing = [("tls.certificate", tls.certificate), ("tls.key", tls.key)].filter { $0.1 == nil }.map(\.0)
        if let (_, name) = items.first(where: \.item.tls), !isMissing.isEmpty {
            faults.append(
                "\(name) has tls: true, and \(isMissing.joined(separator: " and ")) \(isMissing.count == 1 ? "is" : "are") missing: a PEM file with the certificate and what leads from it to one that clients trust, and one with its private key."
            )
        }
        return faults
    }

    /// The same for what only shows once the tokens are known.
    ///
    /// - Parameter tokens: how many exist.
    func refusals(tokens: Int) -> [String] {
        guard tokens == 0, tls.clientCA == nil else { return [] }
        return listenItems.filter { item, _ in item.isExposed && !item.plaintext }.map { _, name in
            "\(name) can be reached by others than this machine, and tokens are missing: none exists, so that nobody could call. `pantler token create --role admin --data-dir \(dataDirectory)` makes the first one while the service is stopped; tokens.file names a file with one."
        }
    }

    /// What may surprise, without keeping it from being served.
    ///
    /// - Parameter tokens: how many exist.
    func doubts(tokens: Int) -> [String] {
        guard tokens == 0, tls.clientCA == nil else { return [] }
        return listenItems.filter(\.item.listener.needsToken).map { _, name in
            "\(name) asks for a token, and none exists: nobody can call there until `pantler token create --role admin --data-dir \(dataDirectory)`, with the service stopped, or tokens.file has made one"
        }
    }

    /// What is wrong with a token of `tokens.file` whose id the database has too.
    func fault(ofTokenMadeTwice id: TokenID) -> String {
        "\(tokens.file ?? "tokens.file"): the id '\(id)' is that of a token in the database, which stays: revoke that one, or give this one another id."
    }

    /// Settings of listeners that have no effect, or more than one may think.
    var listenerDoubts: [String] {
        let standard = Server()
        var doubts: [String] = []
        if !server.listen.isEmpty {
            let others = [
                ("server.host", server.host != standard.host), ("server.port", server.port != standard.port),
                ("server.socket", server.socket != standard.socket), ("server.tls", server.tls != standard.tls),
                ("server.socket_mode", server.socketMode != standard.socketMode),
                ("server.socket_group", server.socketGroup != standard.socketGroup),
                ("server.tokens", server.tokens != standard.tokens),
                ("server.plaintext", server.plaintext != standard.plaintext),
            ]
            let passedOver = others.filter(\.1).map(\.0)
            if !passedOver.isEmpty {
                doubts.append(
                    "server.listen alone says where to listen: \(passedOver.joined(separator: ", ")) beside it \(passedOver.count == 1 ? "has" : "have") no effect"
                )
            }
        } else if server.port == nil, server.tls || server.plaintext {
            doubts.append(
                "server.tls and server.plaintext are about the port, and server.port is null: they have no effect"
            )
        }
        if tls.certificate != nil || tls.key != nil || tls.clientCA != nil, !listeners.contains(where: \.speaksTLS) {
            doubts.append("tls.certificate, tls.key and tls.client_ca have no effect: no listener has tls: true")
        }
        for (item, name) in listenItems where item.isExposed && item.tokens == false {
            doubts.append("\(name) has tokens: false: everybody who reaches it may read and change everything")
        }
        return doubts
    }
}

extension ListenItem {
    /// Whether others than this machine can reach it. Of a name that shows only when it is looked up: it counts as one that others reach.
    var isExposed: Bool { socket == nil && !HostAddress.isLoopback(address ?? ServeConfiguration.Server.defaultHost) }

    /// What no two of them may have in common.
    fileprivate var identity: Listener.Place {
        if let socket { return .socket(path: socket, mode: 0, group: nil) }
        return listener.place
    }

    /// Why it may not be, to those whom that leaves open to everybody.
    fileprivate func refusal(_ name: String) -> String? {
        guard isExposed, !plaintext else { return nil }
        let reason = "\(name) can be reached by others than this machine, which takes TLS and tokens"
        let way =
            "Where a proxy or a private network stands before the service, `server.plaintext: true` (--plaintext; `plaintext: true` in an item of server.listen) says that it may be without."
        if !tls {
            return
                "\(reason). TLS is missing: `server.tls: true` (`tls: true` in an item of server.listen), with tls.certificate and tls.key (--tls-certificate and --tls-key). \(way)"
        }
        return tokens == false ? "\(reason). Tokens are missing: it has `tokens: false`. \(way)" : nil
    }

    var listener: Listener {
        let place: Listener.Place =
            if let socket {
                .socket(path: socket, mode: mode ?? Self.defaultMode, group: group)
            } else {
                .port(host: address ?? ServeConfiguration.Server.defaultHost, port: port ?? 0)
            }
        var listener = Listener(place)
        listener.needsToken = tokens ?? isExposed
        listener.speaksTLS = tls
        listener.allowsPlaintext = plaintext
        return listener
    }
}
