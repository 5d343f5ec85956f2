"""What the expert tools take, and what sets one apart from another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, cast

from pydantic import Field, WithJsonSchema, model_validator
from pydantic.json_schema import SkipJsonSchema

from zen_mcp.tools.base import ToolParams
from zen_mcp.tools.expert.findings import Severity
from zen_mcp.tools.expert.older import translated
from zen_mcp.tools.expert.steps import StepParams
from zen_mcp.tools.files.names import FileEntry
from zen_mcp.tools.panel.ask import LARGEST_PANEL
from zen_mcp.types import CacheUse, ThinkingEffort


class ExpertParams(ToolParams):
    """What every expert tool takes. What is described here or in a tool's own class is listed with words."""

    prompt: str = ""
    files: list[FileEntry] = Field(default=[])
    models: list[str] = Field(default=[], max_length=LARGEST_PANEL)
    continuation_id: str | None = None
    step: Annotated[StepParams | None, WithJsonSchema({"type": "object"})] = None
    focus: SkipJsonSchema[str] = ""
    changes: SkipJsonSchema[str] = ""
    folder: SkipJsonSchema[str | None] = None
    images: SkipJsonSchema[list[str]] = Field(default=[])
    model: SkipJsonSchema[str] = "auto"
    temperature: SkipJsonSchema[float | None] = Field(default=None, ge=0, le=2)
    thinking: SkipJsonSchema[ThinkingEffort | None] = None
    min_severity: SkipJsonSchema[Severity | Literal["all"]] = "all"
    timeout_seconds: SkipJsonSchema[float | None] = Field(default=None, gt=0)
    web_search: SkipJsonSchema[bool] = False
    cache: SkipJsonSchema[CacheUse | None] = None
    dry_run: SkipJsonSchema[bool] = False

    @model_validator(mode="before")
    @classmethod
    def _in_the_words_of_today(cls, arguments: object) -> object:
        return translated(cast("Mapping[str, object]", arguments)) if isinstance(arguments, Mapping) else arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Expert:
    """What sets one expert tool apart; the words that its models read are in its `prompt.md`.

    Attributes:
        answers: findings, or a text.
        needs: what a call without steps must bring: something to look at (files, changes or a prompt), a prompt, or
            changes in git.
        changes: what is read from git where neither files nor changes are named; empty for nothing.
        wanted: what the steps should have said by the end; an answer to a step tells what is still missing.
        asked: when the steps are over, whether an expert looks at them: always, unless the caller is certain, or only
            where models are named.
        conclude: makes the answer of all steps where no expert is asked; None: the issues that they found.
    """

    answers: Literal["findings", "text"] = "findings"
    needs: Literal["material", "prompt", "changes"] = "material"
    changes: str = ""
    wanted: tuple[str, ...] = ("findings", "relevant_files")
    asked: Literal["always", "unless_certain", "where_named"] = "unless_certain"
    conclude: Callable[[Sequence[StepParams]], str] | None = None
