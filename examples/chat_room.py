"""A chat room: all who follow it get each message once and in order, also those who come late or were away.

Run it twice against any Postgres: python examples/chat_room.py postgresql://localhost/postgres
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from actors import Actor, ActorUnavailable, Database, Node, migrate


class ChatRoom(Actor):
    """Numbers its messages and keeps them. It knows of no followers: each keeps its own place."""

    async def on_activate(self) -> None:
        self._last = await self.ctx.storage.get("last", int) or 0

    async def post(self, text: str) -> int:
        self._last += 1
        self.ctx.storage.put_many({"last": self._last, f"message {self._last:012}": text})
        return self._last

    async def read(self, after: int) -> list[str]:
        """The messages after that number, at most 100 at a time. Where there are none, no query is made."""
        if after >= self._last:
            return []
        found = await self.ctx.storage.list(prefix="message ", start=f"message {after + 1:012}", limit=100, type=str)
        return list(found.values())


async def follow(room: ChatRoom, after: int = 0) -> AsyncIterator[str]:
    """Every message after that number, for ever. While a node that died is replaced, it asks again."""
    while True:
        try:
            messages = await room.read(after)
        except ActorUnavailable:
            messages = []
        for text in messages:
            yield text
        after += len(messages)
        await asyncio.sleep(0.05)


async def main(dsn: str) -> None:
    async with Database(dsn) as database:
        await migrate(database)
        node = Node(database=database, id="one")
        lobby = node.namespace("chat_room", ChatRoom).get("lobby")
        async with node:
            following = follow(lobby, after=await lobby.post("hello") - 1)
            await lobby.post("bye")
            print(await anext(following), await anext(following))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
