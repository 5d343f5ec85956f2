"""Training examples: made of threads, and checked before they are paid for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from zen_mcp.conversations import Thread, Turn
from zen_mcp.errors import InvalidArguments
from zen_mcp.tools.files.secrets import redact
from zen_mcp.tools.tokens import count_tokens

FEWEST = 10
"""OpenAI trains with no fewer."""
EPOCHS = 3
"""How often vendors usually go through the examples."""
_SHOWN = 10
_ROLES = {"system", "user", "assistant"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Examples as JSONL, how many there are, their tokens, and how many secrets were replaced."""

    text: str
    count: int
    tokens: int
    secrets: int = 0

    def in_words(self, dollars_per_million: float | None = None) -> str:
        """`24 examples, 8,120 tokens, about 24,360 trained in 3 rounds, about $0.20`."""
        trained = self.tokens * EPOCHS
        cost = (
            "price unknown (--price)"
            if dollars_per_million is None
            else f"about ${trained * dollars_per_million / 1e6:,.2f}"
        )
        hidden = f", {self.secrets:,} secrets replaced" if self.secrets else ""
        rounds = f"about {trained:,} trained in {EPOCHS} rounds"
        return f"{self.count:,} examples, {self.tokens:,} tokens, {rounds}, {cost}{hidden}"


def examples_of(threads: Iterable[Thread]) -> Examples:
    """One example for each thread that has one: its rounds with a single answer, secrets replaced. Slow: for a thread.

    Raises:
        InvalidArguments: there are too few.
    """
    rows: list[str] = []
    secrets = tokens = 0
    for thread in threads:
        messages: list[dict[str, str]] = []
        for question, answer in _rounds(thread.turns):
            for turn in (question, answer):
                clean = redact(_text(turn))
                secrets += sum(clean.found.values())
                messages.append({"role": turn.role, "content": clean.text})
        if messages:
            rows.append(json.dumps({"messages": messages}, ensure_ascii=False))
            tokens += _tokens(messages)
    if len(rows) < FEWEST:
        raise InvalidArguments(
            f"{len(rows)} threads make an example; vendors train with {FEWEST} or more.", "Choose more threads."
        )
    return Examples(text="\n".join(rows) + "\n", count=len(rows), tokens=tokens, secrets=secrets)


def checked(raw: bytes) -> Examples:
    """A training file in OpenAI's chat format. Slow: for a thread.

    Raises:
        InvalidArguments: names each broken line by its number, or there are too few.
    """
    rows, faults, tokens = list[str](), list[str](), 0
    for number, row in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not row.strip():
            continue
        found = _messages(row)
        if isinstance(found, str):
            faults.append(f"line {number}: {found}")
        else:
            rows.append(row.decode().strip())
            tokens += _tokens(found)
    if faults:
        more = f"; and {len(faults) - _SHOWN:,} more" if len(faults) > _SHOWN else ""
        text = f"{len(faults):,} lines are no examples: {'; '.join(faults[:_SHOWN])}{more}."
        raise InvalidArguments(
            text, 'Each is {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", …}]}.'
        )
    if len(rows) < FEWEST:
        raise InvalidArguments(f"There are {len(rows)} examples; vendors train with {FEWEST} or more.", "Add some.")
    return Examples(text="\n".join(rows) + "\n", count=len(rows), tokens=tokens)


def _messages(row: bytes) -> list[dict[str, str]] | str:
    """The messages of a line, or what is wrong with it."""
    try:
        value: Any = json.loads(row)
    except (ValueError, RecursionError):
        return "it is not JSON"
    messages = cast("dict[str, Any]", value).get("messages") if isinstance(value, dict) else None
    if not isinstance(messages, list) or not messages:
        return "it has no 'messages'"
    for message in cast("list[Any]", messages):
        entry = cast("dict[str, Any]", message) if isinstance(message, dict) else {}
        if entry.get("role") not in _ROLES:
            return f"a role is {str(entry.get('role'))[:20]!r}, not system, user or assistant"
        if not isinstance(entry.get("content"), str) or not entry["content"].strip():
            return "a message has no text"
    kept = cast("list[dict[str, str]]", messages)
    if kept[-1]["role"] != "assistant":
        return "its last message is not the assistant's"
    return kept if any(message["role"] == "user" for message in kept) else "nothing is asked in it"


def _rounds(turns: Sequence[Turn]) -> list[tuple[Turn, Turn]]:
    """Each question with its answer; those of a panel have several, of which none is the right one."""
    rounds: list[tuple[Turn, list[Turn]]] = []
    for turn in turns:
        if turn.role == "user":
            rounds.append((turn, []))
        elif turn.role == "assistant" and rounds:
            rounds[-1][1].append(turn)
    return [(question, answers[0]) for question, answers in rounds if len(answers) == 1]


def _text(turn: Turn) -> str:
    files = [f'<file path="{file.path}">\n{file.text}\n</file>' for file in turn.files]
    return "\n\n".join([*files, turn.text])


def _tokens(messages: Sequence[dict[str, str]]) -> int:
    return count_tokens("\n".join(message["content"] for message in messages))
