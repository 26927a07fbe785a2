import Testing

@testable import PantlerHTTP

@Suite("The table of routes")
struct RouteTests {
    /// What a path comes to: resource, namespace and key as they stand in it.
    private func route(_ path: String) -> (resource: Resource, namespace: String?, key: String?)? {
        let bytes = Array(path.utf8)
        guard let route = bytes.withUnsafeBytes({ Route($0, path: 0..<bytes.count) }) else { return nil }
        func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }
        var key: String?
        switch route.key {
        case .none: break
        case .query: key = "?"
        case .path(let range): key = text(range)
        }
        return (route.resource, route.namespace.map(text), key)
    }

    @Test(
        "each path names its resource, and the whole rest is the key",
        arguments: [
            ("/v1/namespaces/shop/entries/a", .entry, "shop", "a"),
            ("/v1/namespaces/shop/entries/a/b", .entry, "shop", "a/b"),
            ("/v1/namespaces/shop/entries//a", .entry, "shop", "/a"),
            ("/v1/namespaces/shop/entries/a/", .entry, "shop", "a/"),
            ("/v1/namespaces/shop/entries/", .entry, "shop", ""),
            ("/v1/namespaces/shop/entries/..", .entry, "shop", ".."),
            ("/v1/namespaces/shop/entries/a%2Fb", .entry, "shop", "a%2Fb"),
            ("/v1/namespaces/shop/entries/entries/x", .entry, "shop", "entries/x"),
            ("/v1/namespaces/shop/values/a", .value, "shop", "a"),
            ("/v1/namespaces/shop/counters/a/b", .counter, "shop", "a/b"),
            ("/v1/namespaces/shop/entry", .entry, "shop", "?"),
            ("/v1/namespaces/shop/value", .value, "shop", "?"),
            ("/v1/namespaces/shop/counter", .counter, "shop", "?"),
            ("/v1/namespaces/shop/entries", .entries, "shop", nil),
            ("/v1/namespaces/shop/batch/get", .batchGet, "shop", nil),
            ("/v1/namespaces/shop/batch/set", .batchSet, "shop", nil),
            ("/v1/namespaces/shop/batch/delete", .batchDelete, "shop", nil),
            ("/v1/namespaces/shop/batch/lease", .batchLease, "shop", nil),
            ("/v1/namespaces/shop/leases/a/b", .lease, "shop", "a/b"),
            ("/v1/namespaces/shop/leases/", .lease, "shop", ""),
            ("/v1/namespaces/shop/leases", .leases, "shop", nil),
            ("/v1/namespaces/shop/invalidate", .invalidate, "shop", nil),
            ("/v1/namespaces/shop/stats", .namespaceStats, "shop", nil),
            ("/v1/namespaces/sh%20op", .namespace, "sh%20op", nil),
            ("/v1/namespaces/..", .namespace, "..", nil),
            ("/v1/namespaces/", .namespace, "", nil),
            ("/v1/namespaces", .namespaces, nil, nil), ("/v1/stats", .stats, nil, nil),
            ("/metrics", .metrics, nil, nil), ("/livez", .livez, nil, nil), ("/readyz", .readyz, nil, nil),
            ("/openapi.yaml", .document, nil, nil), ("/openapi.json", .documentInJSON, nil, nil),
            ("/", .root, nil, nil),
        ] as [(String, Resource, String?, String?)]
    )
    func found(path: String, resource: Resource, namespace: String?, key: String?) throws {
        let found = try #require(route(path))
        #expect(found.resource == resource)
        #expect(found.namespace == namespace)
        #expect(found.key == key)
    }

    @Test(
        "nothing is served under any other path",
        arguments: [
            "", "//", "*", "/v1", "/v1/", "/v2/namespaces", "/v1/namespacesx", "/v1/namespaces/shop/",
            "/v1/namespaces/shop/nothing/a", "/v1/namespaces/shop/lease/a", "/v1/namespaces/shop/entry/a",
            "/v1/namespaces/shop/entryx", "/v1/namespaces/shop/entriesx", "/v1/namespaces/shop/counters",
            "/v1/namespaces/shop/values", "/v1/namespaces/shop/batch", "/v1/namespaces/shop/batch/",
            "/v1/namespaces/shop/batch/get/", "/v1/namespaces/shop/stats/", "/livez/", "/LIVEZ", "//livez",
            "/metrics/x", "/v1/%6eamespaces", "/openapi.yml",
        ]
    )
    func nothing(path: String) {
        #expect(route(path) == nil)
    }

    @Test("Allow lists exactly the methods that a path takes", arguments: Resource.allCases)
    func allow(resource: Resource) {
        let names: [(Method, String)] = [
            (.get, "GET"), (.head, "HEAD"), (.post, "POST"), (.put, "PUT"), (.patch, "PATCH"), (.delete, "DELETE"),
            (.options, "OPTIONS"),
        ]
        let taken = names.filter { resource.takes($0.0) }.map(\.1)
        #expect(Set(resource.allow.split(separator: ", ").map(String.init)) == Set(taken))
        #expect(!resource.takes(.other))
    }
}
