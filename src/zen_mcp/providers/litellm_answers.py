"""LiteLLM's answers as ours: text, usage and cost, and what is wrong with an answer that is none."""

from __future__ import annotations

from typing import Any, cast

from zen_mcp.catalog.model import Model
from zen_mcp.errors import VendorBadAnswer, VendorUnreachable
from zen_mcp.providers.litellm_errors import not_json
from zen_mcp.types import ModelResponse, Usage


def response_of(answer: Any, model: Model, *, seconds: float, attempts: int, notes: tuple[str, ...]) -> ModelResponse:
    """LiteLLM's answer as ours.

    Raises:
        VendorBadAnswer: there is no text in it.
    """
    choices = getattr(answer, "choices", None)
    if not choices:
        raise VendorBadAnswer(f"'{model.name}' ({model.vendor}) answered without any choice.", "Try again.")
    text = choices[0].message.content or ""
    finish = choices[0].finish_reason
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
        attempts=attempts,
        notes=notes,
    )


def check_end(chunks: Any, collected: Collected, model: Model) -> None:
    """Make sure that the vendor ended the stream: LiteLLM makes up a finish reason where none came.

    Raises:
        VendorUnreachable: the stream was cut.
        VendorBadAnswer: it was no stream of answers at all.
    """
    headers: Any = getattr(chunks, "_response_headers", None) or {}
    if not collected.text and "html" in str(headers.get("content-type")):
        raise not_json(model)
    received = getattr(chunks, "chunks", None)
    ended = collected.finish_reason if received is None else any(_finish_reason(chunk) for chunk in received)
    if not ended:
        raise VendorUnreachable(
            f"'{model.name}' ({model.vendor}) broke off after {len(collected.text):,} characters.", "Try again."
        )


def _finish_reason(chunk: Any) -> str | None:
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
    """LiteLLM's usage as ours; None when the upstream did not say."""
    if usage is None or not (usage.prompt_tokens or usage.completion_tokens):
        return None
    cached = getattr(getattr(usage, "prompt_tokens_details", None), "cached_tokens", None)
    reasoning = getattr(getattr(usage, "completion_tokens_details", None), "reasoning_tokens", None)
    return Usage(
        input_tokens=usage.prompt_tokens or 0,
        output_tokens=usage.completion_tokens or 0,
        cached_tokens=cached or 0,
        reasoning_tokens=reasoning or 0,
    )


def cost_dollars(usage: Usage | None, model: Model) -> float | None:
    """What the tokens cost at the catalog's prices; None when a price or the usage is unknown."""
    price = model.price
    if usage is None or price.input_dollars_per_token is None or price.output_dollars_per_token is None:
        return None
    cached_price = price.cached_dollars_per_token
    if cached_price is None:
        cached_price = price.input_dollars_per_token
    fresh = usage.input_tokens - usage.cached_tokens
    return (
        fresh * price.input_dollars_per_token
        + usage.cached_tokens * cached_price
        + usage.output_tokens * price.output_dollars_per_token
    )


class Collected:
    """A streamed answer as it grows."""

    def __init__(self) -> None:
        self.text = ""
        self.finish_reason: str | None = None
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
        self.finish_reason = _finish_reason(chunk) or self.finish_reason
        text = cast("str | None", chunk.choices[0].delta.content) or ""
        self.text += text
        return text

    def response(self, model: Model, seconds: float, notes: tuple[str, ...]) -> ModelResponse:
        """The whole.

        Raises:
            VendorBadAnswer: there is no text in it.
        """
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
        )
