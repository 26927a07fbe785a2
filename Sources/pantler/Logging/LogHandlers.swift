internal import Glibc
internal import Logging
internal import PantlerJSON
internal import PantlerModel
internal import Synchronization

/// The process's log: lines on stderr, for people or for programs, at a level that can change while it runs.
enum ProcessLog {
    /// A place in `levels`. Relaxed: a logger may see a change a moment later, and nothing else hangs on it.
    private static let rank = Atomic(2)
    private static let levels = Logger.Level.allCases

    /// Makes every logger of the process write here. To be called once, before the first logger is made.
    static func bootstrap(_ log: ServeConfiguration.Log) {
        setLevel(log.level)
        let format = log.format
        let isJournal = isJournal
        LoggingSystem.bootstrap { label in LineHandler(label: label, format: format, isJournal: isJournal) }
    }

    /// Whether standard error is systemd's journal (systemd.exec(5), JOURNAL_STREAM), which has a time and a priority for each line.
    private static var isJournal: Bool {
        var status = stat()
        guard let stream = environment("JOURNAL_STREAM"), fstat(STDERR_FILENO, &status) == 0 else { return false }
        return stream == "\(status.st_dev):\(status.st_ino)"
    }

    /// From now on, for every logger that has no level of its own.
    static func setLevel(_ new: Logger.Level) {
        if let new = levels.firstIndex(of: new) { rank.store(new, ordering: .relaxed) }
    }

    /// Asked by every call of a logger, so it takes no lock.
    static var currentLevel: Logger.Level { levels[rank.load(ordering: .relaxed)] }
}

extension Logger.Level {
    /// syslog(3)'s.
    fileprivate var priority: Int {
        switch self {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }
}

/// Writes each event as one line.
struct LineHandler: LogHandler {
    let label: String
    let format: LogFormat
    /// Whether lines go to systemd's journal: then they begin with their priority (sd-daemon(3)), and have no time of their own.
    let isJournal: Bool
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?
    /// Set on one logger alone; `nil` = the process's.
    private var ownLevel: Logger.Level?
    /// Takes a whole line with its end.
    private let output: @Sendable ([UInt8]) -> Void

    init(
        label: String,
        format: LogFormat,
        isJournal: Bool = false,
        output: @escaping @Sendable ([UInt8]) -> Void = writeToStandardError
    ) {
        self.label = label
        self.format = format
        self.isJournal = isJournal
        self.output = output
    }

    var logLevel: Logger.Level {
        get { ownLevel ?? ProcessLog.currentLevel }
        set { ownLevel = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var all = metadata
        if let provided = metadataProvider?.get() { all.merge(provided) { $1 } }
        if let given = event.metadata { all.merge(given) { $1 } }
        if let error = event.error, all["error"] == nil { all["error"] = "\(error)" }
        let pairs = all.sorted { $0.key < $1.key }
        let time = isJournal ? nil : RFC3339.string(.now())
        var line =
            switch format {
            case .text: Self.textLine(time, event, pairs)
            case .json: Self.jsonLine(time, event, label, pairs)
            }
        PresentedToken.hideSecrets(in: &line)
        output(isJournal ? Array("<\(event.level.priority)>".utf8) + line : line)
    }

    /// `2026-11-24T15:49:00.123Z info  the message  key=value`
    private static func textLine(
        _ time: String?,
        _ event: LogEvent,
        _ metadata: [(key: String, value: Logger.MetadataValue)]
    ) -> [UInt8] {
        let level = event.level.rawValue
        let padding = String(repeating: " ", count: max(0, 8 - level.count))
        // The journal's priority says the level already.
        var line = (time.map { "\($0) \(level)\(padding) " } ?? "") + oneLine("\(event.message)")
        for (key, value) in metadata {
            let text = "\(value)"
            let isPlain = !text.isEmpty && !text.contains { $0.isWhitespace || $0 == "\"" || $0 == "=" }
            line += " \(key)=" + (isPlain ? oneLine(text) : quoted(text))
        }
        return Array((line + "\n").utf8)
    }

    private static func jsonLine(
        _ time: String?,
        _ event: LogEvent,
        _ label: String,
        _ metadata: [(key: String, value: Logger.MetadataValue)]
    ) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        if let time {
            writer.member("time")
            writer.string(time)
        }
        writer.member("level")
        writer.string(event.level.rawValue)
        writer.member("logger")
        writer.string(label)
        writer.member("message")
        writer.string("\(event.message)")
        if !metadata.isEmpty {
            writer.member("metadata")
            write(.dictionary(Dictionary(metadata.map { ($0.key, $0.value) }) { $1 }), to: &writer)
        }
        writer.endObject()
        return writer.bytes + [UInt8(ascii: "\n")]
    }

    private static func write(_ value: Logger.MetadataValue, to writer: inout JSONWriter) {
        switch value {
        case .dictionary(let members):
            writer.beginObject()
            for (key, value) in members.sorted(by: { $0.key < $1.key }) {
                writer.member(key)
                write(value, to: &writer)
            }
            writer.endObject()
        case .array(let elements):
            writer.beginArray()
            for element in elements { write(element, to: &writer) }
            writer.endArray()
        case .stringConvertible(let number as any BinaryInteger): writer.integer(Int64(clamping: number))
        default:
            writer.string("\(value)")
        }
    }

    /// No message breaks its line, whatever a client sent: control characters are escaped as in JSON.
    private static func oneLine(_ text: String) -> String {
        text.unicodeScalars.contains { $0.value < 0x20 }
            ? String(quoted(text).dropFirst().dropLast()) : text
    }

    private static func quoted(_ text: String) -> String {
        var bytes: [UInt8] = []
        JSON.appendString(text, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// One call, so that lines of several threads do not mix: a pipe takes up to 4 KiB at once, and what is longer is rare.
private let writeToStandardError: @Sendable ([UInt8]) -> Void = { line in
    line.withUnsafeBytes { bytes in
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = write(STDERR_FILENO, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if count < 0 && errno == EINTR { continue }
            // Nobody is left who could be told.
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}
