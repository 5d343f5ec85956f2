"""Chat completions, as LiteLLM and the OpenAI SDK shape them, as ours; and what is wrong with one that is none."""

from __future__ import annotations

from typing import Any, cast

from zen_mcp.catalog.model import Model
from zen_mcp.errors import VendorBadAnswer, VendorUnreachable
from zen_mcp.providers.cost import cost_dollars
from zen_mcp.providers.vendor_errors import not_json
from zen_mcp.types import FunctionCall, ModelResponse, Usage


def response_of(answer: Any, model: Model, *, seconds: float, notes: tuple[str, ...]) -> ModelResponse:
    """A completion as ours.

    Raises:
        VendorBadAnswer: there is no text in it.
    """
    if isinstance(answer, str):
        raise not_json(model)
    choices = getattr(answer, "choices", None)
    if not choices:
        raise VendorBadAnswer(f"'{model.name}' ({model.vendor}) answered without any choice.", "Try again.")
    message = choices[0].message
    text = message.content or ""
    finish = choices[0].finish_reason
    calls = _function_calls(getattr(message, "tool_calls", None))
    if not calls:
        _check_text(text, finish, model)
    usage = _usage(getattr(answer, "usage", None))
    return ModelResponse(
        text=text,
        model=model.name,
        vendor=model.vendor,
        answered_by=str(getattr(answer, "model", None) or model.name),
        usage=usage,
        cost_dollars=cost_dollars(usage, model),
        seconds=seconds,
        finish_reason=finish,
        upstream_id=getattr(answer, "id", None),
        notes=notes,
        function_calls=calls,
    )


def _function_calls(calls: Any) -> tuple[FunctionCall, ...]:
    return tuple(
        FunctionCall(id=str(call.id or ""), name=str(call.function.name or ""), arguments=call.function.arguments or "")
        for call in calls or ()
    )


def check_end(collected: Collected, model: Model, *, ended: bool, content_type: str) -> None:
    """Make sure that the vendor ended the stream.

    Args:
        collected: what came.
        model: who was asked.
        ended: whether a finish reason came from the vendor.
        content_type: of the response; empty when unknown.

    Raises:
        VendorUnreachable: the stream was cut.
        VendorBadAnswer: it was no stream of answers at all.
    """
    if not collected.text and "html" in content_type:
        raise not_json(model)
    if not ended:
        raise VendorUnreachable(
            f"'{model.name}' ({model.vendor}) broke off after {len(collected.text):,} characters.", "Try again."
        )


def finish_reason_of(chunk: Any) -> str | None:
    """Why the answer ended, if this chunk ends it."""
    return chunk.choices[0].finish_reason if chunk.choices else None


def _check_text(text: str, finish: str | None, model: Model) -> None:
    if text.strip():
        return
    if finish == "length":
        spent = VendorBadAnswer(
            f"'{model.name}' ({model.vendor}) used up its output limit without a word of answer.",
            "Ask for less thinking, or raise max_output in models.yaml.",
        )
        spent.retryable = False  # a second try would be as empty, and cost as much
        raise spent
    raise VendorBadAnswer(f"'{model.name}' ({model.vendor}) gave an empty answer.", "Try again, or another model.")


def _usage(usage: Any) -> Usage | None:
    """A completion's usage as ours; None when the upstream did not say."""
    if usage is None or not (usage.prompt_tokens or usage.completion_tokens):
        return None
    cached = getattr(getattr(usage, "prompt_tokens_details", None), "cached_tokens", None)
    written = getattr(getattr(usage, "prompt_tokens_details", None), "cache_creation_tokens", None)
    written = written or getattr(usage, "cache_creation_input_tokens", None)
    reasoning = getattr(getattr(usage, "completion_tokens_details", None), "reasoning_tokens", None)
    return Usage(
        input_tokens=usage.prompt_tokens or 0,
        output_tokens=usage.completion_tokens or 0,
        cached_tokens=cached or 0,
        cache_write_tokens=written or 0,
        reasoning_tokens=reasoning or 0,
    )


class Collected:
    """A streamed answer as it grows."""

    def __init__(self) -> None:
        self.text = ""
        self.finish_reason: str | None = None
        self._calls: dict[int, FunctionCall] = {}
        self._usage: Any = None
        self._model: str | None = None
        self._id: str | None = None

    def take(self, chunk: Any) -> str:
        """Add a chunk; its text."""
        self._model = getattr(chunk, "model", None) or self._model
        self._id = getattr(chunk, "id", None) or self._id
        self._usage = getattr(chunk, "usage", None) or self._usage
        if not chunk.choices:
            return ""
        self.finish_reason = finish_reason_of(chunk) or self.finish_reason
        delta = chunk.choices[0].delta
        for piece in getattr(delta, "tool_calls", None) or ():
            self._take_call(piece)
        text = cast("str | None", delta.content) or ""
        self.text += text
        return text

    def _take_call(self, piece: Any) -> None:
        """A function call comes in pieces: its name in the first, its arguments letter by letter."""
        before = self._calls.get(piece.index or 0) or FunctionCall(id="", name="", arguments="")
        self._calls[piece.index or 0] = FunctionCall(
            id=before.id or str(piece.id or ""),
            name=before.name or str(piece.function.name or ""),
            arguments=before.arguments + (piece.function.arguments or ""),
        )

    def response(self, model: Model, seconds: float, notes: tuple[str, ...]) -> ModelResponse:
        """The whole.

        Raises:
            VendorBadAnswer: there is no text in it.
        """
        if not self._calls:
            _check_text(self.text, self.finish_reason, model)
        usage = _usage(self._usage)
        return ModelResponse(
            text=self.text,
            model=model.name,
            vendor=model.vendor,
            answered_by=self._model or model.name,
            usage=usage,
            cost_dollars=cost_dollars(usage, model),
            seconds=seconds,
            finish_reason=self.finish_reason,
            upstream_id=self._id,
            notes=notes,
            function_calls=tuple(self._calls.values()),
        )
