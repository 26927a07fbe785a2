internal import PantlerModel

/// One key of the configuration: its name, what it may be, and the field that it sets.
struct Setting: Sendable {
    /// As in the file, with dots: `memory.max_memory`.
    let key: String
    /// What a value may be, to go on after "allowed is".
    let allowed: String
    let isList: Bool
    /// Whether it is a list of listeners, whose items are mappings in the file.
    let isOfListeners: Bool
    /// Whether a reload takes effect; else it takes a restart.
    let isLive: Bool

    private let read: @Sendable ([String], inout ServeConfiguration) -> Bool
    private let write: @Sendable (ServeConfiguration) -> String
    private let take: @Sendable (ServeConfiguration, inout ServeConfiguration) -> Void

    init<Value: Sendable>(
        _ key: String,
        _ field: any WritableKeyPath<ServeConfiguration, Value> & Sendable,
        _ kind: SettingKind<Value>,
        live: Bool = false
    ) {
        self.key = key
        allowed = kind.allowed
        isList = kind.isList
        isOfListeners = Value.self == [ListenItem].self
        isLive = live
        read = { text, configuration in
            guard let value = kind.parse(text) else { return false }
            configuration[keyPath: field] = value
            return true
        }
        write = { kind.write($0[keyPath: field]) }
        take = { $1[keyPath: field] = $0[keyPath: field] }
    }

    /// The environment's name for it: `PANTLER_MEMORY_MAX_MEMORY`.
    var variable: String {
        "PANTLER_" + key.uppercased().map { $0 == "." ? "_" : String($0) }.joined()
    }

    /// Sets the field.
    ///
    /// - Parameter text: one string, or those of a list.
    /// - Returns: `false`, with nothing changed, if the value is not allowed.
    func set(_ text: [String], in configuration: inout ServeConfiguration) -> Bool {
        guard isList || text.count == 1 else { return false }
        return read(text, &configuration)
    }

    /// The field as one would write it in the file.
    func text(in configuration: ServeConfiguration) -> String {
        write(configuration)
    }

    /// Sets the field to what it is in `other`.
    func copy(from other: ServeConfiguration, to configuration: inout ServeConfiguration) {
        take(other, &configuration)
    }
}

/// How values of one type are read and written.
struct SettingKind<Value: Sendable>: Sendable {
    let allowed: String
    var isList = false
    let parse: @Sendable ([String]) -> Value?
    let write: @Sendable (Value) -> String

    /// A kind of scalars.
    init(
        _ allowed: String,
        parse: @escaping @Sendable (String) -> Value?,
        write: @escaping @Sendable (Value) -> String
    ) {
        self.allowed = allowed
        self.parse = { $0.first.flatMap(parse) }
        self.write = write
    }

    /// A kind of lists.
    init(
        list allowed: String,
        parse: @escaping @Sendable ([String]) -> Value?,
        write: @escaping @Sendable (Value) -> String
    ) {
        self.allowed = allowed
        isList = true
        self.parse = parse
        self.write = write
    }

    /// The same, or null.
    static func optional<Wrapped: Sendable>(_ kind: SettingKind<Wrapped>) -> SettingKind where Value == Wrapped? {
        SettingKind(
            kind.allowed + ", or null",
            parse: { $0 == "null" ? .some(nil) : kind.parse([$0]).map { .some($0) } },
            write: { $0.map(kind.write) ?? "null" }
        )
    }
}

extension SettingKind<Bool> {
    static let bool = SettingKind(
        "true or false",
        parse: { $0 == "true" ? true : $0 == "false" ? false : nil },
        write: { "\($0)" }
    )
}

extension SettingKind<Double> {
    static func number(_ range: ClosedRange<Int>) -> SettingKind {
        let bounds = Double(range.lowerBound)...Double(range.upperBound)
        return SettingKind(
            "a number from \(range.lowerBound) to \(range.upperBound)",
            parse: { Double($0).flatMap { bounds.contains($0) ? $0 : nil } },
            write: { "\($0)" }
        )
    }
}

extension SettingKind<String> {
    /// Without NUL, which the system would take for its end.
    static let path = SettingKind(
        "a path",
        parse: { $0.isEmpty || $0 == "null" || $0.utf8.contains(0) ? nil : $0 },
        write: { $0 }
    )

    /// What may stand where a listener's address does. Whether the machine has it shows when the service listens.
    static let host = SettingKind(
        "an address of this machine (127.0.0.1, ::1, 0.0.0.0 for all of IPv4, :: for all of IPv6), a name that it has, or * for all",
        parse: { isHost($0) ? $0 : nil },
        write: { $0 }
    )

    private static func isHost(_ text: String) -> Bool {
        if text == "*" { return true }
        guard (1...255).contains(text.utf8.count), text != "null" else { return false }
        guard text.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "-._:%".contains($0)) }) else {
            return false
        }
        // What has only digits and points, or a colon, is meant as an address.
        let isMeantAsAddress = text.contains(":") || text.allSatisfy { $0.isNumber || $0 == "." }
        return !isMeantAsAddress || HostAddress(text) != nil
    }

    /// A name or a number.
    static let word = SettingKind(
        "a name or a number",
        parse: { text in
            let isWord = text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-._".contains($0)) }
            return isWord && !text.isEmpty && text != "null" ? text : nil
        },
        write: { $0 }
    )
}

extension SettingKind<UInt16> {
    /// Who may use a file.
    static let mode = SettingKind(
        "a mode in octal digits, such as 0660 or 0666",
        parse: { text in
            guard (3...4).contains(text.utf8.count), text.allSatisfy({ ("0"..."7").contains($0) }) else { return nil }
            return UInt16(text, radix: 8).flatMap { $0 <= 0o777 ? $0 : nil }
        },
        write: { "0" + String($0 >> 6, radix: 8) + String($0 >> 3 & 7, radix: 8) + String($0 & 7, radix: 8) }
    )
}

extension SettingKind<[String]> {
    static let names = SettingKind(
        list: "a list of host names without ports, or [*] for any",
        parse: { $0.contains { !isName($0) } ? nil : $0 },
        write: { "[" + $0.joined(separator: ", ") + "]" }
    )

    private static func isName(_ text: String) -> Bool {
        !text.isEmpty && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-._:[]*".contains($0)) }
    }
}

extension SettingKind<[NamespacePattern]> {
    static let patterns = SettingKind(
        list: "a list of 1 to \(Grant.namespaceLimit) namespaces: names, name-* for all that begin so, or [*] for all",
        parse: { texts in
            let patterns = texts.compactMap { NamespacePattern($0) }
            return patterns.count == texts.count && (1...Grant.namespaceLimit).contains(texts.count) ? patterns : nil
        },
        write: { "[" + $0.map(\.description).joined(separator: ", ") + "]" }
    )
}

extension SettingKind where Value: FixedWidthInteger {
    static func integer(_ range: ClosedRange<Value>) -> SettingKind {
        let allowed =
            range.upperBound == .max
            ? "of at least \(range.lowerBound)" : "from \(range.lowerBound) to \(range.upperBound)"
        return SettingKind(
            "an integer \(allowed)",
            parse: { Value($0).flatMap { range.contains($0) ? $0 : nil } },
            write: { "\($0)" }
        )
    }
}

extension SettingKind<Int64> {
    /// Bytes.
    static func size(_ range: ClosedRange<Int64>) -> SettingKind {
        let bounds =
            range.upperBound == .max
            ? "of at least \(Quantity.text(bytes: range.lowerBound))"
            : "from \(Quantity.text(bytes: range.lowerBound)) to \(Quantity.text(bytes: range.upperBound))"
        return SettingKind(
            "a size \(bounds), such as 256MiB, 10GB or plain bytes",
            parse: { Quantity.bytes($0).flatMap { range.contains($0) ? $0 : nil } },
            write: { Quantity.text(bytes: $0) }
        )
    }

    /// A duration, kept in milliseconds.
    static func milliseconds(_ range: ClosedRange<Int64>) -> SettingKind {
        SettingKind(
            "a duration \(bounds(range)), such as 300ms, 5s, 5m, 2h, 1d or plain seconds",
            parse: { Quantity.milliseconds($0).flatMap { range.contains($0) ? $0 : nil } },
            write: { Quantity.text(milliseconds: $0) }
        )
    }

    fileprivate static func bounds(_ range: ClosedRange<Int64>) -> String {
        "from \(Quantity.text(milliseconds: range.lowerBound)) to \(Quantity.text(milliseconds: range.upperBound))"
    }
}

extension SettingKind<Duration> {
    /// - Parameter range: in milliseconds.
    static func duration(_ range: ClosedRange<Int64>) -> SettingKind {
        let kind = SettingKind<Int64>.milliseconds(range)
        return SettingKind(
            kind.allowed,
            parse: { kind.parse([$0]).map { .milliseconds($0) } },
            write: { kind.write($0.milliseconds) }
        )
    }
}

extension SettingKind where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
    static var choice: SettingKind {
        let names = Value.allCases.map(\.rawValue)
        let allowed =
            names.count == 1 ? names[0] : names.dropLast().joined(separator: ", ") + " or " + names[names.count - 1]
        return SettingKind(allowed, parse: { Value(rawValue: $0) }, write: { $0.rawValue })
    }
}
