/// An HTTP response as it came.
package struct Response: Sendable, CustomStringConvertible {
    package let status: Int
    package let headers: [Header]
    package var body: [UInt8]

    package struct Header: Hashable, Sendable {
        /// In lower case.
        package let name: String
        package let value: String
    }

    package init(status: Int, headers: [Header], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// Parses a status line and header lines without the empty line that ends them.
    package init(head: String) throws {
        let lines = head.components(separatedBy: "\r\n")
        let words = lines[0].split(separator: " ", maxSplits: 2)
        guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
            throw Failure("'\(lines[0])' is no status line")
        }
        let headers = try lines.dropFirst().map { line in
            guard let colon = line.firstIndex(of: ":") else { throw Failure("'\(line)' is no header") }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            return Header(name: line[..<colon].lowercased(), value: String(value))
        }
        self.init(status: status, headers: headers)
    }

    /// The first header of that name, whatever its case.
    package subscript(_ name: String) -> String? {
        let name = name.lowercased()
        return headers.first { $0.name == name }?.value
    }

    package var text: String { String(decoding: body, as: UTF8.self) }
    package var json: JSON { JSON(body) }
    /// A problem's code.
    package var code: String? { json["code"].string }
    package var version: Int? { json["version"].int }
    package var reason: String? { json["reason"].string }
    package var etag: String? { self["ETag"] }
    /// `detail` of Cache-Status: a tier, `stale`, or why there was a miss.
    package var detail: String? {
        self["Cache-Status"]?.components(separatedBy: "; ").first { $0.hasPrefix("detail=") }.map {
            String($0.dropFirst(7))
        }
    }
    package var closes: Bool { self["Connection"]?.lowercased() == "close" }

    package var description: String {
        "\(status) \(headers.map { "\($0.name): \($0.value)" }) \(String(text.prefix(600)))"
    }
}

extension StringProtocol {
    fileprivate func components(separatedBy separator: String) -> [String] {
        var parts: [String] = []
        var rest = self[...]
        while let range = rest.firstRange(of: separator) {
            parts.append(String(rest[..<range.lowerBound]))
            rest = rest[range.upperBound...]
        }
        return parts + [String(rest)]
    }
}
