"""A slow source behind caches: HTTP on loopback, which answers after a while and counts its calls. Not run by itself.

    source.py PORT SECONDS

Any path but one is a call, and answered with an entry's value; `?ttl=60` says how long caches may keep it. `/calls` tells at once how many
there have been and how many run, and when the first since the last such question was answered (CLOCK_REALTIME).
"""

import asyncio
import json
import sys
import time

from servers import compact, value

BODY = compact(value(1)).encode()


class Tally:
    def __init__(self):
        self.calls = self.running = 0
        self.first_answered_at = None

    def tell(self):
        told = vars(self).copy()
        self.first_answered_at = None
        return json.dumps(told).encode()


class Caller(asyncio.Protocol):
    def __init__(self, tally, seconds):
        self.tally = tally
        self.seconds = seconds

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        # A head of a few lines and no body, which loopback delivers in one piece.
        path, _, ttl = data.split(b" ", 2)[1].partition(b"?ttl=")
        closes = b" HTTP/1.0\r\n" in data
        if path == b"/calls":
            self.answer(self.tally.tell(), b"no-store", closes)
            return
        self.tally.calls += 1
        self.tally.running += 1
        asyncio.get_running_loop().call_later(self.seconds, self.finish, b"max-age=" + (ttl or b"60"), closes)

    def finish(self, cache_control, closes):
        self.tally.running -= 1
        self.tally.first_answered_at = self.tally.first_answered_at or time.time()
        self.answer(BODY, cache_control, closes)

    def answer(self, body, cache_control, closes):
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: %s\r\nContent-Length: %d\r\n\r\n%s"
            % (cache_control, len(body), body))
        if closes:
            self.transport.close()


async def serve(port, seconds):
    tally = Tally()
    server = await asyncio.get_running_loop().create_server(
        lambda: Caller(tally, seconds), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
