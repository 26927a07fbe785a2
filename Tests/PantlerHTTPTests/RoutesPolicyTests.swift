import PantlerModel
import Testing

@testable import PantlerHTTP

@Suite("Policies as JSON")
struct PolicyTests {
    private func change(_ json: String, _ form: PolicyChange.Form) throws -> PolicyChange {
        let name = try NamespaceName("shop")
        return try json.withBytes { body throws(Problem) in try PolicyChange(body, name: name, form) }
    }

    private var defaults: Policy {
        var policy = Policy()
        policy.defaultTTL = 300_000
        policy.maxValueSize = 1024
        policy.compressionLevel = 3
        return policy
    }

    @Test("PUT takes what is named, and the default for the rest")
    func whole() throws {
        let policy = try change(
            #"{"max_ttl":0.25,"ttl_jitter":1,"max_entries":10,"durability":"through","compression":{"threshold":0},"#
                + #""negative_ttl":0.5,"early_refresh":10}"#,
            .whole
        ).applied(to: defaults, defaults: defaults)
        var expected = defaults
        expected.maxTTL = 250
        expected.ttlJitter = 1
        expected.maxEntries = 10
        expected.durability = .through
        expected.compressionThreshold = 0
        expected.negativeTTL = 500
        expected.earlyRefresh = 10
        #expect(policy == expected)
        let never = try change(#"{"default_ttl":null}"#, .whole).applied(to: defaults, defaults: defaults)
        #expect(never.defaultTTL == nil, "null is a TTL's own value")
    }

    @Test("PATCH leaves what is absent, and takes null for the default")
    func patch() throws {
        var policy = Policy()
        policy.defaultTTL = 1000
        policy.maxMemory = 7
        policy.compressionLevel = 9
        policy.compressionThreshold = 9
        policy.durability = .memory
        policy.negativeTTL = 1
        policy.earlyRefresh = 2
        let change = try change(
            #"{"default_ttl":null,"max_memory":null,"compression":{"level":null},"durability":null,"negative_ttl":null}"#,
            .patch
        )
        let patched = change.applied(to: policy, defaults: defaults)
        #expect(patched.defaultTTL == 300_000)
        #expect(patched.maxMemory == nil)
        #expect(patched.compressionLevel == 3)
        #expect(patched.compressionThreshold == 9)
        #expect(patched.durability == .behind)
        #expect(patched.negativeTTL == 60_000)
        #expect(patched.earlyRefresh == 2)
    }

    @Test(
        "what cannot be is refused in both",
        arguments: [
            (#"{"default_ttl":0}"#, .policyInvalid), (#"{"default_ttl":"60"}"#, .policyInvalid),
            (#"{"max_ttl":1e300}"#, .policyInvalid),
            (#"{"stale_ttl":-1}"#, .policyInvalid), (#"{"ttl_jitter":1.5}"#, .policyInvalid),
            (#"{"ttl_jitter":"0"}"#, .policyInvalid), (#"{"negative_ttl":0}"#, .policyInvalid),
            (#"{"early_refresh":10.5}"#, .policyInvalid), (#"{"early_refresh":-1}"#, .policyInvalid),
            (#"{"max_memory":0}"#, .policyInvalid), (#"{"max_entries":1.5}"#, .policyInvalid),
            (#"{"max_value_size":0}"#, .policyInvalid), (#"{"max_value_size":943718401}"#, .policyInvalid),
            (#"{"max_value_size":9007199254740991}"#, .policyInvalid),
            (#"{"eviction":"fifo"}"#, .policyInvalid), (#"{"durability":7}"#, .policyInvalid),
            (#"{"compression":9}"#, .policyInvalid),
            (#"{"compression":{"level":10}}"#, .policyInvalid), (#"{"compression":{"speed":1}}"#, .unknownMember),
            (#"{"compression":{"level":1,"level":2}}"#, .duplicateMember), (#"{"max_tll":60}"#, .unknownMember),
            (#"{"name":"other"}"#, .policyInvalid), (#"{"generation":-1}"#, .policyInvalid),
            (#"{"created_at":"today"}"#, .policyInvalid),
            ("[]", .memberInvalid), ("", .invalidJSON), (#"{"max_ttl":1,"max_ttl":2}"#, .duplicateMember),
        ] as [(String, Problem.Code)]
    )
    func refused(body: String, expected: Problem.Code) {
        for form in [PolicyChange.Form.whole, .patch] {
            #expect(code { _ = try change(body, form) } == expected)
        }
    }

    @Test(
        "nulls of fields that have none are refused in a PUT",
        arguments: [
            "stale_ttl", "negative_ttl", "early_refresh", "max_value_size", "durability", "eviction", "compression",
        ]
    )
    func nulls(member: String) throws {
        #expect(code { _ = try change("{\"\(member)\":null}", .whole) } == .policyInvalid)
        #expect(code { _ = try change("{\"\(member)\":null}", .patch) } == nil)
    }
}
