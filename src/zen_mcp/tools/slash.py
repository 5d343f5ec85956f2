"""Slash commands: every tool as a prompt that has the agent call it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from zen_mcp.tools.base import ToolProtocol
from zen_mcp.tools.prompts import load_prompts
from zen_mcp.types import JSONObject, JSONValue

TAKEN_NAMES: Mapping[str, str] = {"review": "zen_review", "ask_user": "zen_ask_user"}
"""Commands of clients' own that a prompt of the same name would collide with, and what a tool so named gets instead."""

MOST_ARGUMENTS = 5
MAIN_ARGUMENTS = frozenset({"prompt", "model", "models", "files", "continuation_id"})
"""What people give first, in whichever tool; the rest fills up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlashCommand:
    """A tool as a prompt.

    `arguments` by name, each with its description (may be empty): the tool's own that are written as text or as a
    list of texts. None of them has to be given: what is missing, the agent fills in from the conversation.
    """

    name: str
    tool: str
    description: str
    arguments: Mapping[str, str]
    template: str = ""

    def text(self, given: Mapping[str, str]) -> str:
        """What the agent is told. Values go in as they came: some clients send `$1` and fill it in later."""
        values = {name: value for name, value in given.items() if value.strip()}
        if self.template:
            filled = self.template
            for name in self.arguments:
                filled = filled.replace(f"{{{name}}}", values.get(name, ""))
            rest = {name: value for name, value in values.items() if f"{{{name}}}" not in self.template}
            return "\n\n".join([filled.strip(), *([_lines(rest)] if rest else [])])
        if not values:
            return f"Call the tool `{self.tool}`, with arguments from our conversation. Then tell me what it says."
        parts = [f"Call the tool `{self.tool}` with:", _lines(values)]
        if _may_be_one_sentence(values):
            parts.append(
                f"If these read as one sentence cut at its spaces, all of it is `{next(iter(self.arguments))}`."
            )
        parts.append("Take what else it needs from our conversation. Then tell me what it says.")
        return "\n\n".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPrompt(SlashCommand):
    """A prompt of a plugin whose messages a tool makes: its blocks, then its text."""


def slash_command(tool: ToolProtocol) -> SlashCommand:
    """The prompt of a tool; a part `## prompt` of its `prompt.md` replaces the text, with `{argument}` filled in."""
    folder: Path | None = getattr(tool, "folder", None)
    parts: Mapping[str, str] = load_prompts(folder / "prompt.md") if folder else {}
    return SlashCommand(
        name=TAKEN_NAMES.get(tool.name, tool.name),
        tool=tool.name,
        description=tool.description,
        arguments=_arguments(tool.get_schema()),
        template=parts.get("prompt", ""),
    )


def _arguments(schema: JSONObject) -> Mapping[str, str]:
    """The main text arguments of a tool with their descriptions, those it requires first."""
    properties = cast("dict[str, JSONObject]", schema.get("properties") or {})
    required = cast("list[str]", schema.get("required") or [])
    fitting = [name for name, entry in properties.items() if _is_text(entry) or _is_text(entry.get("items"))]
    chosen = sorted(fitting, key=lambda name: (name not in required, name not in MAIN_ARGUMENTS))[:MOST_ARGUMENTS]
    return {name: str(properties[name].get("description", "")) for name in chosen}


def _is_text(entry: JSONValue) -> bool:
    """Whether an argument is a text, or may be one."""
    if not isinstance(entry, dict):
        return False
    branches = entry.get("anyOf")
    if isinstance(branches, list):
        return any(_is_text(branch) for branch in branches)
    return entry.get("type") == "string"


def _lines(values: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in values.items())


def _may_be_one_sentence(values: Mapping[str, str]) -> bool:
    """Whether a client may have spread the words of a sentence over the arguments: each is one word."""
    return len(values) > 1 and all(" " not in value.strip() and value[:1] != "$" for value in values.values())
