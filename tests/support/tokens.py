"""Counting tokens as a model does, without the network."""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import tiktoken


@cache
def _o200k() -> tiktoken.Encoding:
    spec = find_spec("litellm")
    assert spec is not None
    assert spec.origin is not None
    # LiteLLM carries the file that tiktoken would fetch.
    os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(spec.origin).parent / "litellm_core_utils" / "tokenizers")
    return tiktoken.get_encoding("o200k_base")


def o200k_tokens(text: str) -> int:
    """How many tokens of the o200k encoding."""
    return len(_o200k().encode(text))
