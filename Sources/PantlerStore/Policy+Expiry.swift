import PantlerModel

extension Policy {
    /// When an entry that is written now expires.
    ///
    /// A TTL over `maxTTL`, or none, is clamped to `maxTTL`. Jitter shortens a TTL by up to the fraction `ttlJitter` of it. A moment that
    /// the caller named gets no jitter, unless it is clamped.
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

    /// The same for a negative entry, of which `negativeTTL` is both the TTL where it names none and a bound like `maxTTL`.
    func negativeExpiry(_ lifetime: Lifetime, at moment: Moment) -> Timestamp {
        var policy = self
        policy.defaultTTL = negativeTTL
        policy.maxTTL = min(negativeTTL, maxTTL ?? negativeTTL)
        return policy.expiry(lifetime, at: moment)
    }

    private func jitter(of ttl: Int64) -> Int64 {
        ttlJitter > 0 ? Int64(Double(ttl) * ttlJitter * Double.random(in: 0..<1)) : 0
    }
}
