"""LiteLLM's exceptions, and those of the OpenAI SDK, as ours: one table, and the words to go with each."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from typing import Any, cast

from zen_mcp.catalog.model import Model
from zen_mcp.errors import (
    ContentRefused,
    ContextWindowExceeded,
    VendorAuthFailed,
    VendorBadAnswer,
    VendorError,
    VendorLoading,
    VendorNotFound,
    VendorRateLimited,
    VendorRejected,
    VendorTimeout,
    VendorUnavailable,
    VendorUnreachable,
)

log = logging.getLogger("zen_mcp.providers")

TRANSLATIONS: dict[str, type[VendorError]] = {
    "AuthenticationError": VendorAuthFailed,
    "PermissionDeniedError": VendorAuthFailed,
    "PaymentRequiredError": VendorAuthFailed,
    "NotFoundError": VendorNotFound,
    "ContextWindowExceededError": ContextWindowExceeded,
    "ContentPolicyViolationError": ContentRefused,
    "GuardrailRaisedException": ContentRefused,
    "BlockedPiiEntityError": ContentRefused,
    "ModifyResponseException": ContentRefused,
    "SensitiveDataRouteException": ContentRefused,
    "BadRequestError": VendorRejected,
    "ImageFetchError": VendorRejected,
    "VectorStoreSearchError": VendorRejected,
    "UnprocessableEntityError": VendorRejected,
    "RejectedRequestError": VendorRejected,
    "UnsupportedParamsError": VendorRejected,
    "InvalidRequestError": VendorRejected,
    "LiteLLMUnknownProvider": VendorRejected,
    "ModelNotMappedError": VendorRejected,
    "RateLimitError": VendorRateLimited,
    "BudgetExceededError": VendorRateLimited,
    "RouterRateLimitError": VendorRateLimited,
    "ToolLoopMaxRoundsExceeded": VendorBadAnswer,
    "RouterRateLimitErrorBasic": VendorRateLimited,
    "Timeout": VendorTimeout,
    "APITimeoutError": VendorTimeout,
    "APIConnectionError": VendorUnreachable,
    "ServiceUnavailableError": VendorUnavailable,
    "BadGatewayError": VendorUnavailable,
    "InternalServerError": VendorUnavailable,
    "MidStreamFallbackError": VendorUnavailable,
    "APIResponseValidationError": VendorBadAnswer,
    "JSONSchemaValidationError": VendorBadAnswer,
    "MockException": VendorUnavailable,
    "APIError": VendorUnavailable,
    "APIStatusError": VendorUnavailable,
    "OpenAIError": VendorUnavailable,
    # Not LiteLLM's own: what flies past its net.
    "ClientError": VendorUnreachable,
    "HTTPError": VendorUnreachable,
    "ConnectionError": VendorUnreachable,
    "JSONDecodeError": VendorBadAnswer,
    "TimeoutError": VendorTimeout,
    "ValueError": VendorUnavailable,
    "AttributeError": VendorBadAnswer,
    "KeyError": VendorBadAnswer,
    "TypeError": VendorBadAnswer,
}
"""By class name; an exception is looked up by its own class, then by each it derives from."""

_SAYS: dict[type[VendorError], str] = {
    VendorAuthFailed: "does not accept the key",
    VendorNotFound: "does not know the model or the address",
    ContextWindowExceeded: "finds the prompt too long",
    ContentRefused: "refuses the content",
    VendorRejected: "rejects the request",
    VendorRateLimited: "is over its rate limit",
    VendorTimeout: "gave no answer in time",
    VendorUnreachable: "cannot be reached",
    VendorUnavailable: "failed",
    VendorLoading: "is still loading the model",
    VendorBadAnswer: "gave an answer that is not what the API promises",
}
_HTML = re.compile(r"<!doctype html|<html|'str' object has no attribute|Expecting value|not valid JSON", re.IGNORECASE)
_BROKEN_OFF = re.compile(r"cannot connect|connection error|payload is not completed|disconnected", re.IGNORECASE)
_REFUSALS: dict[int, type[VendorError]] = {
    401: VendorAuthFailed,
    402: VendorAuthFailed,
    403: VendorAuthFailed,
    404: VendorNotFound,
    408: VendorTimeout,
    429: VendorRateLimited,
}
"""By HTTP status; another 4xx is a rejected request."""
_TOO_LONG = re.compile(
    r"context_length_exceeded|maximum context length|prompt is too long|context window", re.IGNORECASE
)
_POLICY = re.compile(r"content_policy_violation|content_filter|content management policy", re.IGNORECASE)
_LOADING = re.compile(r"loading (the )?model|model (is )?(still |currently )*(being )?load(ing|ed)\b", re.IGNORECASE)
"""llama.cpp: "Loading model"; others in similar words."""
_ADDRESS = re.compile(r" ssl:<[^>]*>")
_KEY_LIKE = re.compile(r"\b(?:sk|pk|key|gsk|xai|AIza)[-_A-Za-z0-9]{12,}|Bearer\s+\S+", re.IGNORECASE)
_PREFIX = re.compile(r"^(?:litellm\.)?(?:\w+(?:Error|Exception|Timeout)\s*[:-]\s*)+", re.IGNORECASE)
_LONGEST_QUOTE = 300
_SHORTEST_SECRET = 6


def translate(exc: Exception, model: Model, *, secrets: Iterable[str]) -> VendorError | None:
    """Our error for one of LiteLLM's; None for a class that is in no row, which is a bug."""
    kind = _kind(exc)
    if kind is None:
        return None
    text = redact(_vendor_text(exc), secrets)
    if kind in {VendorUnavailable, VendorUnreachable, VendorBadAnswer} and _HTML.search(str(exc)):
        return not_json(model)
    quoted = f": {text}" if text else ""
    return kind(
        f"'{model.name}' ({model.vendor}) {_SAYS[kind]}{quoted}.".replace("..", "."),
        _fix(kind, model),
        retry_after_seconds=retry_after(exc),
    )


def translated(exc: Exception, model: Model, *, secrets: Iterable[str]) -> VendorError:
    """Our error for anything that a vendor's library raises. The cause is dropped: its text and frames hold the key."""
    error = translate(exc, model, secrets={*secrets, model.api_key or ""})
    log.debug("%s: %s -> %s", model.name, type(exc).__name__, error)
    return error or VendorBadAnswer(f"'{model.name}' ({model.vendor}) failed: {type(exc).__name__}.", "Try again.")


def not_json(model: Model) -> VendorBadAnswer:
    """The error for an answer that is something else, most often a proxy's web page."""
    return VendorBadAnswer(
        f"'{model.name}' ({model.vendor}) answered with something that is not JSON, perhaps a web page.",
        "Check base_url in models.yaml." if model.base_url else "Try again; the vendor's service may be down.",
    )


def _kind(exc: Exception) -> type[VendorError] | None:
    kind = next((TRANSLATIONS[base.__name__] for base in type(exc).__mro__ if base.__name__ in TRANSLATIONS), None)
    if kind is VendorUnavailable:
        # LiteLLM's classes for "something failed" also carry refusals (403, 413) and connections that broke.
        status = getattr(exc, "status_code", None)
        if isinstance(status, int) and 400 <= status < 500:
            return _refined(_REFUSALS.get(status, VendorRejected), exc)
        if _BROKEN_OFF.search(str(exc)):
            return VendorUnreachable
        if status == 503 and _LOADING.search(str(exc)):
            return VendorLoading
    return _refined(kind, exc) if kind else None


def _refined(kind: type[VendorError], exc: Exception) -> type[VendorError]:
    """What a rejected request was rejected for, where the vendor says so."""
    if kind is VendorRejected:
        text = str(exc)
        if _TOO_LONG.search(text):
            return ContextWindowExceeded
        if _POLICY.search(text):
            return ContentRefused
    return kind


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text on one line, cut, with every known key and whatever looks like one replaced."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "[key]")
    text = " ".join(_KEY_LIKE.sub("[key]", text).split())
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"


def retry_after(exc: Exception) -> float | None:
    """Seconds that the vendor asks to wait; None when it does not say."""
    response = getattr(exc, "response", None)
    headers: Any = getattr(exc, "litellm_response_headers", None) or getattr(response, "headers", None) or {}
    value = headers.get("retry-after")
    try:
        return max(float(value), 0.0)
    except (TypeError, ValueError):
        return None


def _fix(kind: type[VendorError], model: Model) -> str:
    if kind is VendorAuthFailed:
        return f"Check {model.key_variable}." if model.key_variable else "Check api_key in models.yaml."
    if kind is VendorNotFound:
        return "Check litellm_model and base_url in models.yaml."
    if kind is ContextWindowExceeded:
        return "Shorten the prompt, or choose a model with a longer context."
    if kind is VendorUnreachable and model.base_url:
        return "Check that the server behind base_url runs."
    return "Try another model." if not kind.retryable else "Try again later, or another model."


def _vendor_text(exc: Exception) -> str:
    """What the vendor said, out of LiteLLM's wrapping."""
    said = _message_in(getattr(exc, "body", None))
    if said:
        return said
    text = _ADDRESS.sub("", str(getattr(exc, "message", None) or exc))
    found = re.search(r"\{.*\}", text, re.DOTALL)
    if found:
        try:
            body = json.loads(found.group())
        except ValueError:
            body = None
        message = _message_in(body)
        if message:
            return message
    return _PREFIX.sub("", text).strip()


def _message_in(body: object) -> str:
    """The message of an error body, as most vendors shape it."""
    while isinstance(body, dict):
        entry = cast("dict[str, object]", body)
        inner = entry.get("error") or entry.get("message") or entry.get("detail")
        if isinstance(inner, str):
            return inner
        body = inner
    return ""
