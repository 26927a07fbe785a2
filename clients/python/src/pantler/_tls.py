"""TLS without sockets: what came from the peer goes in, what is to go to it comes out."""

from __future__ import annotations

import ssl


class Secure:
    """One side of a TLS session. Raises ssl.SSLError for whatever the peer or its certificate does wrong."""

    __slots__ = ("ended", "_incoming", "_outgoing", "_session")

    def __init__(self, context: ssl.SSLContext, host: str | None) -> None:
        self.ended = False
        """The peer has said goodbye, or has ended the connection without."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def shake_hands(self, data: bytes | None) -> bool:
        """A step of the handshake, with what came since the last one; whether it is done."""
        if data is not None:
            self._put(data)
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def encrypt(self, data: bytes | memoryview) -> bytes:
        """The bytes that carry data to the peer."""
        if data:
            self._session.write(data)
        return self.pending()

    def decrypt(self, data: bytes) -> bytes:
        """The data in bytes that came, which may be none; no bytes are the end of the connection."""
        self._put(data)
        pieces: list[bytes] = []
        try:
            while True:
                piece = self._session.read(1 << 18)
                if not piece:
                    self.ended = True
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self.ended = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def pending(self) -> bytes:
        """What the session itself has to say to the peer: parts of handshakes, new keys."""
        return self._outgoing.read()

    def _put(self, data: bytes) -> None:
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
