"""What a question will take, before it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zen_mcp.figures import dollars
from zen_mcp.types import JSONObject, ToolResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """About how many tokens go in, how many come out at most, and what that costs at least and at most.

    Costs are None where a price is unknown, `max_output_tokens` where the model's limit is.
    """

    model: str
    vendor: str
    input_tokens: int
    max_output_tokens: int | None
    least_dollars: float | None
    most_dollars: float | None

    def line(self) -> str:
        """`opus (anthropic) · about 1,240 tokens in, up to 8,192 out · $0.0062 to $0.21`."""
        out = f"up to {self.max_output_tokens:,} out" if self.max_output_tokens else "as many out as it likes"
        return f"{self.model} ({self.vendor}) · about {self.input_tokens:,} tokens in, {out} · {self._cost()}"

    def _cost(self) -> str:
        if self.least_dollars is None:
            return "cost unknown"
        if self.most_dollars is None:
            return f"at least {dollars(self.least_dollars)}"
        if self.most_dollars == self.least_dollars:
            return dollars(self.least_dollars)
        return f"{dollars(self.least_dollars)} to {dollars(self.most_dollars)}"


def estimated(estimates: Sequence[Estimate]) -> ToolResponse:
    """The estimates as a result; nothing was asked."""
    least = [one.least_dollars for one in estimates]
    most = [one.most_dollars for one in estimates]
    known = [cost for cost in least if cost is not None]
    entries: list[JSONObject] = [
        {
            "model": one.model,
            "vendor": one.vendor,
            "input_tokens": one.input_tokens,
            "max_output_tokens": one.max_output_tokens,
            "least_dollars": one.least_dollars,
            "most_dollars": one.most_dollars,
        }
        for one in estimates
    ]
    total = [cost for cost in most if cost is not None]
    structured: JSONObject = {
        "dry_run": True,
        "estimates": list(entries),
        "least_dollars": sum(known) if len(known) == len(least) else None,
        "most_dollars": sum(total) if len(total) == len(most) else None,
    }
    return ToolResponse(
        text="\n".join(["Nothing was asked.", *(one.line() for one in estimates)]), structured=structured
    )
