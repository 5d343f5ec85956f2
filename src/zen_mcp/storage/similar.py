"""Questions whose answers are remembered, with what they mean: in SQL or Redis."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from zen_mcp.storage.base import Database, Transaction
from zen_mcp.storage.redis import Redis

MOST_PER_SCOPE = 200
"""Questions compared with a new one at most; the newest count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RememberedQuestion:
    """A question, the vector of its meaning, and the key of its remembered answer."""

    key: str
    question: str
    vector: bytes


class SQLSimilar:
    """Remembered questions in SQL.

    Args:
        database: where they are kept.
        clock: seconds since 1970.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def load(self, scope: str) -> Sequence[RememberedQuestion]:
        """The newest questions of a scope that have not ended.

        Raises:
            StorageError: the database fails.
        """
        now = self._clock()

        def read(transaction: Transaction) -> Sequence[RememberedQuestion]:
            rows = transaction.rows(
                "SELECT key, question, vector FROM similar_questions WHERE scope = :scope AND expires_at > :now "
                "ORDER BY expires_at DESC LIMIT :most",
                {"scope": scope, "now": now, "most": MOST_PER_SCOPE},
            )
            return [
                RememberedQuestion(
                    key=str(row["key"]), question=str(row["question"]), vector=bytes(cast("bytes", row["vector"]))
                )
                for row in rows
            ]

        return await self._database.run(read)

    async def store(self, scope: str, question: RememberedQuestion, *, seconds: float) -> None:
        """Keep a question for so long.

        Raises:
            StorageError: the database fails.
        """
        now = self._clock()

        def write(transaction: Transaction) -> None:
            transaction.execute(
                "INSERT INTO similar_questions (key, scope, question, vector, expires_at) "
                "VALUES (:key, :scope, :question, :vector, :end) "
                "ON CONFLICT (key) DO UPDATE SET vector = :vector, expires_at = :end",
                {
                    "key": question.key,
                    "scope": scope,
                    "question": question.question,
                    "vector": question.vector,
                    "end": now + seconds,
                },
            )
            transaction.execute("DELETE FROM similar_questions WHERE expires_at <= :now", {"now": now})

        await self._database.run(write)


class RedisSimilar:
    """Remembered questions for all replicas: per scope a list, the newest first."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def load(self, scope: str) -> Sequence[RememberedQuestion]:
        """The newest questions of a scope; some of their answers may have ended.

        Raises:
            StorageError: Redis is away.
        """
        texts = await self._redis.do(lambda client: client.lrange(self._name(scope), 0, MOST_PER_SCOPE - 1))
        return [_from_text(text) for text in texts]

    async def store(self, scope: str, question: RememberedQuestion, *, seconds: float) -> None:
        """Keep a question for so long.

        Raises:
            StorageError: Redis is away.
        """
        name = self._name(scope)
        text = json.dumps(
            {
                "key": question.key,
                "question": question.question,
                "vector": base64.b64encode(question.vector).decode(),
            }
        )

        async def write(client: Any) -> None:
            await client.lpush(name, text)
            await client.ltrim(name, 0, MOST_PER_SCOPE - 1)
            await client.pexpire(name, max(int(seconds * 1000), 1))

        await self._redis.do(write)

    def _name(self, scope: str) -> str:
        return f"{self._redis.prefix}similar:{scope}"


def _from_text(text: str) -> RememberedQuestion:
    values: Mapping[str, str] = json.loads(text)
    vector = base64.b64decode(values["vector"])
    return RememberedQuestion(key=values["key"], question=values["question"], vector=vector)
