"""What a job is, as its owner sees it."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from zen_mcp.types import JSONObject

JobState = Literal["waiting", "running", "done", "failed", "cancelled"]
ENDED: frozenset[JobState] = frozenset({"done", "failed", "cancelled"})

_ID_BYTES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """Work to be done.

    Attributes:
        kind: which handler does it ("call", "batch").
        user_id: whose it is.
        title: one line for lists.
        spec: all that the handler needs, as JSON, because another process may do it.
    """

    kind: str
    user_id: str
    title: str
    spec: JSONObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it stands; times in seconds since 1970.

    `progress` is the last line it told. `result` is there when it is done, `error` (kind, problem, fix) when it failed.
    `questions` are those that its client has not answered, `answers` what it has, `rounds` how often it was asked.
    """

    id: str
    kind: str
    user_id: str
    title: str
    state: JobState
    created_at: float
    ended_at: float | None = None
    progress: str = ""
    result: JSONObject | None = None
    error: JSONObject | None = None
    changed_at: float = 0.0
    questions: Mapping[str, JSONObject] = field(default_factory=dict[str, JSONObject])
    answers: Mapping[str, JSONObject] = field(default_factory=dict[str, JSONObject])
    rounds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """A job as its handler sees it. It may have been begun before, by a process that died."""

    id: str
    user_id: str
    spec: JSONObject
    tell: Callable[[str], Awaitable[None]]
    """Notes one line of progress."""


Handler: TypeAlias = Callable[[JobRun], Awaitable[JSONObject]]
Handlers: TypeAlias = Mapping[str, Handler]


def new_job_id() -> str:
    """An id that cannot be guessed: `j-` and 80 random bits."""
    return "j-" + base64.b32encode(secrets.token_bytes(_ID_BYTES)).decode().lower()
