import Support

/// What a namespace is to hold, by the words of the contract: a dictionary, and what each kind of write does to it. One writer, no TTLs.
struct NamespaceModel {
    /// A JSON value of the few shapes that the test writes.
    enum Value: Equatable {
        case integer(Int)
        case text(String)
        /// Members in the order in which they are sent back.
        case object([Member])

        struct Member: Equatable {
            var name: String
            var number: Int
        }

        var json: String {
            switch self {
            case .integer(let number): "\(number)"
            case .text(let text): quoted(text)
            case .object(let members):
                "{" + members.map { "\(quoted($0.name)):\($0.number)" }.joined(separator: ",") + "}"
            }
        }

        /// RFC 7396: a member of `nil` is removed, another is replaced where it stands or added at the end.
        func merged(_ patch: [(name: String, number: Int?)]) -> Value {
            var members: [Member] = []
            if case .object(let present) = self { members = present }
            for (name, number) in patch {
                let place = members.firstIndex { $0.name == name }
                switch (number, place) {
                case (let number?, let place?): members[place].number = number
                case (let number?, nil): members.append(Member(name: name, number: number))
                case (nil, let place?): members.remove(at: place)
                case (nil, nil): break
                }
            }
            return .object(members)
        }
    }

    struct Entry: Equatable {
        var value: Value
        var version: Int
        var tags: [String]
    }

    var entries: [String: Entry] = [:]
    /// Why a key that was there is not; forgotten by a restart.
    var reasons: [String: String] = [:]
    var generation = 0

    mutating func remove(_ keys: some Sequence<String>, _ reason: String) -> Int {
        var count = 0
        for key in keys where entries.removeValue(forKey: key) != nil {
            reasons[key] = reason
            count += 1
        }
        return count
    }

    mutating func put(_ key: String, _ entry: Entry) {
        entries[key] = entry
        reasons[key] = nil
    }
}
