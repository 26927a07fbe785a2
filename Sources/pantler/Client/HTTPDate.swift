internal import PantlerModel

extension WallTime {
    /// When an answer was made, as servers write it (RFC 9110, section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
    ///
    /// - Returns: `nil` for anything else, also for the two forms that are obsolete.
    init?(httpDate text: String) {
        let words = text.split(separator: " ")
        guard words.count == 6, words[5] == "GMT", let month = Self.months.firstIndex(of: words[2]) else { return nil }
        let number = String(101 + month).dropFirst()
        guard let moment = RFC3339.parse("\(words[3])-\(number)-\(words[1])T\(words[4])Z") else { return nil }
        self = moment
    }

    private static let months: [Substring] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]
}
