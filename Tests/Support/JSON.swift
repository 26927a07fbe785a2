internal import Foundation

/// A parsed JSON text with short ways into it; whatever is not there reads as `nil`.
package struct JSON: CustomStringConvertible {
    private let value: Any?

    private init(value: Any?) {
        self.value = value
    }

    package init(_ bytes: [UInt8]) {
        value = try? JSONSerialization.jsonObject(with: Data(bytes), options: [.fragmentsAllowed])
    }

    package subscript(_ name: String) -> JSON { JSON(value: (value as? [String: Any])?[name]) }
    package subscript(_ index: Int) -> JSON { array.indices.contains(index) ? array[index] : JSON(value: nil) }

    package var array: [JSON] { (value as? [Any])?.map { JSON(value: $0) } ?? [] }
    package var object: [String: JSON]? { (value as? [String: Any])?.mapValues { JSON(value: $0) } }
    package var names: Set<String> { Set(object?.keys.map { $0 } ?? []) }
    package var strings: [String] { array.compactMap(\.string) }
    package var string: String? { value as? String }
    package var int: Int? { value as? Int }
    package var double: Double? { value as? Double }
    package var bool: Bool? { value as? Bool }
    /// A null that stands there.
    package var isNull: Bool { value is NSNull }
    package var isMissing: Bool { value == nil }
    /// With the members of objects in the order of their names, so that equal texts have equal descriptions.
    package var description: String {
        guard let value else { return "nothing" }
        let options: JSONSerialization.WritingOptions = [.sortedKeys, .fragmentsAllowed]
        guard let data = try? JSONSerialization.data(withJSONObject: value, options: options) else { return "\(value)" }
        return String(decoding: data, as: UTF8.self)
    }
}

/// Text as a JSON string, with its quotes.
package func quoted(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": quoted += "\\\""
        case "\\": quoted += "\\\\"
        case _ where scalar.value < 0x20: quoted += "\\u" + String(format: "%04x", scalar.value)
        default: quoted.unicodeScalars.append(scalar)
        }
    }
    return quoted + "\""
}
