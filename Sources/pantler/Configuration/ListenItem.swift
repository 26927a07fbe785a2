/// A listener as the configuration has it: an item of `server.listen`.
struct ListenItem: Hashable, Sendable {
    /// An address of this machine, a name that it has, or `*`; `nil` = 127.0.0.1.
    var address: String?
    var port: Int?
    /// The path of a Unix socket, instead of both.
    var socket: String?
    /// The socket's mode.
    var mode: UInt16?
    /// The socket's group.
    var group: String?
    var tls = false
    /// Whether calls need a token; `nil` = by the place.
    var tokens: Bool?
    var plaintext = false

    static let defaultMode: UInt16 = 0o660

    /// What is wrong with it as a whole, to go on after "it"; `nil` if it says where to listen.
    var fault: String? {
        if let socket {
            if address != nil || port != nil { return "has a socket and a port: these are two listeners" }
            if socket.contains("\"") {
                return "has a socket with a quotation mark in its path, which cannot be told in text"
            }
            return nil
        }
        if port == nil { return "has neither a port nor a socket" }
        return mode != nil || group != nil ? "has a mode or a group, which are a socket's, and no socket" : nil
    }

    /// One line of text: `address=0.0.0.0 port=8443 tls=true`. What has a space in it stands in quotation marks.
    var text: String {
        let words = ListenField.all.compactMap { field in
            field.text(in: self).map { "\(field.name)=" + ($0.contains(" ") ? "\"\($0)\"" : $0) }
        }
        return words.joined(separator: " ")
    }

    init() {}

    /// - Returns: `nil` for what is no such line, or no whole listener.
    init?(_ text: String) {
        var seen: Set<String> = []
        guard let words = Self.words(text) else { return nil }
        for (name, value) in words {
            guard seen.insert(name).inserted, let field = ListenField.named(name) else { return nil }
            guard field.set(value, in: &self) else { return nil }
        }
        if fault != nil { return nil }
    }

    private static func words(_ text: String) -> [(name: String, value: String)]? {
        var words: [(String, String)] = []
        var rest = text.drop { $0 == " " }
        while !rest.isEmpty {
            guard let sign = rest.firstIndex(of: "=") else { return nil }
            let name = String(rest[..<sign])
            rest = rest[rest.index(after: sign)...]
            if rest.first == "\"" {
                rest.removeFirst()
                guard let end = rest.firstIndex(of: "\"") else { return nil }
                words.append((name, String(rest[..<end])))
                rest = rest[rest.index(after: end)...]
                guard rest.isEmpty || rest.first == " " else { return nil }
            } else {
                let value = rest.prefix { $0 != " " }
                words.append((name, String(value)))
                rest = rest[value.endIndex...]
            }
            rest = rest.drop { $0 == " " }
        }
        return words
    }
}

/// One key of an item of `server.listen`: its name, what it may be, and the field that it sets.
struct ListenField: Sendable {
    let name: String
    /// What a value may be, to go on after "allowed is".
    let allowed: String

    private let read: @Sendable (String, inout ListenItem) -> Bool
    private let write: @Sendable (ListenItem) -> String?

    /// In the order in which they are written.
    static let all: [ListenField] = [
        ListenField("address", \.address, .optional(.host)),
        ListenField("port", \.port, .optional(.integer(0...65535))),
        ListenField("socket", \.socket, .optional(.path)),
        ListenField("mode", \.mode, .optional(.mode)),
        ListenField("group", \.group, .optional(.word)),
        ListenField("tls", \.tls, .bool),
        ListenField("tokens", \.tokens, .optional(.bool)),
        ListenField("plaintext", \.plaintext, .bool),
    ]

    private init<Value: Sendable & Equatable>(
        _ name: String,
        _ field: any WritableKeyPath<ListenItem, Value> & Sendable,
        _ kind: SettingKind<Value>
    ) {
        self.name = name
        allowed = kind.allowed
        read = { text, item in
            guard let value = kind.parse([text]) else { return false }
            item[keyPath: field] = value
            return true
        }
        write = { item in
            let value = item[keyPath: field]
            return value == ListenItem()[keyPath: field] ? nil : kind.write(value)
        }
    }

    static func named(_ name: String) -> ListenField? { all.first { $0.name == name } }

    static var names: String { all.map(\.name).joined(separator: ", ") }

    /// Sets the field. Returns `false`, with nothing changed, if the value is not allowed.
    func set(_ text: String, in item: inout ListenItem) -> Bool { read(text, &item) }

    /// The field as one would write it; `nil` where it is the default.
    func text(in item: ListenItem) -> String? { write(item) }
}

extension SettingKind<[ListenItem]> {
    static let listeners = SettingKind(
        list:
            "a list of listeners, each with address and port (`address=0.0.0.0 port=8443 tls=true`) or a socket (`socket=/run/pantler.sock mode=0660`), and \(ListenField.names) as in the file",
        parse: { texts in
            let items = texts.compactMap { ListenItem($0) }
            return items.count == texts.count ? items : nil
        },
        write: { "[" + $0.map(\.text).joined(separator: ", ") + "]" }
    )
}
