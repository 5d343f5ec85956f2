"""Threads in SQL: plain statements that SQLite and Postgres both understand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zen_mcp.storage.base import Row, SQLValue, Transaction

_TURN_COLUMNS = (
    "role", "tool", "model", "vendor", "stance", "text", "input_tokens", "output_tokens", "cost_dollars", "seconds",
)  # fmt: skip

_INSERT_TURN = (
    f"INSERT INTO turns (thread_id, number, created_at, {', '.join(_TURN_COLUMNS)}) "  # noqa: S608 - fixed names
    f"VALUES (:thread_id, :number, :created_at, {', '.join(':' + name for name in _TURN_COLUMNS)})"
)


_ALIVE = "(t.pinned = 1 OR t.updated_at >= :oldest)"
"""Not expired: used since the moment `:oldest`, or kept for good."""


_LONGEST_ID = 64
_SHORTEST_BEGINNING = 10
_AROUND_AN_ID = " \t\r\n\"'`´“”‘’«»<>()[]{}.,;:…"  # noqa: RUF001 - they look alike, which is why
"""What clients and models put around an id when they quote or shorten it."""
_ADDRESS = "zen://threads/"


def find_thread(transaction: Transaction, thread_id: str, *, user_id: str, oldest: float) -> Row | None:
    """The user's thread by its id as models hand it back: in quotes, in another case, as an address, cut short.

    None when there is none, when it was last used before `oldest` and is not pinned, or when several begin so.
    """
    wanted = thread_id.strip(_AROUND_AN_ID).lower().removeprefix(_ADDRESS)
    if not wanted or len(wanted) > _LONGEST_ID:
        return None
    beginning = like(wanted) + ("%" if len(wanted) >= _SHORTEST_BEGINNING else "")
    found = transaction.rows(
        "SELECT t.id, t.title, t.created_at, t.updated_at, t.pinned, t.branched_from FROM threads t "  # noqa: S608 - fixed
        f"WHERE t.user_id = :user_id AND {_ALIVE} AND (t.id = :id OR t.id LIKE :beginning ESCAPE '!') LIMIT 3",
        {"id": wanted, "beginning": beginning, "user_id": user_id, "oldest": oldest},
    )
    exact = [row for row in found if row["id"] == wanted]
    return exact[0] if exact else found[0] if len(found) == 1 else None


def turns_of(transaction: Transaction, thread_id: str) -> Sequence[Row]:
    """All turns of a thread, oldest first."""
    return transaction.rows("SELECT * FROM turns WHERE thread_id = :id ORDER BY number", {"id": thread_id})


def attachments_of(transaction: Transaction, thread_id: str) -> Sequence[Row]:
    """All files and images of a thread's turns, with their content, in order."""
    return transaction.rows(
        "SELECT a.number, a.kind, a.name, a.sha256, c.text FROM attachments a JOIN contents c ON c.sha256 = a.sha256 "
        "WHERE a.thread_id = :id ORDER BY a.number, a.position",
        {"id": thread_id},
    )


def touch_thread(transaction: Transaction, *, thread_id: str, user_id: str, title: str, now: float) -> int:
    """Make the thread when it is new, note its use, and return the number of its last turn (0: none)."""
    transaction.execute(
        "INSERT INTO threads (id, user_id, title, created_at, updated_at) VALUES (:id, :user_id, :title, :now, :now) "
        "ON CONFLICT (id) DO UPDATE SET updated_at = :now",
        {"id": thread_id, "user_id": user_id, "title": title, "now": now},
    )
    last = transaction.rows("SELECT MAX(number) AS last FROM turns WHERE thread_id = :id", {"id": thread_id})[0]["last"]
    return last if isinstance(last, int) else 0


def insert_turn(
    transaction: Transaction, *, thread_id: str, number: int, now: float, values: Mapping[str, SQLValue]
) -> None:
    """Store one turn; `values` may leave out what is unknown."""
    known = dict.fromkeys(_TURN_COLUMNS, None) | dict(values)
    transaction.execute(_INSERT_TURN, {"thread_id": thread_id, "number": number, "created_at": now, **known})


def insert_attachment(
    transaction: Transaction,
    *,
    thread_id: str,
    number: int,
    position: int,
    kind: str,
    name: str,
    sha256: str,
    text: str,
) -> None:
    """Store a file or image of a turn; the same content is kept once."""
    transaction.execute(
        "INSERT INTO contents (sha256, text) VALUES (:sha256, :text) ON CONFLICT (sha256) DO NOTHING",
        {"sha256": sha256, "text": text},
    )
    transaction.execute(
        "INSERT INTO attachments (thread_id, number, position, kind, name, sha256) "
        "VALUES (:thread_id, :number, :position, :kind, :name, :sha256)",
        {
            "thread_id": thread_id,
            "number": number,
            "position": position,
            "kind": kind,
            "name": name,
            "sha256": sha256,
        },
    )


def summaries(transaction: Transaction, *, user_id: str, oldest: float, limit: int) -> Sequence[Row]:
    """The user's threads, the last used first, with the count of their turns."""
    return transaction.rows(
        "SELECT t.id, t.title, t.created_at, t.updated_at, t.pinned, t.branched_from, "  # noqa: S608 - fixed words
        "(SELECT COUNT(*) FROM turns WHERE thread_id = t.id) AS turn_count "
        f"FROM threads t WHERE t.user_id = :user_id AND {_ALIVE} ORDER BY t.updated_at DESC, t.id LIMIT :limit",
        {"user_id": user_id, "oldest": oldest, "limit": limit},
    )


def search_titles(
    transaction: Transaction, words: Sequence[Sequence[str]], *, user_id: str, oldest: float, limit: int
) -> Sequence[Row]:
    """The user's threads whose title holds every word; of each word, any of its spellings."""
    condition, values = _every_word("t.title", words)
    return transaction.rows(
        "SELECT t.id, t.title, t.updated_at FROM threads t "  # noqa: S608 - words are parameters
        f"WHERE t.user_id = :user_id AND {_ALIVE} AND {condition} ORDER BY t.updated_at DESC, t.id LIMIT :limit",
        {"user_id": user_id, "oldest": oldest, "limit": limit, **values},
    )


def search_turns(
    transaction: Transaction, words: Sequence[Sequence[str]], *, user_id: str, oldest: float, limit: int
) -> Sequence[Row]:
    """The turns of the user's threads whose text holds every word; of each word, any of its spellings."""
    condition, values = _every_word("n.text", words)
    return transaction.rows(
        "SELECT t.id, t.title, t.updated_at, n.number, n.role, n.model, n.text "  # noqa: S608 - words are parameters
        "FROM threads t JOIN turns n ON n.thread_id = t.id "
        f"WHERE t.user_id = :user_id AND {_ALIVE} AND {condition} "
        "ORDER BY t.updated_at DESC, t.id, n.number LIMIT :limit",
        {"user_id": user_id, "oldest": oldest, "limit": limit, **values},
    )


def like(text: str) -> str:
    """A text as a part of a LIKE pattern with the escape sign `!`."""
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def _every_word(column: str, words: Sequence[Sequence[str]]) -> tuple[str, dict[str, SQLValue]]:
    """A condition that each word stands in the column in one of its spellings, and its parameters."""
    values: dict[str, SQLValue] = {}
    conditions: list[str] = []
    for word, spellings in enumerate(words):
        names = [f"word_{word}_{index}" for index in range(len(spellings))]
        values.update({name: f"%{like(text)}%" for name, text in zip(names, spellings, strict=True)})
        conditions.append("(" + " OR ".join(f"LOWER({column}) LIKE :{name} ESCAPE '!'" for name in names) + ")")
    return " AND ".join(conditions), values


def copy_turns(transaction: Transaction, *, source: str, target: str, last: int) -> None:
    """Give one thread the turns of another up to `last`; they were paid there, so they cost nothing here."""
    values: dict[str, SQLValue] = {"source": source, "target": target, "last": last}
    transaction.execute(
        "INSERT INTO turns (thread_id, number, role, tool, model, vendor, stance, text, input_tokens, output_tokens, "
        "cost_dollars, seconds, created_at) "
        "SELECT :target, number, role, tool, model, vendor, stance, text, CASE WHEN role = 'assistant' THEN 0 END, "
        "CASE WHEN role = 'assistant' THEN 0 END, CASE WHEN role = 'assistant' THEN 0.0 END, seconds, created_at "
        "FROM turns WHERE thread_id = :source AND number <= :last",
        values,
    )
    transaction.execute(
        "INSERT INTO attachments (thread_id, number, position, kind, name, sha256) "
        "SELECT :target, number, position, kind, name, sha256 FROM attachments "
        "WHERE thread_id = :source AND number <= :last",
        values,
    )


def set_branched_from(transaction: Transaction, *, thread_id: str, source: str) -> None:
    """Note which thread it grew out of."""
    transaction.execute(
        "UPDATE threads SET branched_from = :source WHERE id = :id", {"id": thread_id, "source": source}
    )


def set_title(transaction: Transaction, *, thread_id: str, title: str) -> None:
    """Give a thread another title; it does not count as use."""
    transaction.execute("UPDATE threads SET title = :title WHERE id = :id", {"id": thread_id, "title": title})


def set_pinned(transaction: Transaction, *, thread_id: str, pinned: bool) -> None:
    """Keep a thread for good, or no longer."""
    transaction.execute("UPDATE threads SET pinned = :pinned WHERE id = :id", {"id": thread_id, "pinned": int(pinned)})


def delete_thread(transaction: Transaction, *, thread_id: str, user_id: str) -> bool:
    """Remove a thread with its turns; whether there was one."""
    gone = transaction.execute(
        "DELETE FROM threads WHERE id = :id AND user_id = :user_id", {"id": thread_id, "user_id": user_id}
    )
    _delete_orphans(transaction)
    return gone > 0


def delete_unused_since(transaction: Transaction, moment: float) -> int:
    """Remove every thread last used before `moment` that is not kept for good; how many."""
    gone = transaction.execute("DELETE FROM threads WHERE pinned = 0 AND updated_at < :moment", {"moment": moment})
    if gone:
        _delete_orphans(transaction)
    return gone


def _delete_orphans(transaction: Transaction) -> None:
    transaction.execute("DELETE FROM contents WHERE sha256 NOT IN (SELECT sha256 FROM attachments)")
