"""Threads: what was said, kept, and sent again so that vendors' prompt caches hit."""

from __future__ import annotations

import base64
import hashlib
import math
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from zen_mcp.errors import UnknownThread
from zen_mcp.figures import estimate_tokens
from zen_mcp.sent_files import File, SentFiles
from zen_mcp.storage import threads as sql
from zen_mcp.storage.base import Database, Row, SQLValue, Transaction
from zen_mcp.types import Image, Message, Role, Usage

_ID_BYTES = 10
_TITLE_CHARACTERS = 80
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file of a turn."""

    path: str
    text: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: the prompt, and the files and images that go with it.

    `notes`: what of the files was left out or changed, for the caller. `surplus_tokens`: by how much an estimate of
    the files is above their real number.
    """

    text: str
    tool: str
    files: Sequence[File] = ()
    images: Sequence[Image] = ()
    notes: tuple[str, ...] = ()
    surplus_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one model answered, as it is stored."""

    text: str
    model: str
    vendor: str
    stance: str | None = None
    usage: Usage | None = None
    cost_dollars: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One stored message. `number` counts from 1 within the thread; `model` is None for what the caller said."""

    number: int
    role: Role
    tool: str
    text: str
    model: str | None = None
    vendor: str | None = None
    stance: str | None = None
    files: tuple[StoredFile, ...] = ()
    images: tuple[Image, ...] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_dollars: float | None = None
    seconds: float | None = None
    created_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """A conversation as it was when it was opened; times in seconds since 1970, 0 for one not yet stored."""

    id: str
    user_id: str
    title: str = ""
    turns: tuple[Turn, ...] = ()
    created_at: float = 0.0
    updated_at: float = 0.0
    branched_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What is sent: messages oldest first, the new question last.

    `left_out_turns`: how many of the oldest turns did not fit. `over_budget`: the question alone does not fit.
    """

    messages: tuple[Message, ...]
    tokens: int
    left_out_turns: int
    over_budget: bool


class Conversations:
    """The threads of all users.

    Args:
        database: where they are kept.
        retention_days: threads unused for longer are removed, unless they are pinned; 0 or None: none ever is.
        clock: seconds since 1970.
    """

    def __init__(
        self, database: Database, *, retention_days: float | None = 30, clock: Callable[[], float] = time.time
    ) -> None:
        self.database = database
        self.clock = clock
        self._retention_days = retention_days

    @property
    def oldest(self) -> float:
        """The moment before which an unused thread has expired; 0 when none does."""
        return self.clock() - self._retention_days * _DAY_SECONDS if self._retention_days else 0.0

    async def open(self, continuation_id: str | None, *, user_id: str) -> Thread:
        """The user's thread of that id; a new one, not yet stored, for None.

        Raises:
            UnknownThread: there is none, it is another user's, or it was unused for too long.
        """
        if continuation_id is None:
            return Thread(id=new_thread_id(), user_id=user_id)
        oldest = self.oldest
        thread = await self.database.run(lambda transaction: _load(transaction, continuation_id, user_id, oldest))
        if thread is None:
            raise self.unknown(continuation_id)
        return thread

    def unknown(self, continuation_id: str) -> UnknownThread:
        """The error for an id that finds nothing."""
        gone = f"; threads unused for {self._retention_days:g} days are removed" if self._retention_days else ""
        return UnknownThread(
            f"There is no thread '{continuation_id.strip()[:40]}'{gone}.",
            "Leave continuation_id out to start a new thread; the threads tool lists yours.",
        )

    async def append(self, thread: Thread, question: Question, answers: Sequence[Answer]) -> tuple[int, ...]:
        """Store a question and its answers together, behind whatever was stored meanwhile.

        Returns:
            The numbers of the new turns: the question's, then one per answer.
        """
        now = self.clock()
        return await self.database.run(lambda transaction: _store(transaction, thread, question, answers, now))

    async def expire(self) -> int:
        """Remove threads unused for longer than the retention time; how many."""
        oldest = self.oldest
        return await self.database.run(lambda transaction: sql.delete_unused_since(transaction, oldest))


def new_thread_id() -> str:
    """An id that cannot be guessed: `t-` and 80 random bits."""
    bits = secrets.token_bytes(_ID_BYTES)
    return "t-" + base64.b32encode(bits).decode().lower()


def title_of(text: str) -> str:
    """The beginning of a text, on one line."""
    return " ".join(text.split())[:_TITLE_CHARACTERS]


def history(
    thread: Thread, question: Question, *, model: str | None, budget_tokens: int, surplus_tokens: int = 0
) -> History:
    """The messages to send to `model`: a pure function of what is stored, so that their prefix never changes.

    Every question is its files, then its text. A file is sent where it first appeared with its newest content; where
    it stood with older content, one line says so. Of a panel's round a member gets its own answer back; others get
    all answers of the round in one message, each under its model's name.

    When the messages pass `budget_tokens`, whole rounds are left out from the oldest on, in steps of half the budget:
    the cut stays where it is for many turns, and so does the prefix. The question counts `surplus_tokens` less than
    estimated.
    """
    rounds = _rounds(thread)
    sent = SentFiles([*(file for turn in thread.turns for file in turn.files), *question.files])
    messages = [_round_messages(turns, model, sent) for turns in rounds]
    asked = _user_message(question, sent)
    sizes = [sum(_size(message) for message in part) for part in messages]
    question_size = _size(asked) - surplus_tokens
    cut = _cut(sizes, budget_tokens - question_size, max(budget_tokens // 2, 1))
    if cut:
        # What stood in a round left out counts as not sent: a file named again goes with the question.
        sent.start_over()
        messages = [_round_messages(turns, model, sent) for turns in rounds[cut:]]
        asked = _user_message(question, sent)
        sizes = [0] * cut + [sum(_size(message) for message in part) for part in messages]
        question_size = _size(asked) - surplus_tokens
        messages = [list[Message]()] * cut + messages
    kept = [message for part in messages[cut:] for message in part]
    total = sum(sizes[cut:]) + question_size
    left_out = sum(len(turns) for turns in rounds[:cut])
    return History(
        messages=(*kept, asked),
        tokens=total,
        left_out_turns=left_out,
        over_budget=question_size > budget_tokens,
    )


def _cut(sizes: Sequence[int], budget: int, step: int) -> int:
    """How many of the oldest rounds to leave out: the overrun, rounded up to a multiple of `step`."""
    overrun = sum(sizes) - budget
    if overrun <= 0:
        return 0
    wanted = math.ceil(overrun / step) * step
    dropped = 0
    for index, size in enumerate(sizes):
        if dropped >= wanted:
            return index
        dropped += size
    return len(sizes)


def _rounds(thread: Thread) -> list[list[Turn]]:
    """The turns in rounds: a question and the answers to it."""
    rounds: list[list[Turn]] = []
    for turn in thread.turns:
        if turn.role == "user" or not rounds:
            rounds.append([])
        rounds[-1].append(turn)
    return rounds


def _round_messages(turns: Sequence[Turn], model: str | None, sent: SentFiles) -> list[Message]:
    messages = [_user_message(turn, sent) for turn in turns if turn.role == "user"]
    answers = [turn for turn in turns if turn.role == "assistant"]
    own = [turn for turn in answers if turn.model == model]
    if own:
        messages.append(Message(role="assistant", text=own[0].text))
    elif len(answers) == 1:
        messages.append(Message(role="assistant", text=answers[0].text))
    elif answers:
        merged = "\n\n".join(
            f"[{turn.model}{f', {turn.stance}' if turn.stance else ''}]\n{turn.text}" for turn in answers
        )
        messages.append(Message(role="assistant", text=merged))
    return messages


def _user_message(asked: Question | Turn, sent: SentFiles) -> Message:
    parts = [sent.part(file) for file in asked.files]
    return Message(role="user", text="\n\n".join([*parts, asked.text]), images=tuple(asked.images))


def _size(message: Message) -> int:
    return estimate_tokens(message.text, images=len(message.images))


def _load(transaction: Transaction, continuation_id: str, user_id: str, oldest: float) -> Thread | None:
    row = sql.find_thread(transaction, continuation_id, user_id=user_id, oldest=oldest)
    if row is None:
        return None
    thread_id = str(row["id"])
    attached: dict[int, list[Row]] = {}
    for attachment in sql.attachments_of(transaction, thread_id):
        attached.setdefault(cast("int", attachment["number"]), []).append(attachment)
    return Thread(
        id=thread_id,
        user_id=user_id,
        title=str(row["title"]),
        turns=tuple(
            _turn(turn, attached.get(cast("int", turn["number"]), [])) for turn in sql.turns_of(transaction, thread_id)
        ),
        created_at=cast("float", row["created_at"]),
        updated_at=cast("float", row["updated_at"]),
        branched_from=cast("str | None", row["branched_from"]),
    )


def _turn(row: Row, attached: Sequence[Row]) -> Turn:
    return Turn(
        number=cast("int", row["number"]),
        role=cast("Role", row["role"]),
        tool=str(row["tool"]),
        text=str(row["text"]),
        model=cast("str | None", row["model"]),
        vendor=cast("str | None", row["vendor"]),
        stance=cast("str | None", row["stance"]),
        files=tuple(
            StoredFile(path=str(entry["name"]), text=str(entry["text"]), sha256=str(entry["sha256"]))
            for entry in attached
            if entry["kind"] == "text"
        ),
        images=tuple(
            Image(mime_type=str(entry["name"]), data_base64=str(entry["text"]))
            for entry in attached
            if entry["kind"] == "image"
        ),
        input_tokens=cast("int | None", row["input_tokens"]),
        output_tokens=cast("int | None", row["output_tokens"]),
        cost_dollars=cast("float | None", row["cost_dollars"]),
        seconds=cast("float | None", row["seconds"]),
        created_at=cast("float", row["created_at"]),
    )


def _store(
    transaction: Transaction, thread: Thread, question: Question, answers: Sequence[Answer], now: float
) -> tuple[int, ...]:
    title = title_of(question.text)
    last = sql.touch_thread(transaction, thread_id=thread.id, user_id=thread.user_id, title=title, now=now)
    number = last + 1
    asked: dict[str, SQLValue] = {"role": "user", "tool": question.tool, "text": question.text}
    sql.insert_turn(transaction, thread_id=thread.id, number=number, now=now, values=asked)
    attachments = [("text", file.path, file.text) for file in question.files]
    attachments += [("image", image.mime_type, image.data_base64) for image in question.images]
    for position, (kind, name, text) in enumerate(attachments):
        digest = hashlib.sha256(text.encode()).hexdigest()
        sql.insert_attachment(
            transaction,
            thread_id=thread.id,
            number=number,
            position=position,
            kind=kind,
            name=name,
            sha256=digest,
            text=text,
        )
    for offset, answer in enumerate(answers, start=1):
        sql.insert_turn(
            transaction,
            thread_id=thread.id,
            number=number + offset,
            now=now,
            values=_values(question.tool, answer),
        )
    return tuple(range(number, number + 1 + len(answers)))


def _values(tool: str, answer: Answer) -> dict[str, SQLValue]:
    usage = answer.usage
    return {
        "role": "assistant",
        "tool": tool,
        "model": answer.model,
        "vendor": answer.vendor,
        "stance": answer.stance,
        "text": answer.text,
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "cost_dollars": answer.cost_dollars,
        "seconds": answer.seconds,
    }
