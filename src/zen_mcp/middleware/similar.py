"""Finds a remembered answer to a question that means the same, though it is put in other words.

Vectors alone are not safe: "celsius to fahrenheit" and "fahrenheit to celsius" are alike to 0.99, "should we" and
"should we not" to 0.97 (measured with the model in `providers/embedding.py`). So the words decide, too: the numbers,
names and negations of both questions must be the same, and the words that both have must come in the same order.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import anyio

from zen_mcp.errors import StorageError
from zen_mcp.observability.logs import EventLog
from zen_mcp.providers.embedding import likeness
from zen_mcp.storage.similar import RememberedQuestion
from zen_mcp.types import Message, ModelRequest

_log = EventLog()

LONGEST_QUESTION_CHARACTERS = 500
"""A longer question is not compared: the vector of a long text says too little."""
_WORD = re.compile(r"[\w.+#/\\-]*\w[+#]*|[+*/%<>=^&|!-]+")
_NEGATIONS = frozenset({"not", "no", "never", "without", "cannot", "none", "neither", "nor", "except", "but"})
_CONTRACTED = re.compile(r"n['\u2019]t\b", re.IGNORECASE)


class SimilarStore(Protocol):
    """Where remembered questions are kept, by scope."""

    async def load(self, scope: str) -> Sequence[RememberedQuestion]:
        """Those of a scope, the newest first. Raises StorageError."""
        ...

    async def store(self, scope: str, question: RememberedQuestion, *, seconds: float) -> None:
        """Keep one for so long. Raises StorageError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A remembered question that means the same: the key of its answer, its words, how alike they are (0 to 1)."""

    key: str
    question: str
    likeness: float


class SimilarQuestions:
    """The second chance of the response cache.

    Args:
        store: where the questions are kept.
        embed: a text's vector of length 1; blocks, so it is called in a thread.
        threshold: how alike two questions must be, 0 to 1.
        seconds: how long a question is kept.
        key_of: what makes two requests the same (`middleware.cache.key_of` under the settings of the moment).
    """

    def __init__(
        self,
        store: SimilarStore,
        *,
        embed: Callable[[str], bytes],
        threshold: float,
        seconds: float,
        key_of: Callable[[ModelRequest], str],
    ) -> None:
        self._store = store
        self._embed = embed
        self._threshold = threshold
        self._seconds = seconds
        self._key_of = key_of

    async def find(self, request: ModelRequest) -> Found | None:
        """The most alike question whose answer may be given; None when none is near enough."""
        question = _question_of(request)
        if question is None:
            return None
        try:
            remembered = await self._store.load(self._scope(request))
        except StorageError as exc:
            _log.warning("similar_not_read", reason=exc.problem)
            return None
        fitting = [one for one in remembered if same_in_words(question, one.question)]
        if not fitting:
            return None
        vector = await anyio.to_thread.run_sync(self._embed, question)
        best = max(fitting, key=lambda one: likeness(vector, one.vector))
        alike = likeness(vector, best.vector)
        return Found(key=best.key, question=best.question, likeness=alike) if alike >= self._threshold else None

    async def remember(self, request: ModelRequest, key: str) -> None:
        """Keep the question of an answer that is remembered under `key`."""
        question = _question_of(request)
        if question is None:
            return
        vector = await anyio.to_thread.run_sync(self._embed, question)
        entry = RememberedQuestion(key=key, question=question, vector=vector)
        try:
            await self._store.store(self._scope(request), entry, seconds=self._seconds)
        except StorageError as exc:
            _log.warning("similar_not_written", reason=exc.problem)

    def _scope(self, request: ModelRequest) -> str:
        """Everything but the question: who asks, the model, what was said before, every parameter."""
        *before, last = request.messages
        bare = replace(request, messages=(*before, replace(last, text="")))
        return hashlib.sha256(json.dumps(["similar", self._key_of(bare)]).encode()).hexdigest()


def same_in_words(one: str, other: str) -> bool:
    """Whether two questions name the same things, deny the same, and say what both say in the same order."""
    left, right = _words(one), _words(other)
    if sorted(filter(_is_hard, left)) != sorted(filter(_is_hard, right)):
        return False
    both = set(left) & set(right)
    return [word for word in left if word in both] == [word for word in right if word in both]


def _words(text: str) -> list[str]:
    """The words as they are compared: names and code as written, others in lower case."""
    words = _WORD.findall(_CONTRACTED.sub(" not", text))
    return [word if _is_name(word, first=number == 0) else word.lower() for number, word in enumerate(words)]


def _is_name(word: str, *, first: bool) -> bool:
    """Whether a word is a name or code: capitals (not of the first word alone), digits, marks inside."""
    inner = word[1:] if first else word
    return any(mark.isupper() or mark.isdigit() or mark in "_.#+/\\*%<>=^&|!" for mark in inner)


def _is_hard(word: str) -> bool:
    """A word that may not differ."""
    return word in _NEGATIONS or _is_name(word, first=False)


def _question_of(request: ModelRequest) -> str | None:
    """The text that is compared; None for a request whose last message is long or has images."""
    last: Message = request.messages[-1]
    short = len(last.text) <= LONGEST_QUESTION_CHARACTERS
    return last.text if short and not last.images and last.role == "user" else None
