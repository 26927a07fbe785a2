/// The site that a page is of, as its browser names it in Origin: `https://app.example:8443` (RFC 6454, section 6.2).
enum Origin {
    /// Whether pages of an origin are served under a Host field's name and port. A port that is not named is the scheme's own: what stands
    /// before this server may have spoken another scheme than the one that reaches it.
    static func isOrigin(_ text: String, of host: String) -> Bool {
        let text = text.asciiLowercased
        for (scheme, port) in [("http://", 80), ("https://", 443)] where text.hasPrefix(scheme) {
            guard let page = place(text.dropFirst(scheme.utf8.count), port),
                let own = place(host.asciiLowercased[...], port)
            else { return false }
            return page == own
        }
        // "null", and the schemes of browsers' own pages, are nobody's.
        return false
    }

    private static func place(_ text: Substring, _ port: Int) -> (name: Substring, port: Int)? {
        let end = text.first == "[" ? text.firstIndex(of: "]").map { text.index(after: $0) } : text.firstIndex(of: ":")
        let name = end.map { text[..<$0] } ?? text
        let rest = text[name.endIndex...]
        if name.isEmpty { return nil }
        if rest.isEmpty || rest == ":" { return (name, port) }
        guard rest.first == ":", rest.dropFirst().utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let named = Int(rest.dropFirst())
        else { return nil }
        return (name, named)
    }
}
