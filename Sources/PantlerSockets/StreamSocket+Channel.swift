internal import Glibc
package import NIOCore
import Synchronization

// The socket as SwiftNIO knows a channel.
extension StreamSocket: Channel {
    package var allocator: ByteBufferAllocator { ByteBufferAllocator() }

    package var closeFuture: EventLoopFuture<Void> { closePromise.futureResult }

    package var isWritable: Bool { takesMore.load(ordering: .relaxed) }

    package var isActive: Bool { hasBegun.load(ordering: .relaxed) }

    package var parent: (any Channel)? { nil }

    /// Not asked for: it would be a system call a connection.
    package var localAddress: SocketAddress? { nil }

    /// Not asked for: it would be a system call a connection.
    package var remoteAddress: SocketAddress? { nil }

    package var _channelCore: any ChannelCore { self }

    package var syncOptions: (any NIOSynchronousChannelOptions)? { Options(socket: self) }

    package func setOption<Option: ChannelOption>(_ option: Option, value: Option.Value) -> EventLoopFuture<Void> {
        eventLoop.makeFailedFuture(ChannelError.operationUnsupported)
    }

    package func getOption<Option: ChannelOption>(_ option: Option) -> EventLoopFuture<Option.Value> {
        eventLoop.makeFailedFuture(ChannelError.operationUnsupported)
    }

    private struct Options: NIOSynchronousChannelOptions {
        let socket: StreamSocket

        func setOption<Option: ChannelOption>(_ option: Option, value: Option.Value) throws {
            throw ChannelError.operationUnsupported
        }

        func getOption<Option: ChannelOption>(_ option: Option) throws -> Option.Value {
            let value: Any
            switch option {
            case is ChannelOptions.Types.BufferedWritableBytesOption: value = socket.waitingBytes
            // It reads on by itself, or its reader has it do so; and the other side may have ended its output, and still be answered.
            case is ChannelOptions.Types.AutoReadOption, is ChannelOptions.Types.AllowRemoteHalfClosureOption:
                value = true
            default: throw ChannelError.operationUnsupported
            }
            guard let value = value as? Option.Value else { throw ChannelError.operationUnsupported }
            return value
        }
    }
}

extension StreamSocket: ChannelCore {
    package func localAddress0() throws -> SocketAddress { throw ChannelError.unknownLocalAddress }

    package func remoteAddress0() throws -> SocketAddress { throw ChannelError.operationUnsupported }

    package func register0(promise: EventLoopPromise<Void>?) { promise?.fail(ChannelError.operationUnsupported) }

    package func registerAlreadyConfigured0(promise: EventLoopPromise<Void>?) {
        promise?.fail(ChannelError.operationUnsupported)
    }

    package func bind0(to address: SocketAddress, promise: EventLoopPromise<Void>?) {
        promise?.fail(ChannelError.operationUnsupported)
    }

    package func connect0(to address: SocketAddress, promise: EventLoopPromise<Void>?) {
        promise?.fail(ChannelError.operationUnsupported)
    }

    package func write0(_ data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard isOpen else { return fail(promise, .ioOnClosedChannel) }
        guard !endsOutput else { return fail(promise, .outputClosed) }
        append(unwrapData(data, as: ByteBuffer.self), promise)
    }

    package func flush0() { sendWaiting() }

    package func read0() { resumeReading() }

    package func close0(error: any Error, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        guard isOpen else { return fail(promise, .alreadyClosed) }
        switch mode {
        case .input: return fail(promise, .operationUnsupported)
        case .output:
            guard !endsOutput else { return fail(promise, .outputClosed) }
            endsOutput = true
            sendWaiting()
        case .all: finish(error)
        }
        promise?.succeed()
    }

    package func triggerUserOutboundEvent0(_ event: Any, promise: EventLoopPromise<Void>?) {
        fail(promise, .operationUnsupported)
    }

    /// Drops what came through all handlers and none has taken.
    package func channelRead0(_ data: NIOAny) {}

    /// Drops an error that no handler has dealt with.
    package func errorCaught0(error: any Error) {}

    private func fail(_ promise: EventLoopPromise<Void>?, _ error: ChannelError) { promise?.fail(error) }
}
