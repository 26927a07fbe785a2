import Glibc

/// Lends `bytes` so placed that the page behind the last one cannot be read: one byte too far ends the process.
func guarded<Result>(
    _ bytes: some Collection<UInt8>,
    _ body: (UnsafeRawBufferPointer) throws -> Result
) rethrows -> Result {
    let page = sysconf(Int32(_SC_PAGESIZE))
    let size = (bytes.count + page - 1) / page * page
    guard let memory = mmap(nil, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
        memory != MAP_FAILED
    else {
        preconditionFailure("no memory for a test")
    }
    defer { munmap(memory, size + page) }
    precondition(mprotect(memory + size, page, PROT_NONE) == 0)
    let buffer = UnsafeMutableRawBufferPointer(start: memory + (size - bytes.count), count: bytes.count)
    buffer.copyBytes(from: bytes)
    return try body(UnsafeRawBufferPointer(buffer))
}

func guarded<Result>(_ text: String, _ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try guarded(Array(text.utf8), body)
}

extension UnsafeRawBufferPointer {
    var text: String { String(decoding: self, as: UTF8.self) }
}

/// Bytes as text, for messages; what is not UTF-8 shows as U+FFFD.
func text(_ bytes: some Collection<UInt8>) -> String {
    String(decoding: bytes, as: UTF8.self)
}
