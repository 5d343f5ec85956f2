"""A plain round-robin HTTP proxy: the next request goes to the next replica, whoever sends it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

REPLICA_HEADER = "x-replica"
"""In each answer: the number of the replica that gave it, from 0."""
_LONGEST_HEAD = 65_536
_CONNECT_SECONDS = 5.0
_BROKEN = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError)


class RoundRobin:
    """As nginx with an `upstream` of several servers and nothing else.

    A replica that takes no connection is passed over. One that dies without a word of answer makes a 502, because
    nobody knows what it has done of the request; one that dies later cuts the answer off.

    Args:
        ports: of the replicas, on this host.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self.ports = list(ports)
        self.answered: Counter[int] = Counter()
        self.url = ""
        self._next = 0

    @property
    def following(self) -> int:
        """The replica that gets the next request."""
        return self._next

    async def serve(self, client: SocketStream) -> None:
        """One connection, one request."""
        async with client:
            try:
                head, body = await _received(client)
                await self._forward(client, _for_one_request(head) + body)
            except (*_BROKEN, anyio.EndOfStream, anyio.IncompleteRead, anyio.DelimiterNotFound):
                return  # the client has gone, or talks nonsense

    async def _forward(self, client: SocketStream, request: bytes) -> None:
        for _ in self.ports:
            number = self._next
            self._next = (number + 1) % len(self.ports)
            try:
                with anyio.fail_after(_CONNECT_SECONDS):
                    replica = await anyio.connect_tcp("127.0.0.1", self.ports[number])
            except OSError:
                continue
            async with replica:
                await self._relay(client, replica, request, number)
            return
        await client.send(_refusal(503))

    async def _relay(self, client: SocketStream, replica: SocketStream, request: bytes, number: int) -> None:
        """Pass the answer on as it comes; a client that goes takes the replica's connection with it."""
        async with anyio.create_task_group() as group:

            async def leave_with_client() -> None:
                try:
                    await client.receive()
                except (*_BROKEN, anyio.EndOfStream):
                    group.cancel_scope.cancel()

            async def answer() -> None:
                begun = False
                try:
                    await replica.send(request)
                    async for piece in replica:
                        await client.send(piece if begun else _numbered(piece, number))
                        begun = True
                except _BROKEN:
                    pass
                if begun:
                    self.answered[number] += 1
                else:
                    with anyio.move_on_after(1):
                        await client.send(_refusal(502))
                group.cancel_scope.cancel()

            group.start_soon(leave_with_client)
            group.start_soon(answer)


@asynccontextmanager
async def round_robin(ports: Sequence[int]) -> AsyncGenerator[RoundRobin]:
    """A proxy before these ports, on a free one of its own."""
    proxy = RoundRobin(ports)
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as group,
    ):
        proxy.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"  # noqa: S610
        group.start_soon(listener.serve, proxy.serve)
        yield proxy
        group.cancel_scope.cancel()


async def _received(client: SocketStream) -> tuple[bytes, bytes]:
    """A request's head and body."""
    buffered = BufferedByteReceiveStream(client)
    head = await buffered.receive_until(b"\r\n\r\n", _LONGEST_HEAD)
    lengths = [line.partition(b":")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return head, await buffered.receive_exactly(int(lengths[0])) if lengths else b""


def _for_one_request(head: bytes) -> bytes:
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"connection: close", b"", b""])


def _numbered(piece: bytes, number: int) -> bytes:
    first, _, rest = piece.partition(b"\r\n")
    return first + f"\r\n{REPLICA_HEADER}: {number}\r\n".encode() + rest


def _refusal(status: int) -> bytes:
    return f"HTTP/1.1 {status} No replica\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
