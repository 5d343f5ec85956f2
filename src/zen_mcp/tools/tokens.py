"""Counting tokens with a real tokenizer, offline: o200k, whose file comes with LiteLLM."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from zen_mcp.catalog import Model
from zen_mcp.figures import estimate_tokens

_PIECE_CHARACTERS = 16_000
"""The tokenizer is asked for so much at once: it recurses over long runs of blanks, and runs out of stack."""
_OWN_VENDORS = frozenset({"openai", "azure"})
_OTHERS_MARGIN = 1.15
"""Other vendors' tokenizers make more of the same text; measured on code, up to so much."""


def count_tokens(text: str) -> int:
    """How many o200k tokens a text has, within one in ten thousand. Blocks: for a thread.

    The first call reads the tokenizer (half a second, 60 MB), so ask only where an estimate is not good enough.
    """
    encode = _o200k()
    if encode is None:
        return estimate_tokens(text)
    return sum(len(encode(text[start : start + _PIECE_CHARACTERS])) for start in range(0, len(text), _PIECE_CHARACTERS))


def count_for(text: str, models: Iterable[Model]) -> int:
    """About how many tokens a text has for the least frugal of some models. Blocks: for a thread."""
    own = all(model.vendor in _OWN_VENDORS for model in models)
    return count_tokens(text) if own else math.ceil(count_tokens(text) * _OTHERS_MARGIN)


@cache
def _o200k() -> Callable[[str], list[int]] | None:
    """The tokenizer's encoder; None where it or its file is missing, and estimates must do."""
    package = find_spec("litellm")
    if package is None or package.origin is None:
        return None
    folder = Path(package.origin).parent / "litellm_core_utils" / "tokenizers"
    if not folder.is_dir():
        return None
    # tiktoken looks here before it would ask the network.
    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    try:
        # Heavy, and needed only by questions that nearly fill a window.
        tiktoken = import_module("tiktoken")
        return cast("Callable[[str], list[int]]", tiktoken.get_encoding("o200k_base").encode_ordinary)
    except (ImportError, OSError, ValueError):
        return None
    finally:
        if before is None:
            os.environ.pop("TIKTOKEN_CACHE_DIR", None)
        else:
            os.environ["TIKTOKEN_CACHE_DIR"] = before
