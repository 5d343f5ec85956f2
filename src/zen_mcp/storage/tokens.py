"""Tokens that let callers in, of which only a digest is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zen_mcp.errors import InvalidArguments
from zen_mcp.storage.base import Database, Row, SQLValue, Transaction

PREFIX = "zen_"
_RANDOM_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a token stands for. `tools` and `models` are patterns, None for all; `expires_at` None for never."""

    name: str
    user_id: str
    team: str | None = None
    tools: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    created_at: float = 0.0
    expires_at: float | None = None


class Tokens:
    """The tokens of a database.

    Args:
        database: where they are kept.
        clock: seconds since 1970.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def create(self, token: Token) -> str:
        """Store a token; its secret, which cannot be shown again.

        Raises:
            InvalidArguments: the name is taken.
            StorageError: the database fails.
        """
        secret = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        values: dict[str, SQLValue] = {
            "name": token.name,
            "sha256": digest(secret),
            "user_id": token.user_id,
            "team": token.team,
            "tools": _joined(token.tools),
            "models": _joined(token.models),
            "now": self._clock(),
            "expires_at": token.expires_at,
        }

        def write(transaction: Transaction) -> bool:
            added = transaction.execute(
                "INSERT INTO tokens (name, sha256, user_id, team, tools, models, created_at, expires_at) "
                "VALUES (:name, :sha256, :user_id, :team, :tools, :models, :now, :expires_at) "
                "ON CONFLICT (name) DO NOTHING",
                values,
            )
            return added > 0

        if not await self._database.run(write):
            text = f"There is a token '{token.name}' already."
            raise InvalidArguments(text, f"Choose another name, or zen token revoke {token.name}.")
        return secret

    async def find(self, secret: str) -> Token | None:
        """The token of a secret, None when it is none or has expired.

        Raises:
            StorageError: the database fails.
        """
        wanted = digest(secret)

        def read(transaction: Transaction) -> Sequence[Row]:
            return transaction.rows("SELECT * FROM tokens WHERE sha256 = :sha256", {"sha256": wanted})

        rows = await self._database.run(read)
        found = [row for row in rows if hmac.compare_digest(str(row["sha256"]), wanted)]
        token = _token(found[0]) if found else None
        return None if token is None or self._is_over(token) else token

    async def list(self) -> Sequence[Token]:
        """All of them by name, expired ones too.

        Raises:
            StorageError: the database fails.
        """
        rows = await self._database.run(lambda transaction: transaction.rows("SELECT * FROM tokens ORDER BY name"))
        return [_token(row) for row in rows]

    async def revoke(self, name: str) -> bool:
        """Forget a token; whether there was one.

        Raises:
            StorageError: the database fails.
        """

        def delete(transaction: Transaction) -> int:
            return transaction.execute("DELETE FROM tokens WHERE name = :name", {"name": name})

        return await self._database.run(delete) > 0

    def _is_over(self, token: Token) -> bool:
        return token.expires_at is not None and token.expires_at <= self._clock()


def digest(secret: str) -> str:
    """What is kept of a secret. It is 256 random bits, so a fast digest is as good as a slow one."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _joined(patterns: tuple[str, ...] | None) -> str | None:
    return ",".join(patterns) if patterns is not None else None


def _patterns(value: SQLValue) -> tuple[str, ...] | None:
    return tuple(str(value).split(",")) if value is not None else None


def _token(row: Row) -> Token:
    team, created, expires = row["team"], row["created_at"], row["expires_at"]
    return Token(
        name=str(row["name"]),
        user_id=str(row["user_id"]),
        team=str(team) if team is not None else None,
        tools=_patterns(row["tools"]),
        models=_patterns(row["models"]),
        created_at=float(created or 0.0),
        expires_at=float(expires) if expires is not None else None,
    )
