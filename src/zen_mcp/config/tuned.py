"""Models that were fine-tuned from here; the catalog has them beside those of models.yaml."""

from __future__ import annotations

from dataclasses import dataclass

STAMP = "finetuned.stamp"
"""A file in the state folder that is touched when there is a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedModel:
    """A finished model: its name here, the model it was made of, what LiteLLM calls it."""

    name: str
    base: str
    litellm_model: str
    deployment: str = ""
