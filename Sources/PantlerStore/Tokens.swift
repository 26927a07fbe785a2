package import PantlerModel
import Synchronization

/// The tokens that there are, those of the database and those of the configuration, and who holds one.
///
/// Of a token's secret only the digest is kept. A look-up does the same work for an id that is unknown, for a secret that is wrong, and for a
/// token that is good: one digest, one look into a table, two comparisons in constant time.
///
/// A token that is made or rotated is durable before anyone is told its secret, and where that fails nothing has changed. One that is revoked
/// opens nothing from that moment on, whether the lower tier can write it down or not.
package final class Tokens: Sendable {
    private struct Table {
        var slots: [TokenID: TokenSlot] = [:]
        /// Ids of tokens that are being made durable, which nobody can use yet.
        var making: Set<TokenID> = []
        /// Tokens of the database whose rotation is being made durable, and the changes that wait for that.
        var rotating: [TokenID: [@Sendable () -> Void]] = [:]
        /// How many are of the database.
        var own = 0
    }

    private let table = Mutex(Table())
    /// `nil` = the tokens are in memory alone.
    private let lower: (any LowerTier)?
    private let unsavedUse = UnsavedUse()
    private let limit = RateLimit()
    /// What stands in the place of a token that is not there.
    private let nobody: TokenSlot
    private let makeID: @Sendable () -> TokenID
    /// Released after a change, and acquired before a look: whoever sees the number sees the change.
    private let changes = Atomic<UInt64>(1)

    /// - Parameters:
    ///   - records: what the lower tier remembers of the previous run.
    ///   - makeID: draws an id, which may be taken already.
    package init(
        _ records: [TokenRecord],
        lower: (any LowerTier)?,
        makeID: @escaping @Sendable () -> TokenID = {
            var generator = SystemRandomNumberGenerator()
            return TokenID(using: &generator)
        }
    ) {
        self.lower = lower
        self.makeID = makeID
        let nobodys = TokenRecord(
            id: makeID(),
            grant: Grant(role: .read, namespaces: []),
            createdAt: nil,
            expiresAt: .min,
            digest: .random()
        )
        nobody = TokenSlot(nobodys, TokenUse(lastDay: nil, UnsavedUse(), RateLimit()))
        table.withLock { table in
            for record in records { table.slots[record.id] = slot(of: record) }
            table.own = table.slots.count
        }
    }

    private func slot(of record: TokenRecord, _ use: TokenUse? = nil) -> TokenSlot {
        TokenSlot(record, use ?? TokenUse(lastDay: record.lastUsedDay, unsavedUse, limit))
    }

    // MARK: Who is there

    /// Changes with every change of a token. A pass that was found under the same number is good until it expires.
    package var generation: UInt64 { changes.load(ordering: .acquiring) }

    private func noteChange() { changes.wrappingAdd(1, ordering: .releasing) }

    /// What a credential may do; `nil` where it is out of form, unknown, wrong, expired or revoked. Complexity: O(1), one lock.
    ///
    /// - Parameters:
    ///   - credential: the whole token as it was sent.
    ///   - wall: the wall clock's time, in milliseconds since 1970.
    package func check(_ credential: UnsafeRawBufferPointer, nowMilliseconds wall: Int64) -> TokenPass? {
        // That something has not the form of a token is known to whoever has sent it.
        guard let presented = PresentedToken(credential) else { return nil }
        let digest = TokenSecret.digest(of: presented.secret)
        let slot = table.withLock { $0.slots[presented.id] } ?? nobody
        let isCurrent = slot.digest == digest
        let isFormer = slot.formerDigest == digest
        let pass = isCurrent ? slot.pass : isFormer ? slot.formerPass : nobody.pass
        return pass.expiresAt > wall ? pass : nil
    }

    /// All tokens in the order of their ids, those that have expired included.
    package func list() -> [TokenRecord] {
        table.withLock { Array($0.slots.values) }.map(\.presentRecord).sorted { $0.id < $1.id }
    }

    package func record(_ id: TokenID) -> TokenRecord? { table.withLock { $0.slots[id] }?.presentRecord }

    package var count: Int { table.withLock { $0.slots.count } }

    // MARK: Changes

    /// Makes a token. Fails with `too_many_tokens` or `storage_…`; then there is none.
    ///
    /// - Parameters:
    ///   - note: see `TokenRecord.isNote`.
    ///   - expiresAt: by the wall clock, in milliseconds since 1970; `nil` = never.
    ///   - wall: the wall clock's time.
    package func create(
        _ grant: Grant,
        note: String = "",
        expiresAt: Int64? = nil,
        nowMilliseconds wall: Int64,
        completion: @escaping @Sendable (Result<IssuedToken, Problem>) -> Void
    ) {
        let secret = TokenSecret.make()
        let digest = secret.withUnsafeBytes { TokenSecret.digest(of: $0) }
        let begun: (record: TokenRecord, ticket: WriteTicket?)? = table.withLock { table in
            guard table.own + table.making.count < TokenRecord.limit else { return nil }
            var id = makeID()
            while table.slots[id] != nil || table.making.contains(id) { id = makeID() }
            table.making.insert(id)
            let record = TokenRecord(
                id: id,
                grant: grant,
                note: note,
                createdAt: wall,
                expiresAt: expiresAt,
                digest: digest
            )
            return (record, lower?.enqueue(.token(record), .through))
        }
        guard let (record, ticket) = begun else { return completion(.failure(.tooManyTokens)) }
        settle(ticket) { [self] fault in
            table.withLock { table in
                table.making.remove(record.id)
                if fault == nil {
                    table.slots[record.id] = slot(of: record)
                    table.own += 1
                } else {
                    // The lower tier would try again to write down what nobody was told of.
                    _ = lower?.enqueue(.removeToken(record.id))
                }
            }
            if let fault { return completion(.failure(takenBack(fault))) }
            noteChange()
            completion(.success(IssuedToken(secret: secret, record)))
        }
    }

    /// Gives a token another secret. Fails with `token_not_found`, `token_read_only`, or `storage_…`; then the one that it has stays.
    ///
    /// - Parameter graceMilliseconds: how long the present secret is good besides. One that an earlier rotation has left ends now.
    package func rotate(
        _ id: TokenID,
        graceMilliseconds: Int64 = 0,
        nowMilliseconds wall: Int64,
        completion: @escaping @Sendable (Result<IssuedToken, Problem>) -> Void
    ) {
        enum Beginning {
            case begun(from: TokenSlot, TokenRecord, WriteTicket?)
            case refused(Problem)
            case waits
        }
        let secret = TokenSecret.make()
        let digest = secret.withUnsafeBytes { TokenSecret.digest(of: $0) }
        let beginning: Beginning = table.withLock { table in
            guard let slot = table.slots[id] else { return .refused(.tokenNotFound(id)) }
            guard slot.record.source == .database else { return .refused(.tokenReadOnly(id)) }
            if table.rotating[id] != nil {
                // This one goes out from what that one comes to.
                table.rotating[id]?.append { [self] in
                    rotate(id, graceMilliseconds: graceMilliseconds, nowMilliseconds: wall, completion: completion)
                }
                return .waits
            }
            table.rotating[id] = []
            var record = slot.presentRecord
            let until = wall.addingReportingOverflow(max(0, graceMilliseconds))
            record.former =
                graceMilliseconds > 0
                ? TokenRecord.Former(digest: record.digest, until: until.overflow ? .max : until.partialValue) : nil
            record.digest = digest
            return .begun(from: slot, record, lower?.enqueue(.token(record), .through))
        }
        switch beginning {
        case .waits: break
        case .refused(let problem): completion(.failure(problem))
        case .begun(let former, let record, let ticket):
            settle(ticket) { [self] fault in
                let (isThere, waiting) = table.withLock { table in
                    let waiting = table.rotating.removeValue(forKey: id) ?? []
                    // It may have been revoked meanwhile, and is not to come back by this.
                    guard table.slots[id] === former else { return (false, waiting) }
                    if fault == nil {
                        table.slots[id] = slot(of: record, former.use)
                    } else {
                        _ = lower?.enqueue(.token(former.presentRecord))
                    }
                    return (true, waiting)
                }
                if let fault {
                    completion(.failure(takenBack(fault)))
                } else if isThere {
                    noteChange()
                    completion(.success(IssuedToken(secret: secret, record)))
                } else {
                    completion(.failure(.tokenNotFound(id)))
                }
                for change in waiting { change() }
            }
        }
    }

    /// Ends a token at once; answers whether there was one. Fails with `token_read_only`, or `storage_…` where a restart may bring it back: it
    /// opens nothing in this run all the same, and is tried again until it is gone from the lower tier.
    package func revoke(_ id: TokenID, completion: @escaping @Sendable (Result<Bool, Problem>) -> Void) {
        let done: Result<WriteTicket?, Problem>? = table.withLock { table in
            guard let slot = table.slots[id] else { return nil }
            guard slot.record.source == .database else { return .failure(.tokenReadOnly(id)) }
            table.slots[id] = nil
            table.own -= 1
            return .success(lower?.enqueue(.removeToken(id), .through))
        }
        switch done {
        case nil: completion(.success(false))
        case .failure(let problem): completion(.failure(problem))
        case .success(let ticket):
            noteChange()
            settle(ticket) { fault in completion(fault.map { .failure(.storage($0)) } ?? .success(true)) }
        }
    }

    /// Puts the tokens of the configuration in the place of those that it had before. What a token was used and how fast stays known.
    ///
    /// - Returns: ids that the database has already, or that come twice: these are not taken, the first of two excepted.
    package func setConfigured(_ tokens: [ConfiguredToken]) -> [TokenID] {
        let refused = table.withLock { table in
            let former = table.slots.filter { $0.value.record.source == .configuration }
            for id in former.keys { table.slots[id] = nil }
            var refused: [TokenID] = []
            for token in tokens {
                if table.slots[token.id] != nil || table.making.contains(token.id) {
                    refused.append(token.id)
                } else {
                    table.slots[token.id] = slot(of: token.record, former[token.id]?.use)
                }
            }
            return refused
        }
        noteChange()
        return refused
    }

    /// How many requests a second each token may make; 0 = as many as it likes.
    package func setRate(perSecond: Int) { limit.set(perSecond: perSecond) }

    /// Has the lower tier remember on which day tokens were last used, of those that were used on another one since. To be called now and then, and
    /// at the end.
    ///
    /// - Parameter limit: of how many tokens; the others are left for the next call. At midnight all are used on another day, and no look-up
    ///   is to wait for all of them.
    func saveUse(limit: Int = 200) {
        guard unsavedUse.flag.exchange(false, ordering: .acquiring) else { return }
        table.withLock { table in
            var saved = 0
            for slot in table.slots.values where slot.use.isUnsaved && slot.record.source == .database {
                guard saved < limit, table.rotating[slot.record.id] == nil else {
                    // What is being made durable must not be overwritten by what was before it.
                    unsavedUse.flag.store(true, ordering: .relaxed)
                    continue
                }
                let record = slot.presentRecord
                slot.use.noteSaved(record.lastUsedDay)
                _ = lower?.enqueue(.token(record))
                saved += 1
            }
        }
    }

    // MARK: Inside

    private func settle(_ ticket: WriteTicket?, _ completion: @escaping @Sendable (TierFault?) -> Void) {
        guard let lower, let ticket else { return completion(nil) }
        if lower.settle(ticket, .through, completion: completion) { completion(nil) }
    }

    /// What the lower tier would keep and try again is taken back here.
    private func takenBack(_ fault: TierFault) -> Problem {
        .storage(fault.with(lower?.mayBringBack == true ? .uncertain : .takenBack))
    }
}

/// A token with what a look-up needs of it, made up beforehand.
private final class TokenSlot: Sendable {
    let record: TokenRecord
    let use: TokenUse
    let digest: TokenDigest
    let pass: TokenPass
    /// Where there is no former secret: a digest of nothing, and a pass that ended long ago.
    let formerDigest: TokenDigest
    let formerPass: TokenPass

    private static let noDigest = TokenDigest.random()

    init(_ record: TokenRecord, _ use: TokenUse) {
        self.record = record
        self.use = use
        let end = record.expiresAt ?? .max
        digest = record.digest
        pass = TokenPass(record, expiresAt: end, use)
        formerDigest = record.former?.digest ?? Self.noDigest
        formerPass = TokenPass(record, expiresAt: min(end, record.former?.until ?? .min), use)
    }

    /// The record with the day of the last use.
    var presentRecord: TokenRecord {
        var record = record
        record.lastUsedDay = use.day
        return record
    }
}

extension Problem {
    fileprivate static let tooManyTokens = Problem(
        .tooManyTokens,
        "There are \(TokenRecord.limit) tokens already: revoke one that is not needed."
    )
}
