internal import ArgumentParser
internal import PantlerJSON
internal import PantlerModel

struct TokenCreateCommand: ClientCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Make a token, and print it once.",
        discussion: """
            The token alone goes to the output, and what is to be said of it to the errors: TOKEN=$(pantler token create --role read). With \
            --output json both are one object. With --data-dir the token is made in a folder that is not served at the time: so the first \
            one comes to be.
            """
    )

    @OptionGroup var options: GrantOptions

    @Option(help: "The data folder of a service that does not run, in the place of a call.", completion: .directory)
    var dataDir: String?

    @OptionGroup var client: ClientOptions

    func run(_ session: Session) async throws {
        if let dataDir {
            let issued = try await TokenFolder.create(
                in: dataDir,
                options.grant,
                note: options.note,
                expiresAt: options.expires?.moment(now: .now())
            )
            return try session.writeIssued(issued.json, now: .now())
        }
        let reply = try await session.client.expect(.post, "/v1/tokens", json: options.json)
        try session.writeIssued(reply.body, now: reply.date ?? .now())
    }
}

extension GrantOptions {
    /// As the service is asked for it.
    var json: [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("role")
        writer.string(role.rawValue)
        writer.namespaces(of: grant)
        if !note.isEmpty {
            writer.member("note")
            writer.string(note)
        }
        switch expires {
        case .after(let milliseconds):
            writer.member("ttl")
            writer.seconds(.number(milliseconds))
        case .at(let moment):
            writer.member("expires_at")
            writer.string(RFC3339.string(moment))
        case nil: break
        }
        writer.endObject()
        return writer.bytes
    }
}
