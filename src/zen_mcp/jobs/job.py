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

LEAST_KEPT_SECONDS = 60.0
"""So long a job is there after its end, however short it is wanted."""
BRIEF_PREFIX = "jt-"
"""By its id a job is found that is not kept for ever: SQLite cannot be asked for what else is known of jobs."""
_ID_BYTES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """Work to be done.

    Attributes:
        kind: which handler does it ("call", "batch").
        user_id: whose it is.
        title: one line for lists.
        spec: all that the handler needs, as JSON, because another process may do it.
        keep_seconds: how long it is wanted from now on; None for ever.
    """

    kind: str
    user_id: str
    title: str
    spec: JSONObject
    keep_seconds: float | None = None


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
    keep_seconds: float | None = None

    def is_over(self, now: float) -> bool:
        """Whether it has ended, and nobody wants it any more."""
        if self.keep_seconds is None or self.state not in ENDED:
            return False
        ended_at = self.ended_at or self.changed_at
        return now > max(self.created_at + self.keep_seconds, ended_at + LEAST_KEPT_SECONDS)


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


def new_job_id(*, brief: bool = False) -> str:
    """An id that cannot be guessed: `j-`, or `jt-` of a job that is not kept for ever, and 80 random bits."""
    return (BRIEF_PREFIX if brief else "j-") + base64.b32encode(secrets.token_bytes(_ID_BYTES)).decode().lower()
