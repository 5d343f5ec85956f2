"""Models that were fine-tuned from here: a file in the state folder that the catalog reads beside models.yaml."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

FILE_NAME = "finetuned.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedModel:
    """A finished model: its name here, the model it was made of, what LiteLLM calls it."""

    name: str
    base: str
    litellm_model: str
    deployment: str = ""


def read_tuned(folder: Path) -> tuple[TunedModel, ...]:
    """The finished models; none where the file is missing or none of ours."""
    try:
        entries = cast("list[dict[str, Any]]", json.loads((folder / FILE_NAME).read_text(encoding="utf-8")))
        return tuple(TunedModel(**entry) for entry in entries)
    except (OSError, ValueError, TypeError):
        return ()


def write_tuned(folder: Path, models: Sequence[TunedModel]) -> None:
    """Store the finished models, all or nothing. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f".{FILE_NAME}.{os.getpid()}"
    try:
        draft.write_text(json.dumps([asdict(model) for model in models], indent=2), encoding="utf-8")
        draft.replace(folder / FILE_NAME)
    finally:
        with suppress(OSError):
            draft.unlink()
