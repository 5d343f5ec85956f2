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


def find_thread(transaction: Transaction, thread_id: str, user_id: str) -> Row | None:
    """The thread's row, None when it is not there or not the user's."""
    found = transaction.rows(
        "SELECT id, user_id, title, created_at, updated_at FROM threads WHERE id = :id AND user_id = :user_id",
        {"id": thread_id, "user_id": user_id},
    )
    return found[0] if found else None


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


def summaries(transaction: Transaction, *, user_id: str, limit: int) -> Sequence[Row]:
    """The user's threads, the last used first, with the count of their turns."""
    return transaction.rows(
        "SELECT t.id, t.title, t.created_at, t.updated_at, "
        "(SELECT COUNT(*) FROM turns WHERE thread_id = t.id) AS turn_count "
        "FROM threads t WHERE t.user_id = :user_id ORDER BY t.updated_at DESC, t.id LIMIT :limit",
        {"user_id": user_id, "limit": limit},
    )


def delete_thread(transaction: Transaction, *, thread_id: str, user_id: str) -> bool:
    """Remove a thread with its turns; whether there was one."""
    gone = transaction.execute(
        "DELETE FROM threads WHERE id = :id AND user_id = :user_id", {"id": thread_id, "user_id": user_id}
    )
    _delete_orphans(transaction)
    return gone > 0


def delete_unused_since(transaction: Transaction, moment: float) -> int:
    """Remove every thread last used before `moment`; how many."""
    gone = transaction.execute("DELETE FROM threads WHERE updated_at < :moment", {"moment": moment})
    if gone:
        _delete_orphans(transaction)
    return gone


def _delete_orphans(transaction: Transaction) -> None:
    transaction.execute("DELETE FROM contents WHERE sha256 NOT IN (SELECT sha256 FROM attachments)")
