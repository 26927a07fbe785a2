internal import PantlerJSON

/// How a command ends. It is thrown by itself where the user has been told everything already.
///
/// Those that are named are Pantler's own; `pantler fetch` passes on the one of the command that it runs.
struct ExitStatus: RawRepresentable, Error, Hashable, Sendable {
    let rawValue: Int32

    static let done = ExitStatus(rawValue: 0)
    static let failed = ExitStatus(rawValue: 1)
    /// The command line or the configuration is wrong.
    static let usage = ExitStatus(rawValue: 2)
    static let notFound = ExitStatus(rawValue: 3)
    static let notAllowed = ExitStatus(rawValue: 4)
    /// A condition did not hold, or what is to be made is there already.
    static let conflict = ExitStatus(rawValue: 5)
    static let unreachable = ExitStatus(rawValue: 6)

    /// In words, as a problem's title.
    var title: String {
        switch self {
        case .done: "Done"
        case .usage: "Wrong usage"
        case .notFound: "Not found"
        case .notAllowed: "Not allowed"
        case .conflict: "Conflict"
        case .unreachable: "Unreachable"
        default: "Failed"
        }
    }
}

extension ExitStatus {
    /// The status for an error that the service has answered.
    init(httpStatus: Int) {
        self =
            switch httpStatus {
            case 404: .notFound
            case 401, 403: .notAllowed
            case 409, 412: .conflict
            default: .failed
            }
    }
}

/// Why a command could not do what it was asked: what was wrong, and what to do next.
struct CommandFailure: Error, Hashable, Sendable {
    let status: ExitStatus
    /// For people; whole sentences.
    let message: String
    /// For programs: the service's problem document, or one in its form.
    let problem: [UInt8]

    /// What the problem is called.
    var code: String? { (try? JSONTree(problem))?["code"]?.text }

    private init(status: ExitStatus, message: String, problem: [UInt8]) {
        self.status = status
        self.message = message
        self.problem = problem
    }

    /// - Parameter code: stable, as a problem's.
    init(_ status: ExitStatus, code: String, _ message: String) {
        var writer = JSONWriter()
        writer.beginObject()
        for (name, text) in [("type", "about:blank"), ("title", status.title), ("code", code), ("detail", message)] {
            writer.member(name)
            writer.string(text)
        }
        writer.endObject()
        self.init(status: status, message: message, problem: writer.bytes)
    }

    static func usage(_ message: String) -> CommandFailure {
        CommandFailure(.usage, code: "usage", message)
    }

    static func nobodyAnswers(at url: String) -> CommandFailure {
        CommandFailure(
            .unreachable,
            code: "unreachable",
            "No Pantler answers at \(url): start one with `pantler serve`, or name another with --url or PANTLER_URL."
        )
    }

    /// The code of a failure where what answers does not speak as Pantler does.
    static let answerInvalid = "answer_invalid"

    static func unreadableAnswer(_ error: any Error) -> CommandFailure {
        CommandFailure(
            .failed,
            code: answerInvalid,
            "The answer cannot be read: \(error) Is it Pantler that answers there?"
        )
    }

    /// What the service answered.
    init(_ reply: Reply) {
        if let tree = try? JSONTree(reply.body), let detail = tree["detail"]?.text {
            let code = tree["code"]?.text
            // A wrong address is no miss.
            let status = code == "route_not_found" ? .failed : ExitStatus(httpStatus: reply.status)
            self.init(status: status, message: detail + Self.advice(code), problem: reply.body)
        } else {
            let message = "The answer is \(reply.status), and not in Pantler's form: is it Pantler that answers there?"
            self.init(.failed, code: Self.answerInvalid, message)
        }
    }

    /// What to do next, where the service's own sentence does not say it.
    private static func advice(_ code: String?) -> String {
        switch code {
        case "namespace_not_found": " `pantler namespace list` shows those that there are."
        case "version_mismatch": " Read the entry again, and try with the version that it has now."
        case "value_too_large": " `pantler namespace update --max-value-size` raises that."
        case "host_not_served": " Name the service as it names itself, or add the name to server.allowed_hosts."
        case "route_not_found": " Is there a path in --url or PANTLER_URL that does not belong there?"
        case "token_required": " PANTLER_TOKEN, --token-file or --token gives one."
        case "token_invalid": " Is it whole, and has nobody revoked it?"
        case "forbidden": " `pantler token can ROLE NAMESPACE` says what the token may do."
        case "token_not_found": " `pantler token list` shows those that there are."
        case "not_json": " Set it anew with `pantler set --type json`."
        default: ""
        }
    }
}
