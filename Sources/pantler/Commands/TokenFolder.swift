internal import Glibc
internal import Logging
internal import PantlerDisk
internal import PantlerJSON
internal import PantlerModel
internal import PantlerStore

/// Tokens made in a data folder that is not served at the time.
enum TokenFolder {
    /// Makes a token, durable when this returns. A folder that is not there is made, as by `pantler serve`: whoever sets a service up makes its
    /// first token before its first start.
    ///
    /// - Throws: a failure where the folder is served, or cannot be made or written.
    static func create(
        in folder: String,
        _ grant: Grant,
        note: String,
        expiresAt: WallTime?
    ) async throws(CommandFailure) -> IssuedToken {
        try checkOwner(of: folder)
        // What is made here is the service's alone, as what it makes itself.
        umask(0o077)
        let isNew = access(folder, F_OK) != 0
        // The bounds are those of the service's configuration, which is not known here: nothing is to leave for other ones.
        var options = DiskOptions()
        options.maxBytes = .max
        options.maxFolderBytes = .max
        let tier: DiskTier
        do {
            // It is not started: nothing expires and no time is written down while nobody serves the folder.
            tier = try DiskTier.open(
                folder: folder,
                options: options,
                logger: Logger(label: "pantler.disk", factory: { _ in SwiftLogNoOpLogHandler() })
            )
        } catch {
            throw failure(error)
        }
        // Closing writes the log into the file.
        defer { tier.close() }
        if isNew { Terminal.write(line: "The folder '\(folder)' was not there, and has been made.", to: .error) }
        let tokens = Tokens(tier.persistedState().tokens, lower: tier)
        let result = await withCheckedContinuation {
            (answer: CheckedContinuation<Result<IssuedToken, Problem>, Never>) in
            tokens.create(
                grant,
                note: note,
                expiresAt: expiresAt?.milliseconds,
                nowMilliseconds: WallTime.now().milliseconds
            ) { answer.resume(returning: $0) }
        }
        switch result {
        case .success(let issued): return issued
        case .failure(let problem): throw CommandFailure(.failed, code: problem.code.rawValue, problem.detail)
        }
    }

    /// What root makes in another's folder that one could not write any more.
    private static func checkOwner(of folder: String) throws(CommandFailure) {
        var status = stat()
        guard stat(folder, &status) == 0, geteuid() == 0, status.st_uid != 0 else { return }
        throw CommandFailure(
            .failed,
            code: "data_folder_of_another",
            "The folder '\(folder)' belongs to user \(status.st_uid), who could not write what root makes there: run this as that user (`sudo -u '#\(status.st_uid)' pantler token create …`)."
        )
    }

    private static func failure(_ error: DiskOpenError) -> CommandFailure {
        guard case .inUse(let folder, let process) = error else {
            return CommandFailure(.failed, code: "data_folder_unreadable", error.description)
        }
        return CommandFailure(
            .conflict,
            code: "data_folder_served",
            "The folder '\(folder)' is served by process \(process): ask that service, by --url and a token of the role admin, or stop it first."
        )
    }
}

extension IssuedToken {
    /// As the service answers `POST /v1/tokens`.
    var json: [UInt8] {
        func moment(_ milliseconds: Int64?) -> String? {
            milliseconds.map { RFC3339.string(WallTime(milliseconds: $0)) }
        }
        var writer = JSONWriter()
        writer.beginObject()
        let members: [(String, String?)] = [("id", record.id.description), ("role", record.grant.role.rawValue)]
        for (name, text) in members {
            writer.member(name)
            writer.string(text ?? "")
        }
        writer.namespaces(of: record.grant)
        for (name, text) in [
            ("note", record.note), ("created_at", moment(record.createdAt)), ("expires_at", moment(record.expiresAt)),
            ("last_used", nil), ("source", record.source.rawValue), ("token", secretText),
        ] {
            writer.member(name)
            if let text { writer.string(text) } else { writer.null() }
        }
        writer.endObject()
        return writer.bytes
    }
}
