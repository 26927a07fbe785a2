import PantlerModel

extension Policy {
    /// When an entry that is written now expires.
    ///
    /// TTLs over `maxTTL`, and never, are clamped to it. Jitter brings an expiry forward that comes from a TTL, by up to its
    /// fraction of it; a moment that the caller named stays that moment.
    func expiry(_ lifetime: Lifetime, at moment: Moment) -> Timestamp {
        var ttl: Int64?
        switch lifetime {
        case .byPolicy: ttl = defaultTTL
        case .never: ttl = nil
        case .milliseconds(let milliseconds): ttl = milliseconds
        case .until(let named):
            let end = named.timestamp(aheadBy: moment.wallOffset)
            guard let maxTTL, end.milliseconds(since: moment.now) > maxTTL else { return end }
            ttl = maxTTL
        }
        if let maxTTL { ttl = min(ttl ?? maxTTL, maxTTL) }
        guard let ttl else { return .never }
        return moment.now.advanced(byMilliseconds: max(1, ttl - jitter(of: ttl)))
    }

    private func jitter(of ttl: Int64) -> Int64 {
        ttlJitter > 0 ? Int64(Double(ttl) * ttlJitter * Double.random(in: 0..<1)) : 0
    }
}
