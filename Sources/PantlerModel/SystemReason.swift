#if canImport(Glibc)
internal import Glibc
#endif

/// The system's words for an error's number, and what to do about it where one of the process's own limits was met.
package func systemReason(_ code: Int32) -> String {
    String(cString: strerror(code)) + limitAdvice(code)
}

/// What to do where a limit was met, as a sentence's end; empty for any other error.
package func limitAdvice(_ code: Int32) -> String {
    switch code {
    case EMFILE: ": raise the limit with `ulimit -n`, or LimitNOFILE in a systemd unit"
    case ENFILE: ": the whole machine has no more; raise fs.file-max with sysctl"
    case EFBIG: ": raise the limit with `ulimit -f`, or LimitFSIZE in a systemd unit"
    default: ""
    }
}
