"""How much a model request takes: estimated before it, known after it, and what a failure has taken."""

from __future__ import annotations

from dataclasses import dataclass

from zen_mcp.catalog.model import Model
from zen_mcp.errors import (
    CallerError,
    ConfigError,
    LocalModelError,
    Refused,
    VendorAuthFailed,
    VendorError,
    VendorNotFound,
    VendorRateLimited,
    VendorRejected,
    VendorUnreachable,
    ZenError,
)
from zen_mcp.middleware.limit_rules import Unit
from zen_mcp.providers.cost import cost_dollars
from zen_mcp.types import ModelRequest, ModelResponse, Usage

EXPECTED_OUTPUT_TOKENS = 1_000
"""What an answer is expected to have where the request does not limit it; what is more is settled afterwards."""
_CHARACTERS_PER_TOKEN = 4
_NOTHING_SENT = (CallerError, ConfigError, Refused, LocalModelError)
_NOTHING_TAKEN = (VendorAuthFailed, VendorRejected, VendorNotFound, VendorRateLimited, VendorUnreachable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """What a call takes, by unit. `dollars` is None where the price is unknown."""

    requests: float = 0
    tokens: float = 0
    dollars: float | None = 0.0

    def of(self, unit: Unit) -> float:
        """The amount of a unit; an unknown price counts as nothing."""
        if unit == "dollars":
            return self.dollars or 0.0
        return self.requests if unit == "requests" else self.tokens


NOTHING = Amounts()


def prompt_tokens(request: ModelRequest) -> int:
    """About how many tokens go in."""
    if request.prompt_tokens is not None:
        return request.prompt_tokens
    return sum(len(message.text) for message in request.messages) // _CHARACTERS_PER_TOKEN + 1


def estimated(model: Model, tokens_in: int, max_output_tokens: int | None = None) -> Amounts:
    """What is reserved before the model is asked."""
    out = max_output_tokens or min(model.max_output or EXPECTED_OUTPUT_TOKENS, EXPECTED_OUTPUT_TOKENS)
    return _priced(model, tokens_in, out)


def taken_by(response: ModelResponse, request: ModelRequest, model: Model) -> Amounts:
    """What an answer took. A remembered one took nothing; where the vendor did not count, its length is taken."""
    if response.cached:
        return NOTHING
    usage = response.usage
    if usage is None:
        guess = _priced(model, prompt_tokens(request), len(response.text) // _CHARACTERS_PER_TOKEN + 1)
        dollars = guess.dollars if response.cost_dollars is None else response.cost_dollars
        return Amounts(requests=1, tokens=guess.tokens, dollars=dollars)
    return Amounts(requests=1, tokens=usage.total_tokens, dollars=response.cost_dollars)


def taken_by_failure(error: BaseException | None, request: ModelRequest, model: Model) -> Amounts:
    """What a request took that brought no answer; None: it was cancelled.

    A vendor that refused took nothing. One that was asked and did not answer in time has read the prompt, and bills it.
    """
    if isinstance(error, _NOTHING_SENT):
        return NOTHING
    if isinstance(error, _NOTHING_TAKEN):
        return Amounts(requests=1)
    if isinstance(error, VendorError | None) or not isinstance(error, ZenError):
        return _priced(model, prompt_tokens(request), 0)
    return Amounts(requests=1)


def _priced(model: Model, tokens_in: int, tokens_out: int) -> Amounts:
    usage = Usage(input_tokens=tokens_in, output_tokens=tokens_out)
    ways = [member.model for member in model.members] or [model]
    known = [cost for cost in (cost_dollars(usage, way) for way in ways) if cost is not None]
    return Amounts(requests=1, tokens=tokens_in + tokens_out, dollars=max(known, default=None))
