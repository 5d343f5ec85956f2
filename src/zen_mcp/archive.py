"""What one does with stored threads besides talking in them: list, search, branch, rename, pin, delete."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from zen_mcp.conversations import Conversations, new_thread_id, title_of
from zen_mcp.errors import InvalidArguments
from zen_mcp.storage import threads as sql
from zen_mcp.storage.base import Row, Transaction

MOST_WORDS = 8
_MOST_HITS_OF_A_THREAD = 3
_MOST_ROWS = 300
_SNIPPET_BEFORE, _SNIPPET_AFTER = 50, 110

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadSummary:
    """A thread without its turns; times in seconds since 1970."""

    id: str
    title: str
    turn_count: int
    created_at: float
    updated_at: float
    pinned: bool = False
    branched_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A turn in which the words were found; `by` is who said it."""

    turn: int
    by: str
    snippet: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A thread that a search found: in these turns and `more` further ones, or, without any, in its title."""

    id: str
    title: str
    updated_at: float
    hits: tuple[Hit, ...]
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A new thread that begins as another one did, up to its turn `last_turn`."""

    id: str
    title: str
    branched_from: str
    last_turn: int


class Archive:
    """One user's stored threads. Nothing here sees or touches another user's.

    Args:
        conversations: where the threads are, and for how long.
        user_id: whose.
    """

    def __init__(self, conversations: Conversations, *, user_id: str) -> None:
        self._conversations = conversations
        self._user_id = user_id

    async def list(self, *, limit: int = 50) -> tuple[ThreadSummary, ...]:
        """The threads, the last used first."""
        user_id, oldest = self._user_id, self._conversations.oldest
        rows = await self._conversations.database.run(
            lambda transaction: sql.summaries(transaction, user_id=user_id, oldest=oldest, limit=limit)
        )
        return tuple(_summary(row) for row in rows)

    async def search(self, text: str, *, limit: int = 20) -> tuple[Found, ...]:
        """The threads of which a turn or the title holds every word of `text`, in any case; the last used first.

        Raises:
            InvalidArguments: no words, or too many.
        """
        words = text.split()
        if not 0 < len(words) <= MOST_WORDS:
            problem = (
                f"'{text[:40]}' has {len(words)} words to search for." if words else "There is nothing to search for."
            )
            raise InvalidArguments(problem, f"Give 1 to {MOST_WORDS} words; a turn must hold all of them.")
        spelled = [_spellings(word) for word in words]
        user_id, oldest = self._user_id, self._conversations.oldest

        def work(transaction: Transaction) -> tuple[Sequence[Row], Sequence[Row]]:
            return (
                sql.search_titles(transaction, spelled, user_id=user_id, oldest=oldest, limit=limit),
                sql.search_turns(transaction, spelled, user_id=user_id, oldest=oldest, limit=_MOST_ROWS),
            )

        titles, turns = await self._conversations.database.run(work)
        return _grouped(titles, turns, words)[:limit]

    async def branch(self, continuation_id: str, *, turn: int | None = None, title: str = "") -> Branch:
        """Start a new thread with the history of another up to a turn; the other stays as it is.

        The round of that turn is kept whole, so that the messages are those that were sent, byte for byte.

        Args:
            continuation_id: the thread to branch.
            turn: its last turn to keep; None: all.
            title: of the new thread; empty: the old one's.

        Raises:
            UnknownThread: there is none, or it is another user's.
            InvalidArguments: it has no such turn.
        """
        now = self._conversations.clock()

        def work(transaction: Transaction, row: Row) -> Branch:
            source = str(row["id"])
            last = _end_of_round(sql.turns_of(transaction, source), turn, source)
            named = title_of(title) or str(row["title"])
            target = new_thread_id()
            sql.touch_thread(transaction, thread_id=target, user_id=self._user_id, title=named, now=now)
            sql.set_branched_from(transaction, thread_id=target, source=source)
            sql.copy_turns(transaction, source=source, target=target, last=last)
            return Branch(id=target, title=named, branched_from=source, last_turn=last)

        return await self._with_thread(continuation_id, work)

    async def rename(self, continuation_id: str, title: str) -> tuple[str, str]:
        """Give a thread another title; its id and the title.

        Raises:
            UnknownThread: there is none, or it is another user's.
            InvalidArguments: the title is empty.
        """
        named = title_of(title)
        if not named:
            raise InvalidArguments("The new title is empty.", "Give a few words.")

        def work(transaction: Transaction, row: Row) -> tuple[str, str]:
            sql.set_title(transaction, thread_id=str(row["id"]), title=named)
            return str(row["id"]), named

        return await self._with_thread(continuation_id, work)

    async def pin(self, continuation_id: str, *, pinned: bool = True) -> str:
        """Keep a thread for good, or no longer; its id.

        Raises:
            UnknownThread: there is none, or it is another user's.
        """

        def work(transaction: Transaction, row: Row) -> str:
            sql.set_pinned(transaction, thread_id=str(row["id"]), pinned=pinned)
            return str(row["id"])

        return await self._with_thread(continuation_id, work)

    async def delete(self, continuation_id: str) -> str:
        """Remove a thread; its id.

        Raises:
            UnknownThread: there is none, or it is another user's.
        """

        def work(transaction: Transaction, row: Row) -> str:
            sql.delete_thread(transaction, thread_id=str(row["id"]), user_id=self._user_id)
            return str(row["id"])

        return await self._with_thread(continuation_id, work)

    async def _with_thread(self, continuation_id: str, work: Callable[[Transaction, Row], Result]) -> Result:
        """Find the user's thread and do something with it, in one transaction."""
        oldest = self._conversations.oldest

        def find_and_work(transaction: Transaction) -> Result:
            row = sql.find_thread(transaction, continuation_id, user_id=self._user_id, oldest=oldest)
            if row is None:
                raise self._conversations.unknown(continuation_id)
            return work(transaction, row)

        return await self._conversations.database.run(find_and_work)


def _summary(row: Row) -> ThreadSummary:
    return ThreadSummary(
        id=str(row["id"]),
        title=str(row["title"]),
        turn_count=cast("int", row["turn_count"]),
        created_at=cast("float", row["created_at"]),
        updated_at=cast("float", row["updated_at"]),
        pinned=bool(row["pinned"]),
        branched_from=cast("str | None", row["branched_from"]),
    )


def _spellings(word: str) -> tuple[str, ...]:
    """A word as it may stand in a text of which the database has lowered the letters it knows.

    SQLite's LOWER knows the letters of ASCII alone; of others, the three usual spellings are looked for.
    """
    lower = word.lower()
    if lower.isascii():
        return (lower,)
    usual = (lower, lower.capitalize(), lower.upper())
    return tuple(dict.fromkeys("".join(c.lower() if c.isascii() else c for c in text) for text in usual))


def _grouped(titles: Sequence[Row], turns: Sequence[Row], words: Sequence[str]) -> tuple[Found, ...]:
    """What was found in titles and turns, by thread, the last used first."""
    named: dict[str, Row] = {}
    said: dict[str, list[Row]] = {}
    for row in (*titles, *turns):
        named.setdefault(str(row["id"]), row)
    for row in turns:
        said.setdefault(str(row["id"]), []).append(row)
    found = [
        Found(
            id=thread_id,
            title=str(row["title"]),
            updated_at=cast("float", row["updated_at"]),
            hits=tuple(_hit(turn, words) for turn in said.get(thread_id, [])[:_MOST_HITS_OF_A_THREAD]),
            more=max(len(said.get(thread_id, [])) - _MOST_HITS_OF_A_THREAD, 0),
        )
        for thread_id, row in named.items()
    ]
    return tuple(sorted(found, key=lambda one: (-one.updated_at, one.id)))


def _hit(row: Row, words: Sequence[str]) -> Hit:
    return Hit(
        turn=cast("int", row["number"]),
        by=str(row["model"] or row["role"]),
        snippet=_snippet(str(row["text"]), words),
    )


def _snippet(text: str, words: Sequence[str]) -> str:
    """The text around the first word that stands in it, on one line."""
    places = [place.start() for word in words if (place := re.search(re.escape(word), text, re.IGNORECASE))]
    start = max(min(places, default=0) - _SNIPPET_BEFORE, 0)
    end = start + _SNIPPET_BEFORE + _SNIPPET_AFTER
    middle = " ".join(text[start:end].split())
    return f"{'…' if start else ''}{middle}{'…' if end < len(text) else ''}"


def _end_of_round(turns: Sequence[Row], turn: int | None, thread_id: str) -> int:
    """The number of the last turn of the round that `turn` belongs to."""
    numbers = [cast("int", row["number"]) for row in turns]
    if turn is None:
        return numbers[-1] if numbers else 0
    if turn not in numbers:
        raise InvalidArguments(f"'turn' {turn} is not in thread '{thread_id}'.", f"It has turns 1 to {len(turns)}.")
    questions = [cast("int", row["number"]) for row in turns if row["role"] == "user"]
    return min((number for number in questions if number > turn), default=numbers[-1] + 1) - 1
