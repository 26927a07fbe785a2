internal import Yams

/// A configuration file's settings with the lines that they stand on.
struct ConfigurationFile: Sendable {
    /// By key: the text of a scalar, or the texts of a list.
    private(set) var values: [String: [String]] = [:]
    /// Faults: what stands in the file and is no setting.
    private(set) var faults: [String] = []
    private let path: String
    private var lines: [String: Int] = [:]

    /// - Throws: if it cannot be read, or is no YAML.
    init(path: String) throws(ConfigurationError) {
        let bytes: [UInt8]
        do {
            bytes = try Terminal.read(file: path)
        } catch {
            throw ConfigurationError(faults: [error.message])
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ConfigurationError(faults: ["\(path): the file is not UTF-8."])
        }
        try self.init(path: path, text: text)
    }

    init(path: String, text: String) throws(ConfigurationError) {
        self.path = path
        let root: Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch {
            throw ConfigurationError(faults: [Self.fault(path, error)])
        }
        guard let root, !Self.isNull(root) else { return }
        guard case .mapping(let mapping) = root else {
            throw ConfigurationError(faults: ["\(path): the file is no mapping of keys to values."])
        }
        walk(mapping, prefix: "")
    }

    /// Where a setting stands: `pantler.yaml:12`.
    func place(of key: String) -> String {
        lines[key].map { "\(path):\($0)" } ?? path
    }

    private mutating func walk(_ mapping: Node.Mapping, prefix: String) {
        for (name, value) in mapping {
            let key = prefix + (name.scalar?.string ?? "?")
            let place = name.mark.map { "\(path):\($0.line)" } ?? path
            if let setting = Setting.named(key) {
                lines[key] = (name.mark ?? value.mark)?.line
                read(value, of: setting, at: place)
            } else if Setting.all.contains(where: { $0.key.hasPrefix(key + ".") }) {
                switch value {
                case .mapping(let inner): walk(inner, prefix: key + ".")
                case _ where Self.isNull(value): continue
                default: faults.append("\(place): '\(key)' is a section: its keys stand below it, indented.")
                }
            } else {
                faults.append("\(place): there is no key '\(key)'; allowed here are \(Self.names(below: prefix)).")
            }
        }
    }

    private mutating func read(_ value: Node, of setting: Setting, at place: String) {
        switch (value, setting.isList) {
        case (.scalar(let scalar), false):
            values[setting.key] = [Self.isNull(value) ? "null" : scalar.string]
        case (.sequence(let sequence), true) where setting.isOfListeners:
            values[setting.key] = readListeners(sequence, of: setting, place)
        case (.sequence(let sequence), true):
            values[setting.key] = sequence.map { $0.scalar?.string ?? "" }
        default:
            let came =
                switch value {
                case .scalar(let scalar): scalar.string
                case .sequence: "a list"
                default: "a mapping"
                }
            faults.append(ConfigurationError.badValue([came], of: setting, at: place))
        }
    }

    /// Each item as the line of text that it is elsewhere; an item with a fault is left out.
    private mutating func readListeners(_ list: Node.Sequence, of setting: Setting, _ listPlace: String) -> [String] {
        list.compactMap { node in
            let place = node.mark.map { "\(path):\($0.line)" } ?? listPlace
            switch node {
            case .scalar(let scalar): return scalar.string
            case .mapping(let mapping): return readListener(mapping, of: setting, place)
            default:
                faults.append("\(place): an item of '\(setting.key)' is a listener, with \(ListenField.names).")
                return nil
            }
        }
    }

    private mutating func readListener(_ mapping: Node.Mapping, of setting: Setting, _ itemPlace: String) -> String? {
        var item = ListenItem()
        let before = faults.count
        for (name, value) in mapping {
            let place = name.mark.map { "\(path):\($0.line)" } ?? itemPlace
            let key = name.scalar?.string ?? "?"
            guard let field = ListenField.named(key) else {
                faults.append(
                    "\(place): a listener of '\(setting.key)' has no '\(key)'; allowed are \(ListenField.names)."
                )
                continue
            }
            let text = value.scalar.map { Self.isNull(value) ? "null" : $0.string }
            if text.map({ field.set($0, in: &item) }) != true {
                let came = (text ?? "no single value").prefix(200)
                faults.append(
                    "\(place): '\(key)' of a listener of '\(setting.key)' is '\(came)'; allowed is \(field.allowed)."
                )
            }
        }
        guard faults.count == before else { return nil }
        if let fault = item.fault {
            faults.append("\(itemPlace): this listener of '\(setting.key)' \(fault).")
            return nil
        }
        return item.text
    }

    private static func isNull(_ node: Node) -> Bool {
        guard let scalar = node.scalar, scalar.style == .plain else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    }

    /// The keys right below a section, in the order of the table.
    private static func names(below prefix: String) -> String {
        var names: [String] = []
        for setting in Setting.all where setting.key.hasPrefix(prefix) {
            let name = String(setting.key.dropFirst(prefix.count).prefix { $0 != "." })
            if !names.contains(name) { names.append(name) }
        }
        return names.joined(separator: ", ")
    }

    /// What YAML's own reader found wrong, with its line.
    private static func fault(_ path: String, _ error: any Error) -> String {
        switch error as? YamlError {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            "\(path):\(mark.line): this is not YAML: \(problem)."
        case .duplicatedKeysInMapping(let duplicates, let context):
            "\(path):\(context.mark.line): the key '\(duplicates.joined(separator: "', '"))' stands there twice."
        default:
            "\(path): this is not YAML: \(error)."
        }
    }
}
