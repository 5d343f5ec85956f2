"""Logs through the front door: quiet, one event a line, the call's id on each, no keys, no prompts."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import KEY
from tests.support.results import data_of, error_of
from tests.support.server import RawServer, ServerFolder, connect
from tests.upstream import Behaviour

from zen_mcp.config.schema import LogSettings
from zen_mcp.observability.logs import EventLog, conceal, configure_logs, enter_call

pytestmark = pytest.mark.anyio

PROMPT = "Why does the payroll of the Antarctic branch not add up?"
MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="The penguins were paid twice."), {}),
    "broken": (Behaviour(status=400, text="{echo}"), {}),
}
SETTINGS = {"default_model": "fine"}

PLUGIN = '''
"""A tool that quotes what it was asked when it crashes."""

import logging

from pydantic import Field

from zen_mcp.tools import ToolContext, ToolParams, tool
from zen_mcp.types import ToolResponse


class CrashParams(ToolParams):
    """Crash."""

    text: str = Field(description="What")


@tool()
async def crash(params: CrashParams, context: ToolContext) -> ToolResponse:
    """Crash."""
    logging.getLogger("zen_mcp.plugins.crash").warning("about to crash with %s", params.text)
    raise RuntimeError(f"cannot digest {params.text} with sk-live-0123456789abcdef")
'''


def lines_of(folder: ServerFolder) -> list[dict[str, Any]]:
    """The events that a server wrote."""
    text = (folder.path / "stderr.log").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


async def test_a_chat_writes_two_lines_with_the_calls_id(tmp_path: Path, models: dict[str, dict[str, Any]]) -> None:
    folder = ServerFolder(path=tmp_path, models=models, settings=SETTINGS)
    async with connect(folder) as client:
        data_of(await client.call_tool("chat", {"prompt": PROMPT}))
    model, tool = lines_of(folder)
    assert (model["event"], tool["event"]) == ("model_answered", "tool_called")
    assert model["call"] == tool["call"]
    assert {"event", "level", "timestamp", "call", "model", "vendor", "input_tokens", "cost_dollars"} <= set(model)


async def test_an_error_bears_the_id_that_its_lines_bear(tmp_path: Path, models: dict[str, dict[str, Any]]) -> None:
    folder = ServerFolder(path=tmp_path, models=models, settings=SETTINGS)
    async with connect(folder) as client:
        error = error_of(await client.call_tool("chat", {"prompt": PROMPT, "model": "broken"}))
    assert {line["call"] for line in lines_of(folder)} == {error["call_id"]}
    assert not any("payroll" in str(line) for line in lines_of(folder)), "not even where the vendor echoes it"


async def test_an_unknown_tool_is_an_error_with_an_id_too(folder: ServerFolder) -> None:
    async with RawServer(folder) as server:
        await server.initialize()
        answer = await server.request(1, "tools/call", {"name": "chatt", "arguments": {}})
    assert "chat" in answer["error"]["message"]
    assert answer["error"]["data"]["call_id"].startswith("c-")


@pytest.mark.parametrize("shape", ["json", "console"])
async def test_a_crash_that_quotes_the_question_and_a_key_shows_neither(
    tmp_path: Path, models: dict[str, dict[str, Any]], shape: str
) -> None:
    (tmp_path / "plugins" / "crash").mkdir(parents=True)
    (tmp_path / "plugins" / "crash" / "tool.py").write_text(PLUGIN, encoding="utf-8")
    settings = {**SETTINGS, "plugin_folders": [str(tmp_path / "plugins")], "log": {"format": shape, "level": "DEBUG"}}
    folder = ServerFolder(path=tmp_path, models=models, settings=settings)
    async with connect(folder) as client:
        result = await client.call_tool("crash", {"text": PROMPT})
    assert result.is_error
    assert result.structured_content is not None
    call = result.structured_content["error"]["call_id"]
    log = (tmp_path / "stderr.log").read_text(encoding="utf-8")
    assert "payroll" not in log
    assert "sk-live" not in log
    assert f"cannot digest [{len(PROMPT)} characters] with [key]" in log
    assert f"about to crash with [{len(PROMPT)} characters]" in log
    for line in log.splitlines() if shape == "json" else []:
        event = json.loads(line)
        assert event.get("call", call) == call


async def test_a_file_takes_the_lines_and_stderr_nothing(tmp_path: Path, models: dict[str, dict[str, Any]]) -> None:
    file = tmp_path / "logs" / "zen.log"
    folder = ServerFolder(path=tmp_path, models=models, settings={**SETTINGS, "log": {"file": str(file)}})
    async with connect(folder) as client:
        await client.call_tool("chat", {"prompt": PROMPT})
    events = [json.loads(line)["event"] for line in file.read_text(encoding="utf-8").splitlines()]
    assert events == ["model_answered", "tool_called"]
    assert (tmp_path / "stderr.log").read_text(encoding="utf-8") == ""


def test_a_file_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    folder = ServerFolder(path=tmp_path, settings={"log": {"file": str(tmp_path / "file" / "zen.log")}})
    done = folder.run("serve", "--no-prelude", input="")
    assert done.returncode == 2
    assert "zen.log' cannot be written" in done.stderr


@pytest.fixture
def logger() -> Generator[logging.Logger]:
    """The root of our loggers, put back afterwards."""
    ours = logging.getLogger("zen_mcp")
    before = (ours.handlers[:], ours.level, ours.propagate)
    yield ours
    for handler in ours.handlers:
        with suppress(OSError):  # of the disk that is full
            handler.close()
    ours.handlers[:], ours.level, ours.propagate = before[0], before[1], before[2]


def test_a_full_disk_under_the_log_is_said_once(logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.fail("this machine has no /dev/full")
    configure_logs(LogSettings(file=full))
    for _ in range(5):
        EventLog().info("something")
    said = capsys.readouterr().err
    assert said.count("the log '/dev/full' cannot be written") == 1


def test_a_file_rotates(tmp_path: Path, logger: logging.Logger) -> None:
    configure_logs(LogSettings(file=tmp_path / "zen.log"))
    for _ in range(13):
        EventLog().info("much", text="x" * 1_000_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["zen.log", "zen.log.1"]


def test_known_keys_are_concealed_also_those_that_come_later(logger: logging.Logger) -> None:
    out = StringIO()
    configure_logs(LogSettings(), stream=out)
    secrets = {"first-of-all-keys"}
    conceal(secrets)
    secrets.add("later-than-that")
    EventLog().info("keys", text="first-of-all-keys", nested={"list": ["later-than-that", KEY]})
    event = json.loads(out.getvalue())
    assert (event["text"], event["nested"]) == ("[key]", {"list": ["[key]", "[key]"]})


async def test_content_stands_in_the_log_where_that_is_wished(logger: logging.Logger) -> None:
    written: dict[bool, str] = {}
    for content in (False, True):
        out = StringIO()
        configure_logs(LogSettings(content=content, level="DEBUG"), stream=out)
        enter_call("c-1", {"prompt": PROMPT})
        EventLog().debug("tool_arguments", arguments={"prompt": PROMPT})
        written[content] = out.getvalue()
    assert json.loads(written[False])["arguments"] == {"prompt": f"[{len(PROMPT)} characters]"}
    assert json.loads(written[True])["arguments"] == {"prompt": PROMPT}
    assert json.loads(written[True])["call"] == "c-1"
