internal import CPantler
import Glibc
package import NIOCore
import Synchronization

/// Takes a socket's bytes directly, without its pipeline. Used on the socket's loop.
package protocol StreamReader: AnyObject {
    /// Called with bytes that have come. The buffer is the loop's: what is needed later has to be copied.
    func received(_ bytes: inout ByteBuffer)

    /// How many bytes it wants at a time; 0 = no more in this turn.
    var readLimit: Int { get }

    /// Called when no more bytes have come for now. Returns whether to go on reading; after `false` the channel's `read` begins it again.
    func receivedAll() -> Bool
}

/// What a socket tells its pipeline beside `ChannelEvent`.
package enum StreamEvent: Sendable {
    /// The other side sends no more, or is gone. Not all that it has sent is read, since nobody reads at the moment; `inputClosed` comes after
    /// that.
    case endAhead
}

/// A connection's socket, as a channel of SwiftNIO.
///
/// A handler that stands first in the pipeline may take the bytes itself (`reader`) and give back its own (`send`), so that neither
/// go through the pipeline; then its other handlers see none of them. Whatever else happens goes through the pipeline.
// @unchecked: what is not a constant or atomic is the loop's own. `Channel`'s methods that may be called from any thread use the pipeline,
// which goes to the loop by itself; those of `ChannelCore` are called there.
package final class StreamSocket: EventSource, @unchecked Sendable {
    struct UnsentOutput {
        enum Content {
            case bytes(ByteBuffer)
            case source(any ByteSource)
        }

        var content: Content
        let promise: EventLoopPromise<Void>?
        /// An object that is kept alive as long as the bytes wait.
        var companion: AnyObject?

        var count: Int {
            switch content {
            case .bytes(let bytes): bytes.readableBytes
            case .source(let source): source.remaining
            }
        }
    }

    /// Takes the bytes in the place of the pipeline; `nil` = the pipeline does.
    package var reader: (any StreamReader)?

    package let eventLoop: any EventLoop
    let closePromise: EventLoopPromise<Void>
    private var ownPipeline: ChannelPipeline?

    /// Output that is still to be sent, in its order.
    var waiting = CircularBuffer<UnsentOutput>()
    package internal(set) var waitingBytes = 0
    /// Bytes of those that have waited which the kernel has taken.
    var takenWaitingBytes = 0
    /// Whether the loop's `Outbox` has bytes of this socket, which are to be sent before those that wait.
    var hasQueuedBytes = false
    /// Whether the kernel has said that it takes no more for now.
    var isFull = false
    /// Whether the output is to be closed once all that waits is sent.
    var endsOutput = false
    var isReading = false
    var isInputClosed = false
    /// Whether the other side has closed its output, which may be known before all that it has sent is read.
    private var isEndAhead = false
    var isOpen = true
    let takesMore = Atomic(true)
    let hasBegun = Atomic(false)

    /// The most reads of one turn, where each has filled the buffer.
    private static let readsAtOnce = 4

    /// Takes a connected socket, which it closes in the end. On the loop.
    package init(taking descriptor: CInt, on loop: SocketLoop) {
        eventLoop = loop
        closePromise = loop.makePromise()
        super.init(descriptor, loop)
        ownPipeline = ChannelPipeline(channel: self)
    }

    package var pipeline: ChannelPipeline {
        guard let ownPipeline else { preconditionFailure("A socket's pipeline is made with it.") }
        return ownPipeline
    }

    /// Begins to read, once the handlers are there. On the loop.
    package func start() {
        isReading = true
        interest = EPOLLIN.rawValue
        do {
            try loop.add(self)
        } catch {
            return close0(error: error, mode: .all, promise: nil)
        }
        hasBegun.store(true, ordering: .relaxed)
        pipeline.fireChannelRegistered()
        pipeline.fireChannelActive()
    }

    // MARK: Called by the loop

    override func isReady(_ events: UInt32) {
        if events & EPOLLOUT.rawValue != 0 {
            isFull = false
            sendWaiting()
        }
        if !isOpen { return }
        let isOver = events & (EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0
        if isReading, isOver || events & EPOLLIN.rawValue != 0 {
            receive()
        } else if isOver {
            // Nobody reads and would find out: the other side has gone, or both sides have closed their output.
            if events & EPOLLERR.rawValue != 0 {
                end(IOError(errnoCode: ECONNRESET, reason: "epoll_wait"))
            } else {
                close0(error: ChannelError.eof, mode: .all, promise: nil)
            }
        } else if !isReading, events & EPOLLRDHUP.rawValue != 0 {
            isEndAhead = true
            updateInterest()
            pipeline.syncOperations.fireUserInboundEventTriggered(StreamEvent.endAhead)
        }
    }

    override var ahead: (socket: MemoryAhead, reader: MemoryAhead) {
        (MemoryAhead(self), reader.map { MemoryAhead($0) } ?? MemoryAhead())
    }

    override func loopEnds() { close0(error: EventLoopError.shutdown, mode: .all, promise: nil) }

    // MARK: Input

    private func receive() {
        loop.withScratch { bytes in
            for turn in 0..<Self.readsAtOnce {
                let limit = reader?.readLimit ?? .max
                if turn > 0, limit == 0 { break }
                bytes.clear()
                let room = min(bytes.writableBytes, max(1, limit))
                let count = receive(&bytes, atMost: room)
                if count > 0 {
                    if let reader {
                        reader.received(&bytes)
                    } else {
                        pipeline.syncOperations.fireChannelRead(NIOAny(bytes))
                    }
                } else if count == 0 {
                    isInputClosed = true
                    pipeline.syncOperations.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
                } else if -count != EAGAIN {
                    return end(IOError(errnoCode: CInt(-count), reason: "recv"))
                }
                if !isOpen { return }
                if count < room { break }
            }
        }
        if isOpen { goOn() }
    }

    /// Reads once. Returns how many bytes came, 0 = the other side has closed its output, or the error's number, negated.
    private func receive(_ bytes: inout ByteBuffer, atMost limit: Int) -> Int {
        var count = 0
        bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: 1) { room in
            count = retried { recv(descriptor, room.baseAddress, min(room.count, limit), 0) }
            loop.traffic.noteReceived(count)
            return max(0, count)
        }
        return count
    }

    /// Tells the reader, or the pipeline, that this was all for now, and goes on reading if that is wanted.
    private func goOn() {
        if let reader {
            isReading = reader.receivedAll() && !isInputClosed
        } else {
            isReading = false
            pipeline.syncOperations.fireChannelReadComplete()
            if isOpen { pipeline.syncOperations.read() }
        }
        updateInterest()
    }

    /// Has the loop wait for what the socket is interested in now.
    func updateInterest() {
        guard isOpen else { return }
        let unread = isInputClosed || isEndAhead ? 0 : EPOLLRDHUP.rawValue
        let wanted = (isReading ? EPOLLIN.rawValue : unread) | (isFull ? EPOLLOUT.rawValue : 0)
        if wanted == interest { return }
        interest = wanted
        do { try loop.update(self) } catch { end(error) }
    }

    func resumeReading() {
        if isInputClosed || isReading { return }
        isReading = true
        updateInterest()
    }

    // MARK: Its end

    /// Ends the connection because of an error, of which its handlers are told.
    func end(_ error: any Error) {
        pipeline.syncOperations.fireErrorCaught(error)
        close0(error: error, mode: .all, promise: nil)
    }

    func finish(_ error: any Error) {
        if hasQueuedBytes { loop.sendAll() }
        // Sending may have ended it.
        guard isOpen else { return }
        isOpen = false
        let hadBegun = hasBegun.exchange(false, ordering: .relaxed)
        loop.remove(self)
        Glibc.close(descriptor)
        reader = nil
        let unsent = waiting
        waiting.removeAll()
        waitingBytes = 0
        for piece in unsent { piece.promise?.fail(error) }
        // Handlers that were never told of a beginning are not told of an end.
        if hadBegun {
            pipeline.fireChannelInactive()
            pipeline.fireChannelUnregistered()
        }
        // Handlers may still be at work further up.
        loop.execute {
            self.removeHandlers(pipeline: self.pipeline)
            self.closePromise.succeed()
        }
    }
}
