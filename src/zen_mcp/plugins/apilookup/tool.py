"""What is installed of a library, before the web is searched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import anyio
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from zen_mcp.errors import InvalidArguments, did_you_mean
from zen_mcp.plugins.apilookup.found import Found, shortened
from zen_mcp.plugins.apilookup.javascript_api import look_up_javascript, split_name
from zen_mcp.plugins.apilookup.python_api import look_up_python
from zen_mcp.plugins.apilookup.python_packages import find_environment, names_of
from zen_mcp.tools import ToolContext, ToolHints, ToolParams, ToolResult, tool
from zen_mcp.types import ToolResponse

Language = Literal["python", "javascript"]
_LONGEST_NAME = 300
_LOOKING_SECONDS = 30.0


class ApiLookupParams(ToolParams):
    """Look up an installed library: version, signature, docs, what to search."""

    name: str = Field(description="package.module.name or @scope/pkg.export")
    language: Language | None = None
    topic: SkipJsonSchema[str] = Field(default="", description="What is to be found out")


class ApiLookupResult(ToolResult):
    """What is installed, and what to search for."""

    package: SkipJsonSchema[str] = ""
    version: SkipJsonSchema[str] = ""
    signature: SkipJsonSchema[str] = ""
    document: SkipJsonSchema[str] = ""
    at: SkipJsonSchema[str] = ""
    summary: SkipJsonSchema[str] = ""
    home: SkipJsonSchema[str] = ""
    where: SkipJsonSchema[str] = ""
    language: SkipJsonSchema[str] = ""
    missing: SkipJsonSchema[str] = ""
    note: SkipJsonSchema[str] = ""
    search: str = ""


@tool(hints=ToolHints(open_world=False, core=False))
async def apilookup(params: ApiLookupParams, context: ToolContext) -> ToolResponse:
    """Look in the workspace's environment, and tell what to search for."""
    name = params.name.strip().replace("::", ".")
    if not name or len(name) > _LONGEST_NAME or any(letter.isspace() or letter == "\x00" for letter in name):
        problem = f"'name' {params.name[:80]!r} is no name of a package or of something in one."
        raise InvalidArguments(problem, "Write package, package.module.name or @scope/package.export.")
    roots = tuple(root.resolve() for root in context.settings.roots)
    with anyio.fail_after(_LOOKING_SECONDS):
        found, note = await anyio.to_thread.run_sync(_look, roots, name, params.language, abandon_on_cancel=True)
    search = _search(found, name, params.topic)
    if found is None:
        text = f"{note}\n{search}"
        return ToolResponse(text=text, structured=ApiLookupResult(note=note, search=search).to_json())
    document = shortened(found.document, max(context.max_characters - len(found.signature) - 1_000, 200))
    missing = f"{found.package} {found.version} has no '{found.missing}'. {found.near}".strip() if found.missing else ""
    result = ApiLookupResult(
        package=found.package,
        version=found.version,
        signature=found.signature,
        document=document,
        at=found.at,
        summary=found.summary,
        home=found.home,
        where=found.where,
        language=found.language,
        missing=missing,
        search=search,
    )
    head = " · ".join(part for part in (f"{found.package} {found.version}", found.summary, found.home) if part)
    lines = [head, f"installed in {found.where}{f', {found.at}' if found.at else ''}", missing]
    parts = ["\n".join(line for line in lines if line), found.signature, document, search]
    return ToolResponse(text="\n\n".join(part for part in parts if part), structured=result.to_json())


def _look(roots: Sequence[Path], name: str, language: Language | None) -> tuple[Found | None, str]:
    """What was found, or a sentence on where it was looked for."""
    environment = find_environment(roots)
    python = look_up_python(environment, name) if language != "javascript" else None
    script = look_up_javascript(roots, name) if language != "python" else None
    # A name that both have is meant in the language in which all of it is there.
    if python and script:
        python = None if python.missing and not script.missing else python
    if python or script:
        return python or script, ""
    places = [environment.title] if language != "javascript" else []
    places += ["node_modules"] if language != "python" else []
    near = did_you_mean(name.partition(".")[0], names_of(environment)) if language != "javascript" else ""
    return None, f"'{name}' is not installed in {' or '.join(places)}. {near}".strip()


def _search(found: Found | None, name: str, topic: str) -> str:
    """What the agent is to search for, with the version in it."""
    if found is None:
        package, _ = split_name(name)
        words = " ".join(part for part in (name, topic) if part)
        return f'Search the web for: "{words}". Find the newest version of {package} and its date first.'
    major_minor = ".".join(found.version.split(".")[:2])
    rest = name.partition(".")[2] if found.language == "python" else split_name(name)[1]
    words = " ".join(part for part in (found.package, major_minor, rest, topic) if part)
    if not found.version:
        return f"{found.package} is read from its source, so the source is what holds."
    home = f" Begin at {found.home}." if found.home else ""
    return f'Search the web for: "{words}".{home} {found.version} is installed: later pages may not apply to it.'
