internal import ArgumentParser
internal import PantlerJSON
internal import PantlerModel

struct CheckCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Check a running service's tiers, or a data folder.",
        discussion: """
            Asks the service whether it takes requests, how each tier is, and what is open to whom. With --data-dir it reads the \
            folder's database from end to end instead: structure, and every entry's value. Where anything is wrong, the exit status \
            is 1. Where calls need a token, it takes one that may read everything.
            """
    )

    @Option(help: "A data folder to verify, whether it is served or not.", completion: .directory)
    var dataDir: String?

    @OptionGroup var client: ClientOptions

    func run(_ session: Session) async throws {
        let findings: [CheckFinding]
        if let dataDir {
            findings = try CheckFinding.dataFolder(dataDir)
        } else {
            findings = try await askService(session.client)
        }
        if session.output == .json {
            try session.write(json: Self.json(findings))
        } else {
            var table = Table("PART", "STATE", "")
            for finding in findings { table.add([finding.part, finding.fault ?? "ok", finding.detail]) }
            try session.write(table)
        }
        // The table has said what there is to say.
        if findings.contains(where: { $0.fault != nil }) { throw ExitStatus.failed }
    }

    private func askService(_ client: Client) async throws(CommandFailure) -> [CheckFinding] {
        let ready = try await client.send(.get, "/readyz")
        guard ready.status == 200 || ready.status == 503 else { throw CommandFailure(ready) }
        let status = try ready.tree()["status"]?.text ?? "unknown"
        let stats = try await client.expect(.get, "/v1/stats").tree()
        let uptime = Readable.duration(seconds: stats["uptime"]?.double ?? 0)
        let memory = (stats["memory", "bytes"]?.integer ?? 0, stats["memory", "limit"]?.integer ?? 0)
        let files = (stats["disk", "file_bytes"]?.integer ?? 0, stats["disk", "wal_bytes"]?.integer ?? 0)
        let waiting = Readable.count(stats["write_behind", "entries"]?.integer ?? 0)
        let age = Readable.fixed(stats["write_behind", "age"]?.double ?? 0, 3)
        let tiers = [
            CheckFinding(
                part: "service",
                fault: status == "ok" ? nil : status,
                detail: "version \(stats["version"]?.text ?? "?"), up \(uptime)"
            ),
            CheckFinding(
                part: "memory",
                fault: nil,
                detail: "\(Readable.bytes(memory.0)) of \(Readable.bytes(memory.1))"
            ),
            CheckFinding(
                part: "disk",
                fault: stats["disk", "fault"]?.text,
                detail:
                    "\(Readable.bytes(files.0)), log \(Readable.bytes(files.1)), \(waiting) writes wait, the oldest for \(age) s"
            ),
        ]
        let listeners = try await client.expect(.get, "/v1/listeners")
        return tiers + CheckFinding.listeners(try listeners.tree(), now: listeners.date)
    }

    private static func json(_ findings: [CheckFinding]) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("ok")
        writer.bool(findings.allSatisfy { $0.fault == nil })
        writer.member("parts")
        writer.beginArray()
        for finding in findings {
            writer.beginObject()
            writer.member("part")
            writer.string(finding.part)
            writer.member("fault")
            if let fault = finding.fault { writer.string(fault) } else { writer.null() }
            writer.member("detail")
            writer.string(finding.detail)
            writer.endObject()
        }
        writer.endArray()
        writer.endObject()
        return writer.bytes
    }
}

/// One part that was looked at.
struct CheckFinding: Hashable, Sendable {
    let part: String
    /// `nil` where all is well.
    let fault: String?
    let detail: String
}

extension CheckFinding {
    /// What is open to whom: a line for each place where the service listens.
    ///
    /// - Parameters:
    ///   - access: the answer of `/v1/listeners`.
    ///   - now: by the service's clock; `nil` where it does not tell.
    static func listeners(_ access: JSONTree, now: WallTime?) -> [CheckFinding] {
        let tokens = access["tokens"]?.integer ?? 0
        let isMetricsOpen = access["open_metrics"]?.bool ?? false
        return (access["listeners"]?.elements ?? []).map { listener in
            let expiry = listener["certificate_expires_at"]?.text.flatMap { RFC3339.parse($0) }
            let left = now.flatMap { now in expiry.map { $0.milliseconds - now.milliseconds } }
            return CheckFinding(
                part: "listener",
                fault: left.map { $0 <= 0 } == true ? "certificate expired" : nil,
                detail: [
                    place(listener), encryption(listener, certificateLeft: left),
                    whom(listener, tokens: tokens, isMetricsOpen: isMetricsOpen),
                ].joined(separator: "; ")
            )
        }
    }

    private static func place(_ listener: JSONTree) -> String {
        if let path = listener["socket"]?.text { return "unix:\(path)" }
        let (address, port) = (listener["address"]?.text ?? "?", listener["port"]?.integer ?? 0)
        return address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)"
    }

    /// - Parameter certificateLeft: in milliseconds.
    private static func encryption(_ listener: JSONTree, certificateLeft: Int64?) -> String {
        guard listener["tls"]?.bool == true else {
            if listener["socket"] != nil { return "for processes of this machine that may open it" }
            return listener["plaintext"]?.bool == true ? "not encrypted (plaintext: true)" : "for this machine alone"
        }
        guard let left = certificateLeft, left > 0 else { return "TLS" }
        return "TLS, certificate good for \(Readable.duration(seconds: Double(left) / 1000))"
    }

    private static func whom(_ listener: JSONTree, tokens: Int64, isMetricsOpen: Bool) -> String {
        guard listener["tokens"]?.bool == true else { return "everybody there may do everything" }
        let certificates = listener["client_certificates"]?.bool == true ? " or a client's certificate" : ""
        let there = tokens == 1 ? "one exists" : "\(tokens) exist"
        let open = isMetricsOpen ? "probes and /metrics" : "probes alone"
        return "calls need a token\(certificates) (\(there)), open to all: \(open)"
    }
}
