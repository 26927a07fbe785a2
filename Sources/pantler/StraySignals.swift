internal import Glibc

/// Signals that end a process which does not expect them, and mean nothing to this one: a timer's or a profiler's that somebody else
/// had in mind, or an operator's slip. None of them is a reason to lose what is queued.
enum StraySignals {
    /// To be called before there is anything to lose.
    ///
    /// Left as they are: SIGHUP, SIGTERM, SIGINT and SIGUSR1, which have their meaning here; SIGQUIT, SIGABRT and the like, which
    /// leave a core for whoever asks for one; and a process's own faults.
    static func ignore() {
        // Who reads the log may go away, and a file may meet its limit: errors of the writes, which are dealt with there.
        for number in [SIGPIPE, SIGXFSZ] { signal(number, SIG_IGN) }
        for number in [SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGSTKFLT] { signal(number, SIG_IGN) }
        for number in __libc_current_sigrtmin()...__libc_current_sigrtmax() { signal(number, SIG_IGN) }
        // The first limit of processor time is a request to end; the kernel ends it by force a little later.
        signal(SIGXCPU) { _ in kill(getpid(), SIGTERM) }
    }
}
