"""The suite as a whole: what it costs, and what the documentation says of it."""

from __future__ import annotations

import json
from pathlib import Path

from scripts.tool_lines import table, written
from tests.support.server import ServerFolder

ROOT = Path(__file__).resolve().parent.parent


def test_the_table_of_lines_is_right() -> None:
    assert written() == table(), "run: python scripts/tool_lines.py"


def test_zen_tools_tells_what_listing_costs_beside_others(tmp_path: Path) -> None:
    folder = ServerFolder(path=tmp_path, settings={"tools": ["core"], "disabled_tools": ["version"]})
    done = folder.run("tools", "--tokens", "--json")
    data = json.loads(done.stdout)
    tools = {tool["name"]: tool for tool in data["tools"]}
    assert tools["codereview"]["profile"] == "core"
    assert tools["secaudit"]["profile"] == "full"
    assert (tools["chat"]["offered"], tools["version"]["offered"], tools["secaudit"]["offered"]) == (True, False, False)
    assert data["total_tokens"]["full"] == sum(tool["tokens"] for tool in data["tools"]) <= 2_500
    assert data["total_tokens"]["offered"] == data["total_tokens"]["core"] - tools["version"]["tokens"]
    table_lines = folder.run("tools", "--tokens").stdout.splitlines()
    assert table_lines[0].split() == ["TOOL", "PROFILE", "TOKENS"]
    assert table_lines[-2].split()[-1] == "10,329"
    plain = folder.run("tools").stdout
    assert "secaudit" in plain
    assert "not offered" in plain


def test_an_unknown_profile_is_told(tmp_path: Path) -> None:
    done = ServerFolder(path=tmp_path, settings={"tools": ["cor"]}).run("tools")
    assert done.returncode == 1
    assert "there is no tool or profile 'cor'. Did you mean 'core'?" in done.stderr
