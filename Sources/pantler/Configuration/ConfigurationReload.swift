/// The result of reading the configuration again.
struct ConfigurationReload: Hashable, Sendable {
    struct SettingChange: Hashable, Sendable, CustomStringConvertible {
        let key: String
        let old: String
        let new: String

        var description: String { "\(key): \(old) -> \(new)" }
    }

    /// The configuration that holds from now on: the old one with the live changes alone.
    let configuration: ServeConfiguration
    /// Changes that take effect at once.
    let applied: [SettingChange]
    /// Changes that take effect with a restart.
    let needsRestart: [SettingChange]
}

extension ConfigurationSource {
    /// Reads everything again, on SIGHUP.
    ///
    /// - Parameter old: what is in force.
    /// - Throws: what `load` throws; `old` then stays in force.
    func reload(_ old: ServeConfiguration) throws(ConfigurationError) -> ConfigurationReload {
        let new = try load()
        var configuration = old
        var applied: [ConfigurationReload.SettingChange] = []
        var needsRestart: [ConfigurationReload.SettingChange] = []
        for setting in Setting.all {
            let change = ConfigurationReload.SettingChange(
                key: setting.key,
                old: setting.text(in: old),
                new: setting.text(in: new)
            )
            guard change.old != change.new else { continue }
            if setting.isLive {
                setting.copy(from: new, to: &configuration)
                applied.append(change)
            } else {
                needsRestart.append(change)
            }
        }
        return ConfigurationReload(configuration: configuration, applied: applied, needsRestart: needsRestart)
    }
}
