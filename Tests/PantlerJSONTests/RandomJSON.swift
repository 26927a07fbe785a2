import struct Support.SeededGenerator

/// Makes valid JSON of every kind, with few names so that they collide, in many spellings.
struct RandomJSON {
    var random: SeededGenerator

    mutating func value(depth: Int) -> String {
        switch Int.random(in: 0..<(depth > 0 ? 9 : 5), using: &random) {
        case 0: number()
        case 1: random.pick(["true", "false", "null"])
        case 2: random.pick(["null", "0", "\"\""])
        case 3, 4: string()
        case 5, 6: array(depth: depth)
        default: object(depth: depth)
        }
    }

    mutating func object(depth: Int) -> String {
        let members = (0..<Int.random(in: 0...5, using: &random)).map { _ in
            space() + name() + space() + ":" + space() + value(depth: depth - 1) + space()
        }
        return "{" + (members.isEmpty ? space() : members.joined(separator: ",")) + "}"
    }

    private mutating func array(depth: Int) -> String {
        let elements = (0..<Int.random(in: 0...4, using: &random)).map { _ in
            space() + value(depth: depth - 1) + space()
        }
        return "[" + elements.joined(separator: ",") + "]"
    }

    private mutating func name() -> String {
        random.pick([
            #""a""#, #""b""#, #""c""#, #""\u0061""#, #""\u0062""#, #""""#, #""\ud800""#, #""\uD800""#, #""é""#,
            #""\u00e9""#,
            #""e\u0301""#, #""😀""#, #""\ud83d\ude00""#, #""\udc00""#, #""a\/b""#, #""a/b""#,
        ])
    }

    private mutating func string() -> String {
        let pieces = (0..<Int.random(in: 0...6, using: &random)).map { _ in
            random.pick([
                "a", "plain text ", "é", "€", "😀", #"\n"#, #"\""#, #"\\"#, #"\/"#, #"\u0000"#, #"\u20aC"#,
                #"\ud83d\ude00"#, #"\udead"#,
                "\u{7f}", "日本語", "{", "]", ",", ":", "'",
            ])
        }
        return "\"" + pieces.joined() + "\""
    }

    private mutating func number() -> String {
        random.pick(["", "-"]) + random.pick(["0", "1", "42", "9007199254740993", "18446744073709551616"])
            + random.pick(["", "", ".0", ".50", ".125"]) + random.pick(["", "", "e1", "E+10", "e-3", "e400"])
    }

    private mutating func space() -> String {
        random.pick(["", "", "", " ", "\n", "\t \r\n"])
    }
}
