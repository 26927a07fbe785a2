internal import Glibc

/// What the kernel knows of this process: the figures that every Prometheus client tells under the names `process_...`.
///
/// A figure that cannot be read is `nil`, and has no sample then.
package struct ProcessFigures: Sendable {
    /// Memory that is in RAM.
    package var residentBytes: UInt64?
    /// Addresses that are mapped, whether anything is behind them or not.
    package var virtualBytes: UInt64?
    /// User and system time of all threads.
    package var cpuSeconds: Double?
    package var openFiles: Int?
    /// The soft limit of `openFiles`; `nil` where there is none.
    package var maxFiles: UInt64?
    /// Since 1970, by the wall clock.
    package var startSeconds: Double?

    /// Reads them all now: three small files and a folder of /proc, and two system calls.
    package init() {
        let page = UInt64(max(0, sysconf(Int32(_SC_PAGESIZE))))
        let memory = Self.read("/proc/self/statm").split(separator: " ").map { UInt64($0) }
        if memory.count >= 2 {
            virtualBytes = memory[0].map { $0 * page }
            residentBytes = memory[1].map { $0 * page }
        }
        var usage = rusage()
        if getrusage(RUSAGE_SELF.rawValue, &usage) == 0 {
            cpuSeconds = Self.seconds(usage.ru_utime) + Self.seconds(usage.ru_stime)
        }
        openFiles = Self.countOpenFiles()
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur != .max {
            maxFiles = UInt64(limit.rlim_cur)
        }
        startSeconds = Self.readStart()
    }

    /// Adds a family for each figure that could be read.
    package func expose(to page: inout Exposition) {
        if let cpuSeconds {
            page.counter("process_cpu_seconds", "User and system CPU time of the process, in seconds.")
            page.sample(cpuSeconds)
        }
        if let residentBytes {
            page.gauge("process_resident_memory_bytes", "Memory of the process that is in RAM.")
            page.sample(residentBytes)
        }
        if let virtualBytes {
            page.gauge("process_virtual_memory_bytes", "Addresses that the process has mapped.")
            page.sample(virtualBytes)
        }
        if let openFiles {
            page.gauge("process_open_fds", "File descriptors that are open.")
            page.sample(openFiles)
        }
        if let maxFiles {
            page.gauge("process_max_fds", "File descriptors that may be open.")
            page.sample(maxFiles)
        }
        if let startSeconds {
            page.gauge("process_start_time_seconds", "When the process began, in seconds since 1970.")
            page.sample(startSeconds)
        }
    }

    private static func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }

    /// When the machine booted, and how many ticks later the process began: proc(5), field 22 of `stat`.
    private static func readStart() -> Double? {
        let boot = read("/proc/stat").split(separator: "\n").first { $0.hasPrefix("btime ") }
        // The process's name, in parentheses, may hold blanks and parentheses: fields are counted after the last one.
        let fields = read("/proc/self/stat").split(separator: ")").last?.split(separator: " ") ?? []
        let ticksPerSecond = Double(sysconf(Int32(_SC_CLK_TCK)))
        guard let boot, fields.count > 19, ticksPerSecond > 0, let booted = Double(boot.dropFirst(6)),
            let ticks = Double(fields[19])
        else { return nil }
        return booted + ticks / ticksPerSecond
    }

    private static func countOpenFiles() -> Int? {
        guard let folder = opendir("/proc/self/fd") else { return nil }
        defer { closedir(folder) }
        var count = 0
        while readdir(folder) != nil { count += 1 }
        // Neither `.` nor `..`, nor the descriptor that is looking.
        return max(0, count - 3)
    }

    /// A file's text; empty if it cannot be read.
    private static func read(_ path: String) -> String {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return "" }
        defer { close(file) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = Glibc.read(file, &piece, piece.count)
            if count <= 0 { break }
            bytes += piece[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
