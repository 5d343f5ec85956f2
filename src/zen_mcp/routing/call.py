"""What becomes of one model request while it is routed: its time, its failures, the text that has come."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import anyio

from zen_mcp.catalog.model import Model
from zen_mcp.errors import VendorTimeout, ZenError
from zen_mcp.types import Message, ModelRequest, ModelResponse

_CONTINUE = "Your answer was cut off. Go on exactly where it stopped; repeat nothing."


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A model that did not answer, and why."""

    model: Model
    error: ZenError


@dataclass(slots=True, kw_only=True)
class Call:
    """One model request under way.

    Attributes:
        deadline: on anyio's clock.
        requests: HTTP requests so far.
        text: what has arrived of the answer.
        writer: the model that wrote the text.
    """

    request: ModelRequest
    asked: Model
    seconds: float
    deadline: float = 0.0
    started: float = field(default_factory=time.perf_counter)
    requests: int = 0
    text: str = ""
    writer: Model | None = None
    failures: list[Failure] = field(default_factory=list[Failure])

    def __post_init__(self) -> None:
        self.deadline = anyio.current_time() + self.seconds

    @property
    def remaining_seconds(self) -> float:
        """Until the deadline."""
        return self.deadline - anyio.current_time()

    @property
    def elapsed_seconds(self) -> float:
        """Since the call began."""
        return time.perf_counter() - self.started

    async def take(self, text: str, model: Model) -> None:
        """A piece has come: keep it and pass it on."""
        self.text += text
        self.writer = model
        if self.request.sink is not None:
            await self.request.sink(text)

    def messages(self) -> tuple[Message, ...]:
        """What is sent next: the question, and after a cut what had come of the answer."""
        if not self.text:
            return self.request.messages
        cut = (Message(role="assistant", text=self.text), Message(role="user", text=_CONTINUE))
        return (*self.request.messages, *cut)

    def answered(self, response: ModelResponse, *, begun: str) -> ModelResponse:
        """The response as the caller gets it: who was asked, why another answered, how long it took in all.

        Args:
            response: of the model that answered.
            begun: what another model had written before it was cut; empty for a whole answer.
        """
        notes: tuple[str, ...] = ()
        if begun:
            notes = (f"begun by {self.failures[0].model.name}; tokens and cost are of the part after it",)
        return self._told(replace(response, text=begun + response.text, notes=(*response.notes, *notes)))

    def cut(self) -> ModelResponse | None:
        """The part of an answer that has come; None when nothing has."""
        if not self.text or self.writer is None:
            return None
        why = self.failures[-1].error.problem if self.failures else f"the {self.seconds:g} s were over"
        part = ModelResponse(
            text=self.text,
            model=self.writer.name,
            vendor=self.writer.vendor,
            answered_by=self.writer.name,
            partial=True,
            notes=(f"only a part of the answer: {why.rstrip('.')}",),
        )
        return self._told(part)

    def _told(self, response: ModelResponse) -> ModelResponse:
        """With who was asked and why another answered."""
        asked, because, notes = "", "", response.notes
        if response.model != self.asked.name:
            asked = self.asked.name
            others = [one for one in self.failures if one.model.name != response.model]
            if others:
                because = others[0].error.problem.rstrip(".")
                notes = (*notes, f"asked {asked}, answered by {response.model} because {because}")
        return replace(
            response,
            asked=asked,
            because=because,
            attempts=self.requests,
            seconds=self.elapsed_seconds,
            notes=notes,
        )

    def error(self, *, timed_out: bool = False) -> ZenError:
        """The failure of the whole: what the model asked said, then what those who stepped in said."""
        if timed_out:
            return self._timed_out()
        first, *others = self.failures
        if not others:
            return first.error
        told = " ".join(f"Then {one.error.problem}" for one in others)
        error = type(first.error)(
            f"{first.error.problem} {told}", first.error.fix, retry_after_seconds=first.error.retry_after_seconds
        )
        error.retryable = first.error.retryable
        return error

    def _timed_out(self) -> ZenError:
        before = " ".join(one.error.problem for one in self.failures)
        told = f" Before that: {before}" if before else ""
        return VendorTimeout(
            f"'{self.asked.name}' ({self.asked.vendor}) gave no answer within {self.seconds:g} s.{told}",
            "Try again, another model, or a longer timeout_seconds in models.yaml.",
        )
