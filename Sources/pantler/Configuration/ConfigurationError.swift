/// Why a configuration was refused: each fault a sentence that names the place, the key, what came and what is allowed.
struct ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// At least one.
    let faults: [String]

    var description: String { faults.joined(separator: "\n") }

    /// A setting whose value is not allowed.
    static func badValue(_ text: [String], of setting: Setting, at place: String) -> String {
        let shown = setting.isList ? "[" + text.joined(separator: ", ") + "]" : text.joined()
        return "\(place): '\(setting.key)' is '\(shown.prefix(200))'; allowed is \(setting.allowed)."
    }
}
