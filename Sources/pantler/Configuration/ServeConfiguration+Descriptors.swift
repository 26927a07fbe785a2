internal import PantlerModel

extension ServeConfiguration {
    /// That this process may not have as many files open as its connections need, as a sentence for the operator; `nil` where it may. Only
    /// the service itself can tell: the limit is that of the process.
    var doubtOfDescriptors: String? {
        let most = DescriptorLimit.connections
        guard limits.connections > most else { return nil }
        return
            "limits.connections is \(limits.connections), but this process may have \(DescriptorLimit.current) files open, so that it takes \(most) connections at most: raise the limit with `ulimit -n`, or LimitNOFILE in a systemd unit, or lower limits.connections"
    }
}
