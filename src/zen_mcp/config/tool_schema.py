"""What may be set for one tool: in server.yaml under `tool_settings`, and in the `config.yaml` of a plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, JsonValue

from zen_mcp.config.values import Entries, Flag, Names, Seconds, Settings


class OneToolSettings(Settings):
    """One tool's settings; server.yaml wins over the plugin's own config.yaml, field by field."""

    enabled: Flag = Field(default=True, description="Whether the tool is offered.")
    default_model: str | None = Field(
        default=None, min_length=1, description="The model it asks when the caller names none."
    )
    allowed_models: Names = Field(
        default=(), description="Patterns (`gpt*`, `local-*`) of the models it may ask; empty: all."
    )
    timeout_seconds: Seconds | None = Field(default=None, description="How long one call may take in all.")
    max_result_characters: Annotated[int, Field(ge=500)] | None = Field(
        default=None, description="A longer answer of it is given in pages."
    )
    prompts_dir: Path | None = Field(
        default=None,
        description="A folder whose `NAME.md` replaces parts of the tool's prompt, by their `## headings`.",
    )
    options: Entries[JsonValue] = Field(default={}, description="What the tool itself reads: `context.options`.")

    def over(self, below: OneToolSettings) -> OneToolSettings:
        """These settings, with those of `below` where these say nothing."""
        options = {**below.options, **self.options}
        own = {name: getattr(self, name) for name in self.model_fields_set}
        return below.model_copy(update={**own, "options": options})
