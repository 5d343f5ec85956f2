"""How much of a model's context window is there for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zen_mcp.catalog import Model
from zen_mcp.conversations import Question, Thread
from zen_mcp.figures import estimate_tokens
from zen_mcp.gateway import Gateway
from zen_mcp.tools.files.read import Room
from zen_mcp.tools.tokens import count_for

UNKNOWN_WINDOW_TOKENS = 128_000
"""The context window assumed where neither models.yaml nor LiteLLM's map states one."""
LARGEST_RESERVED_ANSWER_TOKENS = 8_192


def reserved_tokens(model: Model, window: int) -> int:
    """The tokens of a window that are kept for the answer."""
    most = model.max_output or LARGEST_RESERVED_ANSWER_TOKENS
    return min(most, LARGEST_RESERVED_ANSWER_TOKENS, window // 4)


def room_beside(system: str, model: Model) -> int:
    """How many tokens a question may have, its files included, for this model itself to take it."""
    window = model.context_window or UNKNOWN_WINDOW_TOKENS
    return window - reserved_tokens(model, window) - estimate_tokens(system)


def room_for_files(
    models: Sequence[Model], gateway: Gateway, *, prompts: Mapping[str, str], taken_tokens: int
) -> Room | None:
    """What the widest window leaves for files beside the system message, the prompt and the answer.

    Args:
        models: who will be asked; for none there is no limit.
        gateway: knows who may step in for a prompt too long for one.
        prompts: the tool's; the longest is counted.
        taken_tokens: of the prompt and the images.
    """
    if not models:
        return None
    windows = {model.name: _widest(model, gateway, alone=len(models) == 1) for model in models}
    roomiest = max(models, key=lambda model: windows[model.name])
    window = windows[roomiest.name]
    system = max((estimate_tokens(part) for part in prompts.values()), default=0)
    return Room(
        tokens=window - reserved_tokens(roomiest, window) - system - taken_tokens,
        count=lambda text: count_for(text, models),
        whose=roomiest.name,
    )


def surplus_tokens(thread: Thread, question: Question) -> int:
    """By how much a question is shorter than estimated; a file that the thread holds already is not counted."""
    known = {file.path for turn in thread.turns for file in turn.files}
    repeated = any(file.path in known for file in question.files)
    return min(question.surplus_tokens, 0) if repeated else question.surplus_tokens


def _widest(model: Model, gateway: Gateway, *, alone: bool) -> int:
    own = model.context_window or UNKNOWN_WINDOW_TOKENS
    return max(gateway.window(model, fallbacks=alone) or own, own)
