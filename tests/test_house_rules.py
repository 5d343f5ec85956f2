"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from tests.support.server import ServerFolder, connect
from tests.support.tokens import o200k_tokens

from zen_mcp.cli.main import COMMANDS
from zen_mcp.config.schema import FILES
from zen_mcp.config.values import Settings
from zen_mcp.server.descriptions import describe
from zen_mcp.tools.base import BaseTool
from zen_mcp.tools.foreign.discovery import discover

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
LONGEST_MODULE_LINES = 400
LONGEST_FUNCTION_LINES = 60
MOST_TOKENS = {"core": 1_500, "full": 2_500}


def tracked() -> list[Path]:
    """Every file under version control, or all that would be, outside a checkout."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        folders = ("src", "tests", "docs", "scripts", "examples", "benchmarks", "requirements")
        return [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a module."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_modules_and_functions_stay_small() -> None:
    too_long: list[str] = []
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > LONGEST_MODULE_LINES:
            too_long.append(f"{path.relative_to(ROOT)}: {len(text.splitlines())} lines")
        for function in functions(ast.parse(text)):
            body = function.body[1:] if ast.get_docstring(function) else function.body
            lines = (function.end_lineno or 0) - body[0].lineno + 1 if body else 0
            if lines > LONGEST_FUNCTION_LINES:
                too_long.append(f"{path.relative_to(ROOT)}: {function.name} has {lines} lines")
    assert too_long == []


def test_packages_say_one_sentence_and_re_export_little() -> None:
    for path in SOURCES:
        if path.name == "__init__.py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert ast.get_docstring(tree), path
            imported = [alias for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
            assert len(imported) <= 7, path


def test_every_tool_and_every_argument_is_described() -> None:
    pages = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8")
    for tool in discover():
        entry: Any = describe(tool)
        assert re.fullmatch(r"[a-z][a-z0-9_]*", entry["name"])
        assert entry["description"].endswith(".")
        for name, schema in entry["inputSchema"]["properties"].items():
            told = schema.get("description") or f"`{name}`" in pages
            assert told, f"{entry['name']}.{name} is described neither in its schema nor in docs/tools.md"
        assert isinstance(tool, BaseTool)


def test_what_a_tool_takes_stands_in_the_documentation() -> None:
    page = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8")
    for tool in discover():
        assert isinstance(tool, BaseTool)
        assert f"## {tool.name}" in page or f"`{tool.name}`" in page, tool.name
        for name in cast("Any", tool).params.model_fields:
            assert f"`{name}`" in page, f"{tool.name}: {name}"


@pytest.mark.anyio
@pytest.mark.parametrize("profile", sorted(MOST_TOKENS))
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_tool_list_costs_few_tokens(tmp_path: Path, mode: str, profile: str) -> None:
    folder = ServerFolder(path=tmp_path, settings={"tools": [profile]})
    async with connect(folder, mode=mode) as client:
        listed = await client.list_tools()
    # Whether a tool can be called as a task is for the client's own code: no model reads it.
    text = listed.model_dump_json(by_alias=True, exclude_none=True, exclude={"tools": {"__all__": {"execution"}}})
    assert o200k_tokens(text) <= MOST_TOKENS[profile], "shorten it, or leave the core profile: ToolHints(core=False)"


def settings_of(model: type[Settings]) -> Iterator[tuple[str, str | None]]:
    """Every field of a settings class and of those it holds, with its description."""
    for name, field in model.model_fields.items():
        yield field.alias or name, field.description
        for inner in re.findall(
            r"\b(\w+(?:Settings|AgentOutput|Routing|WeightedModel|RateLimits|Limit))\b", str(field.annotation)
        ):
            found = next((cls for cls in Settings.__subclasses__() if cls.__name__ == inner), None)
            if found is not None and found is not model:
                yield from settings_of(found)


@pytest.mark.parametrize("file", sorted(FILES))
def test_every_setting_is_described_and_stands_in_the_documentation(file: str) -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for name, description in settings_of(FILES[file]):
        assert description, f"{file}.{name}"
        # "requests_per_second" may stand as "requests_per_…" with its units in words.
        stem = re.sub(r"_per_(second|minute|hour|day|month)$", "_per_", name)
        assert stem in text, f"{file}.yaml: {name} is not in docs/configuration.md"


def test_every_command_and_variable_stands_in_the_documentation() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    pages += (ROOT / "README.md").read_text(encoding="utf-8")
    for name, _ in COMMANDS:
        assert f"zen {name}" in pages, f"zen {name} is documented nowhere"
    used = {
        variable for path in SOURCES for variable in re.findall(r"\"(ZEN_[A-Z_]+)\"", path.read_text(encoding="utf-8"))
    }
    for variable in used - {"ZEN_LOCAL_SERVER"}:
        assert variable in pages, f"{variable} is documented nowhere"


def test_links_between_the_documents_lead_somewhere() -> None:
    links = [
        (page, link)
        for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    ]
    assert [link for page, link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_no_file_holds_a_registry_address_or_a_path_of_one_machine() -> None:
    forbidden = re.compile(
        r"https?://[\w.:-]+/(?:simple|packages)/|files\.pythonhosted|--(?:extra-)?index-url|(?<![\w.])/(?:root|work)/"
    )
    found: list[str] = []
    for path in tracked():
        if path.suffix in {".png", ".svg"} or path == Path(__file__).resolve():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if forbidden.search(line) and "127.0.0.1" not in line and "no-emit-index-url" not in line:
                found += [f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"]
    assert found == []


def test_locks_pin_every_package_by_hash() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text(encoding="utf-8")
        pins = re.findall(r"^[\w.\[\]-]+==\S+", text, re.MULTILINE)
        assert pins, path
        assert len(pins) == len(re.findall(r"^[\w.\[\]-]+==[^\n]*\\\n {4}--hash=sha256:", text, re.MULTILINE)), path


def test_litellm_is_imported_by_one_module() -> None:
    users = [
        path.name
        for path in SOURCES
        if re.search(
            r"^\s*import litellm|import_module\(\"litellm|^\s*from litellm",
            path.read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    ]
    assert users == ["litellm_setup.py"]


def test_the_first_steps_of_serve_import_only_the_standard_library() -> None:
    program = (
        "import sys, json; before = set(sys.modules); import zen_mcp.__main__, zen_mcp.server.prelude;"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    imported = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert {name for name in imported if name not in sys.stdlib_module_names} == {"zen_mcp"}
    assert not {"asyncio", "typing", "pathlib", "logging"} & imported, "each costs milliseconds before the first answer"
