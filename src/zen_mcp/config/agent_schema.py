"""server.yaml, `agents`: the command lines of other agents that `clink` runs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from zen_mcp.config.values import Entries, Flag, Names, Seconds, Settings

Words = tuple[str, ...]
"""Arguments of a program, one by one: unlike `Names`, a text is not split at commas."""


def _format_alone(value: object) -> object:
    """Take `output: text` for `output: {format: text}`."""
    return {"format": value} if isinstance(value, str) else value


class AgentOutput(Settings):
    """Where an agent's answer stands in what it prints."""

    format: Literal["text", "json", "jsonl"] = Field(
        default="text",
        description="`text`: all of it; `json`: one document; `jsonl`: one event per line.",
    )
    answer: str = Field(default="", description="The path of the answer in JSON: `result`, `item.text`.")
    error: Names = Field(default=(), description="The paths where an error's text may stand: `error.message`.")
    where: Entries[str] = Field(
        default={},
        validate_default=True,
        description="What an event must say to carry the answer: `{type: item.completed, item.type: agent_message}`.",
    )
    take: Literal["last", "all"] = Field(default="last", description="Of several such events the last, or all joined.")


class AgentSettings(Settings):
    """An agent's command line."""

    command: str = Field(min_length=1, description="The program, by name or by path.")
    args: Words = Field(default=(), description="Its arguments in any mode.")
    read_only_args: Words = Field(default=(), description="Arguments that keep it from changing anything.")
    write_args: Words = Field(default=(), description="Arguments that let it change files.")
    allow_write: Flag = Field(default=False, description="Whether callers may let it change files (`write: true`).")
    prompt_via: Literal["stdin", "argument"] = Field(
        default="stdin", description="Whether the prompt is sent to its input or is its last argument."
    )
    output: Annotated[AgentOutput, BeforeValidator(_format_alone)] = Field(
        default_factory=AgentOutput, description="What it prints: `text`, or where in its JSON the answer is."
    )
    roles: Entries[str] = Field(
        default={},
        validate_default=True,
        description="Further roles by name: the instruction itself, or the path of a Markdown file.",
    )
    env: Names = Field(
        default=(), description="Variables handed to it besides `PATH`, `HOME`, language, proxies and the like."
    )
    timeout_seconds: Seconds = Field(default=900.0, description="It is stopped after this long.")
    install: str = Field(default="", description="What to do when the program is missing; shown to the caller.")
