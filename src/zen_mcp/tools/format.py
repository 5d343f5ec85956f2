"""The words in which results tell tokens, dollars, seconds and where the rest is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zen_mcp.figures import dollars
from zen_mcp.storage.usage import UsageLine
from zen_mcp.tools.paging import Head
from zen_mcp.tools.resources import turn_link
from zen_mcp.types import ModelResponse, ResourceLink, Usage

if TYPE_CHECKING:  # the context writes estimates with the words below
    from zen_mcp.tools.context import Saved


def tokens(usage: Usage | None) -> str:
    """`310+42 tokens` (input+output), or that the upstream did not say."""
    return f"{usage.input_tokens:,}+{usage.output_tokens:,} tokens" if usage else "tokens unknown"


def summary_line(response: ModelResponse) -> str:
    """`opus (anthropic) · 1.2 s · 310+42 tokens · $0.0042`."""
    other = f", answered by {response.answered_by}" if _other_name(response) else ""
    return (
        f"{response.model} ({response.vendor}{other}) · {response.seconds:.1f} s · "
        f"{tokens(response.usage)} · {dollars(response.cost_dollars)}"
    )


def usage_words(line: UsageLine) -> str:
    """`12 requests · 3,100+420 tokens · $0.0042`; calls, failures and cache hits where there were any."""
    parts = [
        f"{line.calls:,} calls" if line.calls else "",
        f"{line.requests:,} requests",
        f"{line.failures:,} failed" if line.failures else "",
        f"{line.cache_hits:,} from the cache" if line.cache_hits else "",
        f"{line.input_tokens:,}+{line.output_tokens:,} tokens",
        spent_words(line.cost_dollars, unpriced=line.unpriced),
    ]
    return " · ".join(part for part in parts if part)


def spent_words(cost_dollars: float, *, unpriced: int) -> str:
    """`$0.0042`, with a + where some answers have no known price, `cost unknown` where none has."""
    if unpriced and not cost_dollars:
        return "cost unknown"
    return f"{dollars(cost_dollars)}{'+ (some prices unknown)' if unpriced else ''}"


def stored_line(saved: Saved) -> list[str]:
    """How to go on in the thread, or why that is not possible."""
    return [saved.note] if saved.note else [f"continuation_id {saved.continuation_id}"]


def rest_note(saved: Saved, index: int, shown: Head, length: int) -> list[str]:
    """How to get the rest of a cut answer, the stored turn at `index`; nothing for a whole one."""
    if shown.next_offset is None:
        return []
    call = f"threads(continuation_id='{saved.continuation_id}', turn={saved.turns[index]}, offset={shown.next_offset})"
    return [f"{length - shown.next_offset:,} more characters: {call}"]


def rest_link(saved: Saved, index: int, shown: Head) -> tuple[ResourceLink, ...]:
    """The same as an address, for clients that show links."""
    if shown.next_offset is None:
        return ()
    return (turn_link(saved.continuation_id, saved.turns[index], shown.next_offset),)


def _other_name(response: ModelResponse) -> bool:
    """Whether the upstream called itself something that the asked name does not already say."""
    return bool(response.answered_by) and response.answered_by not in response.model
