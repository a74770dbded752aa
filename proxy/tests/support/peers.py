"""A client and an app of the library websockets, with whatever is between them.

Prints the port of the app, reads the port of the first hop, and exits with 0 if every message, ping and close code that one of them
sends arrives at the other.
"""

import asyncio
import sys

try:
    from websockets.asyncio.client import connect
    from websockets.asyncio.server import serve
    from websockets.exceptions import ConnectionClosed
except ImportError:
    print("no websockets", flush=True)
    sys.exit(0)

SIZE_MAX = 32 * 2**20
MESSAGES = ["", "hello", "\u03ba\u03cc\u03c3\u03bc\u03b5 \U0010ffff", *(bytes(range(251)) * (size // 251 + 1) for size in (1, 126, 65536, 16 * 2**20))]


async def echo(socket):
    try:
        async for message in socket:
            await socket.send(message)
    except ConnectionClosed:
        pass
    CLOSED.append((socket.close_code, socket.close_reason))


async def one(port, code):
    async with connect(f"ws://127.0.0.1:{port}/chat", compression=None, max_size=SIZE_MAX, proxy=None) as socket:
        for message in MESSAGES:
            await socket.send(message)
            assert await socket.recv() == message
        await socket.send(pieces())
        assert await socket.recv() == "in pieces"
        await asyncio.wait_for(await socket.ping(b"there?"), 30)
        await socket.close(code, "bye")
        assert (socket.close_code, socket.close_reason) == (code, "bye")


async def pieces():
    for piece in ("in ", "", "pieces"):
        yield piece


async def main():
    async with serve(echo, "127.0.0.1", 0, compression=None, max_size=SIZE_MAX) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        port = int(await asyncio.to_thread(sys.stdin.readline))
        for code in CODES:
            await one(port, code)
    assert CLOSED == [(code, "bye") for code in CODES], CLOSED


CODES = [1000, 1001, 1011, 3000, 4999]
CLOSED = []
asyncio.run(main())
