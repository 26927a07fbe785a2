internal import Glibc
internal import PantlerModel
internal import PantlerStore
internal import Yams

/// The file that `tokens.file` names: the tokens of the configuration.
///
/// It is a list with an entry a token, in YAML or in JSON, which has the digests of their secrets alone:
///
///     - {id: abcdefgh, sha256: 0123…, role: write, namespaces: [sessions, "team-*"], note: the web shop, expires_at: 2027-01-31T00:00:00Z}
///
/// or one line with a token itself, as systemd's LoadCredential and other keepers of secrets hand it over: this one is an admin of everything,
/// and so the first, by which others are made.
///
/// Where anything is wrong with it nothing of it counts. No fault shows a value that could be a secret.
struct TokensFile: Sendable {
    let tokens: [ConfiguredToken]
    /// What its owner may want to change, in words.
    private(set) var warnings: [String] = []

    /// More than any such file has, in bytes.
    private static let maxBytes = 16 << 20

    /// Reads the file. The one function that start and reload call.
    ///
    /// - Throws: all faults at once, each with its line.
    static func load(_ path: String) throws(ConfigurationError) -> TokensFile {
        let bytes: [UInt8]
        do {
            bytes = try Terminal.read(file: path)
        } catch {
            throw ConfigurationError(faults: [error.message])
        }
        guard bytes.count <= maxBytes else {
            throw ConfigurationError(faults: ["\(path): the file has over \(maxBytes >> 20) MiB: these are no tokens."])
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ConfigurationError(faults: ["\(path): the file is not UTF-8."])
        }
        var file = try TokensFile(path: path, text: text)
        var status = stat()
        if secretLine(text) != nil, stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
            status.st_mode & S_IROTH != 0
        {
            file.warnings.append(
                "everybody on this machine can read the token in \(path): `chmod o= \(path)` ends that"
            )
        }
        return file
    }

    init(path: String, text: String) throws(ConfigurationError) {
        if let line = Self.secretLine(text) {
            tokens = [try Self.first(line, path)]
            return
        }
        let root: Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch {
            throw ConfigurationError(faults: [Self.fault(path, error)])
        }
        var reader = TokenListReader(path: path)
        reader.read(root)
        guard reader.faults.isEmpty else { throw ConfigurationError(faults: reader.faults) }
        tokens = reader.tokens
    }

    /// The line of a file that has no other, if that begins as a token does.
    private static func secretLine(_ text: String) -> Substring? {
        let lines = text.split(omittingEmptySubsequences: true) { $0.isNewline }
        guard lines.count == 1, let line = lines.first, line.hasPrefix("pt_") else { return nil }
        return line
    }

    private static func first(_ line: Substring, _ path: String) throws(ConfigurationError) -> ConfiguredToken {
        let token = Array(line.utf8).withUnsafeBytes { bytes in
            PresentedToken(bytes).map { presented in
                ConfiguredToken(
                    id: presented.id,
                    digest: TokenSecret.digest(of: presented.secret),
                    grant: Grant(role: .admin),
                    note: "the first token"
                )
            }
        }
        guard let token else {
            throw ConfigurationError(faults: [
                "\(path): the line begins as a token does and is none: that is pt_, 8 letters, _ and \(PresentedToken.secretCount) characters, with nothing around it."
            ])
        }
        return token
    }

    /// What YAML's reader found wrong. Its own descriptions show the text around it.
    private static func fault(_ path: String, _ error: any Error) -> String {
        switch error as? YamlError {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            "\(path):\(mark.line): this is not YAML: \(problem)."
        case .duplicatedKeysInMapping(_, let context):
            "\(path):\(context.mark.line): a key stands there twice."
        default:
            "\(path): this is not YAML."
        }
    }
}

/// Reads the list, and goes on after a fault, so that all are told at once.
private struct TokenListReader {
    let path: String
    private(set) var tokens: [ConfiguredToken] = []
    private(set) var faults: [String] = []
    /// Where each id stands.
    private var lines: [TokenID: Int] = [:]

    private static let members = ["id", "sha256", "role", "namespaces", "note", "expires_at"]

    init(path: String) { self.path = path }

    mutating func read(_ root: Node?) {
        guard let root, !Self.isNull(root) else {
            // A file that is being written may be empty for a moment, which must not take all tokens away.
            faults.append("\(path): the file is empty; a list without a token is [].")
            return
        }
        guard case .sequence(let list) = root else {
            return fault(
                root,
                "the file is no list of tokens: each begins with '- ', as `pantler token hash` prints it"
            )
        }
        for node in list {
            guard tokens.count < TokenRecord.limit else {
                return fault(node, "there are more than \(TokenRecord.limit) tokens")
            }
            readToken(node)
        }
    }

    private mutating func readToken(_ node: Node) {
        guard case .mapping(let mapping) = node else {
            return fault(node, "this is no token: that has \(Self.members.joined(separator: ", "))")
        }
        let before = faults.count
        var values: [String: Node] = [:]
        for (name, value) in mapping {
            guard let text = name.scalar?.string, Self.members.contains(text) else {
                fault(
                    name,
                    "a token has no '\(Self.shown(name.scalar?.string ?? "?"))'; allowed are \(Self.members.joined(separator: ", "))"
                )
                continue
            }
            if !Self.isNull(value) {
                values[text] = value
            } else if text == "namespaces" {
                // A template whose variable was empty must not open everything.
                fault(value, "'namespaces' is empty; without it the token is for all of them")
            }
        }
        for name in ["id", "sha256", "role"] where values[name] == nil { fault(node, "the token has no '\(name)'") }
        let id = values["id"].flatMap { readID($0) }
        let digest = values["sha256"].flatMap { readDigest($0) }
        let role = values["role"].flatMap { readRole($0) }
        let namespaces = values["namespaces"].map { readNamespaces($0) } ?? [.everything]
        let note = values["note"].flatMap { readNote($0) } ?? ""
        let expiresAt = values["expires_at"].flatMap { readMoment($0) }
        guard faults.count == before, let id, let digest, let role else { return }
        if let first = lines.updateValue(node.mark?.line ?? 0, forKey: id) {
            return fault(node, "the id '\(id)' is that of the token in line \(first)")
        }
        tokens.append(
            ConfiguredToken(
                id: id,
                digest: digest,
                grant: Grant(role: role, namespaces: namespaces),
                note: note,
                expiresAt: expiresAt
            )
        )
    }

    // MARK: Members

    private mutating func readID(_ node: Node) -> TokenID? {
        if let id = node.scalar.flatMap({ TokenID($0.string) }) { return id }
        fault(node, "'id' is not 8 letters from a to z, which is all that stands there of a token")
        return nil
    }

    private mutating func readDigest(_ node: Node) -> TokenDigest? {
        let text = node.scalar?.string ?? ""
        if let digest = TokenDigest(hex: text.utf8) { return digest }
        if text.hasPrefix("pt_") {
            fault(node, "'sha256' is a token itself, which does not belong here: `pantler token hash` makes its line")
        } else {
            fault(node, "'sha256' is not 64 hexadecimal digits, as `pantler token hash` prints them")
        }
        return nil
    }

    private mutating func readRole(_ node: Node) -> Role? {
        if let role = node.scalar.flatMap({ Role(rawValue: $0.string) }) { return role }
        fault(node, "'role' is '\(Self.shown(node.scalar?.string ?? "?"))'; allowed are read, write and admin")
        return nil
    }

    private mutating func readNamespaces(_ node: Node) -> [NamespacePattern] {
        guard case .sequence(let list) = node, (1...Grant.namespaceLimit).contains(list.count) else {
            fault(node, "'namespaces' is no list of 1 to \(Grant.namespaceLimit) names, as [sessions, \"team-*\"]")
            return []
        }
        var patterns: [NamespacePattern] = []
        for element in list {
            if let pattern = element.scalar.flatMap({ NamespacePattern($0.string) }) {
                patterns.append(pattern)
            } else {
                fault(
                    element,
                    "'\(Self.shown(element.scalar?.string ?? "?"))' in 'namespaces' is neither a name, nor the beginning of names with '*' behind it, nor '*'"
                )
            }
        }
        return patterns
    }

    private mutating func readNote(_ node: Node) -> String? {
        if let note = node.scalar?.string, TokenRecord.isNote(note) { return note }
        fault(node, "'note' is not one line of up to \(TokenRecord.noteBytes) bytes")
        return nil
    }

    private mutating func readMoment(_ node: Node) -> Int64? {
        if let moment = node.scalar.flatMap({ RFC3339.parse($0.string) }) { return moment.milliseconds }
        fault(node, "'expires_at' is no moment as 2027-01-31T00:00:00Z")
        return nil
    }

    // MARK: Inside

    private mutating func fault(_ node: Node, _ sentence: String) {
        faults.append("\(path):\(node.mark.map { "\($0.line):" } ?? "") \(sentence).")
    }

    /// What came, where it cannot be a secret nor do harm on a terminal.
    private static func shown(_ text: String) -> String {
        guard text.utf8.count < PresentedToken.secretCount, TokenRecord.isNote(text), !text.contains("pt_") else {
            return "…"
        }
        return text
    }

    private static func isNull(_ node: Node) -> Bool {
        guard let scalar = node.scalar, scalar.style == .plain else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    }
}
