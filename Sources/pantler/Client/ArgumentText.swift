internal import ArgumentParser
internal import PantlerModel

/// A number, or the word `none`.
enum OrNone: Hashable, Sendable {
    case none
    case number(Int64)
}

/// What the texts of options may be; ArgumentParser names the option before these sentences.
enum ArgumentText {
    private static let durations = "a duration such as 300ms, 30s, 5m, 2h, 1d or plain seconds"
    private static let sizes = "a size such as 64MiB, 10GB or plain bytes"

    static func timeout(_ text: String) throws -> Int64 {
        guard let milliseconds = Quantity.milliseconds(text), (1...86_400_000).contains(milliseconds) else {
            throw ValidationError("allowed is \(durations), above 0 and up to 1d")
        }
        return milliseconds
    }

    /// Milliseconds of a TTL, or never.
    static func ttl(_ text: String) throws -> OrNone {
        if text == "none" { return .none }
        guard let milliseconds = Quantity.milliseconds(text), (1...Limits.ttlMilliseconds).contains(milliseconds) else {
            throw ValidationError("allowed is \(durations), above 0 and up to 100 years, or none for never")
        }
        return .number(milliseconds)
    }

    static func negativeTTL(_ text: String) throws -> Int64 {
        guard let milliseconds = Quantity.milliseconds(text), (1...Limits.ttlMilliseconds).contains(milliseconds) else {
            throw ValidationError("allowed is \(durations), above 0 and up to 100 years")
        }
        return milliseconds
    }

    static func staleTTL(_ text: String) throws -> Int64 {
        guard let milliseconds = Quantity.milliseconds(text), (0...Limits.ttlMilliseconds).contains(milliseconds) else {
            throw ValidationError("allowed is \(durations), up to 100 years")
        }
        return milliseconds
    }

    static func size(_ text: String) throws -> Int64 {
        guard let bytes = Quantity.bytes(text), bytes <= Limits.maxSafeInteger else {
            throw ValidationError("allowed is \(sizes)")
        }
        return bytes
    }

    static func sizeOrNone(_ text: String) throws -> OrNone {
        if text == "none" { return .none }
        guard let bytes = Quantity.bytes(text), (1...Limits.maxSafeInteger).contains(bytes) else {
            throw ValidationError("allowed is \(sizes), or none for no limit of its own")
        }
        return .number(bytes)
    }

    static func countOrNone(_ text: String) throws -> OrNone {
        if text == "none" { return .none }
        guard let count = Int64(text), (1...Limits.maxSafeInteger).contains(count) else {
            throw ValidationError("allowed is an integer of at least 1, or none for no limit of its own")
        }
        return .number(count)
    }

    /// Milliseconds, up to the longest wait that makes sense.
    static func wait(_ text: String) throws -> Int64 {
        guard let milliseconds = Quantity.milliseconds(text), (0...86_400_000).contains(milliseconds) else {
            throw ValidationError("allowed is \(durations), up to 1d")
        }
        return milliseconds
    }

    /// Milliseconds of a lease.
    static func leaseTTL(_ text: String) throws -> Int64 {
        guard let milliseconds = Quantity.milliseconds(text), (100...300_000).contains(milliseconds) else {
            throw ValidationError("allowed is \(durations), from 100ms to 5m")
        }
        return milliseconds
    }

    /// Milliseconds for which a source that has failed is left alone.
    static func failRetry(_ text: String) throws -> Int64 {
        guard let milliseconds = Quantity.milliseconds(text), (100...60_000).contains(milliseconds) else {
            throw ValidationError("allowed is \(durations), from 100ms to 60s")
        }
        return milliseconds
    }

    /// An exit status that says something else than success.
    static func exitStatus(_ text: String) throws -> Int32 {
        guard let status = Int32(text), (1...255).contains(status) else {
            throw ValidationError("allowed is an integer from 1 to 255")
        }
        return status
    }
}
