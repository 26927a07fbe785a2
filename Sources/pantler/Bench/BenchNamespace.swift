internal import PantlerJSON
internal import PantlerModel

/// What a benchmark needs of the namespace that it runs in.
struct BenchNamespace: Sendable {
    let name: String
    /// Entries that it may hold in memory; `nil` = as its policy has it.
    var maxEntries: Int64?
    /// `nil` = as its policy has it.
    var durability: Durability?
    /// Bytes of the largest value.
    let largestValue: Int

    var path: String { "/v1/namespaces/\(name.percentEncoded)" }

    /// Makes the namespace where it is not there, so that the first get counts too, gives it what it needs, and leaves the rest
    /// of its policy.
    ///
    /// - Parameter isNew: whether it is a failure if the namespace is there already.
    func prepare(_ client: Client, isNew: Bool = false) async throws {
        let found = try await client.send(.get, path)
        guard found.status == 200 || found.status == 404 else { throw CommandFailure(found) }
        if found.status == 200, isNew { throw CommandFailure.namespaceExists(name) }
        var writer = JSONWriter()
        writer.beginObject()
        if let maxEntries {
            writer.member("max_entries")
            writer.integer(maxEntries)
        }
        if let durability {
            writer.member("durability")
            writer.string(durability.rawValue)
        }
        if Int64(largestValue) > Policy().maxValueSize {
            writer.member("max_value_size")
            writer.integer(largestValue)
        }
        writer.endObject()
        if found.status == 404 {
            _ = try await client.expect(.put, path, json: writer.bytes)
        } else if maxEntries != nil || durability != nil {
            _ = try await client.expect(.patch, path, mergePatch: writer.bytes)
        }
    }
}
