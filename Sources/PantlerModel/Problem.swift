/// An error as a caller sees it: a stable code, an HTTP status, and a sentence that says what came and what is allowed.
///
/// It reaches the wire as `application/problem+json` (RFC 9457).
package struct Problem: Error, Hashable, Sendable {
    /// Codes never change their meaning; new ones may come. The raw value is what callers see.
    package enum Code: String, Sendable, CaseIterable {
        // 400: the request cannot be read
        case badRequest = "bad_request"
        case invalidJSON = "invalid_json"
        case jsonTooDeep = "json_too_deep"
        case duplicateMember = "duplicate_member"
        case keyRequired = "key_required"
        case keyTooLong = "key_too_long"
        case keyInvalid = "key_invalid"
        case namespaceInvalid = "namespace_invalid"
        case queryInvalid = "query_invalid"
        case cursorInvalid = "cursor_invalid"
        case limitInvalid = "limit_invalid"
        case headerInvalid = "header_invalid"
        case ttlConflict = "ttl_conflict"
        case confirmationRequired = "confirmation_required"
        // 422: the request can be read, but says what cannot be
        case ttlInvalid = "ttl_invalid"
        case expiresAtInvalid = "expires_at_invalid"
        case tagsInvalid = "tags_invalid"
        case unknownMember = "unknown_member"
        case missingMember = "missing_member"
        case memberInvalid = "member_invalid"
        case policyInvalid = "policy_invalid"
        case batchTooLarge = "batch_too_large"
        // others
        case tokenRequired = "token_required"
        case tokenInvalid = "token_invalid"
        case forbidden = "forbidden"
        case crossSite = "cross_site"
        case rateLimited = "rate_limited"
        case entryNotFound = "entry_not_found"
        case entryAbsent = "entry_absent"
        case namespaceNotFound = "namespace_not_found"
        case tokenNotFound = "token_not_found"
        case routeNotFound = "route_not_found"
        case methodNotAllowed = "method_not_allowed"
        case requestTimeout = "request_timeout"
        case notAnInteger = "not_an_integer"
        case counterOverflow = "counter_overflow"
        case notJSON = "not_json"
        case tooManyNamespaces = "too_many_namespaces"
        case tooManyTokens = "too_many_tokens"
        case tokenReadOnly = "token_read_only"
        case leaseHeld = "lease_held"
        case versionMismatch = "version_mismatch"
        case leaseLost = "lease_lost"
        case bodyTooLarge = "body_too_large"
        case valueTooLarge = "value_too_large"
        case uriTooLong = "uri_too_long"
        case unsupportedMediaType = "unsupported_media_type"
        case hostNotServed = "host_not_served"
        case expectationFailed = "expectation_failed"
        case headersTooLarge = "headers_too_large"
        case internalError = "internal_error"
        case transferCodingNotSupported = "transfer_coding_not_supported"
        case versionNotSupported = "http_version_not_supported"
        case storageUnavailable = "storage_unavailable"
        case storageFull = "storage_full"
        case overloaded = "overloaded"

        /// The HTTP status that goes with the code; one code has one status.
        package var status: Int {
            switch self {
            case .badRequest, .invalidJSON, .jsonTooDeep, .duplicateMember, .keyRequired, .keyTooLong, .keyInvalid,
                .namespaceInvalid, .queryInvalid, .cursorInvalid, .limitInvalid, .headerInvalid, .ttlConflict,
                .confirmationRequired:
                400
            case .tokenRequired, .tokenInvalid: 401
            case .forbidden, .crossSite: 403
            case .entryNotFound, .entryAbsent, .namespaceNotFound, .tokenNotFound, .routeNotFound: 404
            case .methodNotAllowed: 405
            case .requestTimeout: 408
            case .notAnInteger, .counterOverflow, .notJSON, .tooManyNamespaces, .tooManyTokens, .tokenReadOnly,
                .leaseHeld:
                409
            case .versionMismatch, .leaseLost: 412
            case .bodyTooLarge, .valueTooLarge: 413
            case .uriTooLong: 414
            case .unsupportedMediaType: 415
            case .expectationFailed: 417
            case .hostNotServed: 421
            case .ttlInvalid, .expiresAtInvalid, .tagsInvalid, .unknownMember, .missingMember, .memberInvalid,
                .policyInvalid, .batchTooLarge:
                422
            case .rateLimited: 429
            case .headersTooLarge: 431
            case .internalError: 500
            case .transferCodingNotSupported: 501
            case .versionNotSupported: 505
            case .storageUnavailable, .overloaded: 503
            case .storageFull: 507
            }
        }
    }

    /// What callers may need to know besides the sentence, with some of the codes.
    package enum Extra: Hashable, Sendable {
        case none
        /// `version_mismatch`: the version found; `nil` where there is no entry.
        case version(Version?)
        /// `entry_not_found`.
        case reason(MissReason)
        /// `lease_held`: why, and after how many milliseconds it is worth asking again.
        case retry(reason: String, milliseconds: Int64)
        /// `method_not_allowed`: the `Allow` header's value.
        case allow(String)
        /// `rate_limited`: after how many seconds it is worth asking again.
        case retryAfter(seconds: Int64)
    }

    package var code: Code
    /// One sentence for people. Holds nothing that the caller did not send or may not know.
    package var detail: String
    package var extra: Extra

    package init(_ code: Code, _ detail: String, extra: Extra = .none) {
        self.code = code
        self.detail = detail
        self.extra = extra
    }
}

extension Problem {
    package static func namespaceInvalid(_ name: String) -> Problem {
        Problem(
            .namespaceInvalid,
            "The namespace \(quoted(name)) is out of form: 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit."
        )
    }

    package static func namespaceNotFound(_ name: String) -> Problem {
        Problem(.namespaceNotFound, "There is no namespace \(quoted(name)).")
    }

    /// The call needs a token, and none was presented.
    package static let tokenRequired = Problem(
        .tokenRequired,
        "This call needs a token, in the field 'Authorization: Bearer pt_…'."
    )

    /// All that may be wrong with a token, alike: nobody is to learn more from it.
    package static let tokenInvalid = Problem(
        .tokenInvalid,
        "The token is unknown, expired or revoked, or is no token."
    )

    /// A page of another site has had its reader's browser send a change.
    package static let crossSite = Problem(
        .crossSite,
        "The request comes from a page of another site: pages may change nothing here but what is served by the same name and port."
    )

    package static func rateLimited(afterSeconds seconds: Int64) -> Problem {
        Problem(
            .rateLimited,
            "The token makes more requests a second than it may (limits.requests_per_token).",
            extra: .retryAfter(seconds: seconds)
        )
    }

    package static func tokenNotFound(_ id: TokenID) -> Problem {
        Problem(.tokenNotFound, "There is no token '\(id)'.")
    }

    /// A token of the configuration cannot be changed by a call.
    package static func tokenReadOnly(_ id: TokenID) -> Problem {
        Problem(
            .tokenReadOnly,
            "The token '\(id)' is one of the configuration: change it in the file that `tokens.file` names."
        )
    }

    package static func versionMismatch(found version: Version?) -> Problem {
        let detail =
            version.map { "The entry's version is \($0): the condition does not hold." }
            ?? "There is no entry: the condition does not hold."
        return Problem(.versionMismatch, detail, extra: .version(version))
    }

    package static func notFound(_ reason: MissReason) -> Problem {
        let why =
            switch reason {
            case .absent: "it was never seen"
            case .expired: "its TTL ran out"
            case .evicted: "it made room for others"
            case .deleted: "it was deleted"
            case .invalidated: "it was invalidated by tag, prefix or flush"
            case .rejected: "it was too large to keep"
            }
        return Problem(.entryNotFound, "The entry is not here: \(why).", extra: .reason(reason))
    }

    /// What stands there is a negative entry.
    package static let entryAbsent = Problem(
        .entryAbsent,
        "There is no such thing: the source has nothing under this key, which is remembered for a while."
    )

    package static func valueTooLarge(_ size: Int64, limit: Int64) -> Problem {
        Problem(.valueTooLarge, "The value has \(size) bytes; this namespace takes at most \(limit).")
    }

    package static func storage(_ fault: TierFault) -> Problem {
        let outcome =
            switch fault.outcome {
            case .takenBack: "the write could not be made durable and was taken back."
            case .uncertain:
                "the write could not be made durable. It is not seen any more, but may come back with a crash until the disk is written again."
            case .kept: "the change holds in memory, and is tried again until it is durable."
            }
        return storage(isFull: fault.cause == .full, outcome)
    }

    private static func storage(isFull: Bool, _ outcome: String) -> Problem {
        isFull
            ? Problem(.storageFull, "The disk is full: " + outcome)
            : Problem(.storageUnavailable, "The disk tier does not answer: " + outcome)
    }

    /// The same problem, where the change was one of many entries, and may have been made of some.
    package var ofSome: Problem {
        guard code == .storageUnavailable || code == .storageFull else { return self }
        return .storage(
            isFull: code == .storageFull,
            "some of the entries may be changed, others are not; try again."
        )
    }

    /// A text that a caller sent, cut short, without control characters and without a token's secret, so that it can stand in an answer.
    package static func quoted(_ text: String) -> String {
        let text = PresentedToken.hidingSecrets(text)
        let shown = text.unicodeScalars.prefix(80).map { $0.value < 0x20 || $0.value == 0x7f ? "?" : Character($0) }
        return "'" + String(shown) + (text.unicodeScalars.count > 80 ? "…'" : "'")
    }
}
