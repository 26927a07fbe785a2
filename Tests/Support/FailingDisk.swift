internal import Foundation
internal import Glibc

/// A data folder on a disk that fails when it is told to, and the durable image that a power cut would leave of it.
///
/// Give `environment` to a `ServerProcess` whose data folder is `folder`; see `Tests/FailingDisk/include/failing-disk.h` for what fails, and how.
package final class FailingDisk: Sendable {
    /// What comes over a service.
    package enum Crash: String, Sendable, CaseIterable {
        /// Its process ends; what it has written stays.
        case kill
        /// So does the machine, and of what was written only that stays which a sync covered.
        case powerCut = "power cut"
    }

    /// Calls that fail: by their numbers, counted from 1 since `arm`, and at random.
    package struct Faults: Sendable {
        package var writes: ClosedRange<UInt64>?
        package var syncs: ClosedRange<UInt64>?
        /// How many of 100,000.
        package var writeRate: UInt64 = 0
        package var syncRate: UInt64 = 0
        /// What a failing write says.
        package var writeError: Int32 = EIO
        /// How many of 100,000 written pages are durable before any sync.
        package var writebackRate: UInt64 = 0
        package var seed: UInt64 = 1

        package init() {}
    }

    /// The words of `struct failing_disk_control`, in their order.
    private enum Word: Int, CaseIterable {
        case isArmed, writes, syncs, failedWrites, failedSyncs
        case firstFailingWrite, lastFailingWrite, firstFailingSync, lastFailingSync
        case writeFailureRate, syncFailureRate, writeError, writebackRate, random
    }

    package let folder: String
    private let place: TemporaryDirectory
    private let control: Int32

    /// - Parameter template: a data folder that it begins as; `nil` = an empty one.
    package init(from template: String? = nil) throws {
        place = try TemporaryDirectory()
        folder = place.file("data")
        for name in ["data", "image"] {
            try FileManager.default.createDirectory(atPath: place.file(name), withIntermediateDirectories: true)
            if let template { try copyFiles(of: template, to: place.file(name)) }
        }
        control = open(place.file("control"), O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard control >= 0, ftruncate(control, off_t(Word.allCases.count * 8)) == 0 else {
            throw Failure.system("a control file")
        }
    }

    deinit { close(control) }

    package var environment: [String: String] {
        get throws {
            [
                "LD_PRELOAD": try Self.library(),
                "FAILING_DISK_FOLDER": folder,
                "FAILING_DISK_IMAGE": place.file("image"),
                "FAILING_DISK_CONTROL": place.file("control"),
            ]
        }
    }

    /// The built library, which lies beside the executable.
    private static func library() throws -> String {
        let path = URL(fileURLWithPath: try Command.executable()).resolvingSymlinksInPath().deletingLastPathComponent()
            .appendingPathComponent("libFailingDisk.so").path
        guard FileManager.default.fileExists(atPath: path) else {
            throw Failure("No \(path): run `swift build --build-tests`.")
        }
        return path
    }

    // MARK: Faults

    /// From here on calls are counted, and fail as is said.
    package func arm(_ faults: Faults) {
        self[.isArmed] = 0
        for word in [Word.writes, .syncs, .failedWrites, .failedSyncs] { self[word] = 0 }
        self[.firstFailingWrite] = faults.writes?.lowerBound ?? 0
        self[.lastFailingWrite] = faults.writes?.upperBound ?? 0
        self[.firstFailingSync] = faults.syncs?.lowerBound ?? 0
        self[.lastFailingSync] = faults.syncs?.upperBound ?? 0
        self[.writeFailureRate] = faults.writeRate
        self[.syncFailureRate] = faults.syncRate
        self[.writeError] = UInt64(faults.writeError)
        self[.writebackRate] = faults.writebackRate
        self[.random] = faults.seed
        self[.isArmed] = 1
    }

    /// The disk is well again. What it forgot stays forgotten.
    package func disarm() { self[.isArmed] = 0 }

    package var writes: UInt64 { self[.writes] }
    package var syncs: UInt64 { self[.syncs] }
    package var failedWrites: UInt64 { self[.failedWrites] }
    package var failedSyncs: UInt64 { self[.failedSyncs] }
    /// Calls that failed, of both kinds.
    package var failures: UInt64 { failedWrites + failedSyncs }

    /// The file is mapped by the service; Linux keeps file and mapping in step.
    private subscript(_ word: Word) -> UInt64 {
        get {
            var value: UInt64 = 0
            _ = pread(control, &value, 8, off_t(word.rawValue * 8))
            return value
        }
        set {
            var value = newValue
            _ = pwrite(control, &value, 8, off_t(word.rawValue * 8))
        }
    }

    // MARK: Crashes

    /// What a crash now would leave, in a folder of its own. The service must not run, or be stopped (SIGSTOP).
    package func remains(of crash: Crash) throws -> TemporaryDirectory {
        let remains = try TemporaryDirectory()
        switch crash {
        case .kill: try copyFiles(of: folder, to: remains.path)
        // The image never has what is only mapped.
        case .powerCut: try copyFiles(of: place.file("image"), to: remains.path)
        }
        return remains
    }
}
