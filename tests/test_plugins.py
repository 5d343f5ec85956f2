"""Plugins of others: found, listed, announced, set, checked, written; a broken one hurts nobody."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from tests.support.results import data_of, error_of, text_of
from tests.support.server import ServerFolder, connect
from tests.upstream import Behaviour, Upstream

pytestmark = pytest.mark.anyio

OURS = {"chat", "consensus", "listmodels", "threads", "version"}
MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "gpt-a": (Behaviour(text="from a"), {}),
    "gpt-b": (Behaviour(text="from b"), {}),
    "other": (Behaviour(text="from other"), {}),
    "weak": (Behaviour(status=500), {}),
    "long": (Behaviour(text="word " * 400), {}),
    "hanging": (Behaviour(how="hang"), {}),
}

FUNCTION = '''
from pydantic import Field
from zen_mcp.tools import ToolContext, ToolParams, tool
from zen_mcp.types import ToolResponse
from .words import GREETING

class GreetParams(ToolParams):
    """Greet somebody."""
    name: str = Field(description="Whom")

@tool()
async def greet(params: GreetParams, context: ToolContext) -> ToolResponse:
    text = f"{GREETING}, {params.name}! {context.prompts.get('tail', '')} {context.options.get('mark', '')}".strip()
    return ToolResponse(text=text, structured={"text": text})
'''
CLASS = '''
from zen_mcp.tools import BaseTool, ToolContext, ToolParams
from zen_mcp.types import ToolResponse

class CountParams(ToolParams):
    """Count the letters of a word."""
    word: str

class Count(BaseTool[CountParams]):
    name = "count"
    params = CountParams
    async def run(self, params: CountParams, context: ToolContext) -> ToolResponse:
        return ToolResponse(text=str(len(params.word)), structured={"letters": len(params.word)})
'''
BARE = """
from zen_mcp.types import ToolResponse

class Echo:
    name = "NAME"
    description = "Say it again."
    def get_schema(self):
        return {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    async def execute(self, params, context):
        BODY
        return ToolResponse(text=params["text"], structured={"text": params["text"]})

echo = Echo()
"""
FAULTY = {
    "raises": ("raise RuntimeError('no licence')", "its import fails: RuntimeError: no licence."),
    "syntax": ("def oops(:", "SyntaxError"),
    "exits": ("import sys; sys.exit(3)", "its import calls sys.exit(3)."),
    "taken": (BARE.replace("NAME", "chat"), "the name 'chat' is taken by a tool of ours."),
    "dotted": (BARE.replace("NAME", "a.b"), "the tool's name 'a.b' is not usable"),
    "shapeless": (BARE.replace('"type": "object"', '"type": "string"'), "its type is 'string'"),
    "unserial": (BARE.replace('"required": ["text"]', '"required": {1}'), "it is not JSON"),
    "empty": ("", "it defines no tool"),
}
BLOCKING = "import threading\nthreading.Event().wait(600)\n" + BARE.replace("NAME", "never")
LOUD = "import os\nprint('on import')\nos.write(1, b'to the pipe\\n')\n" + BARE.replace("NAME", "loud").replace(
    "BODY", "print('in a call')"
)


def bare(name: str, body: str = "pass") -> str:
    """The source of a bare tool."""
    return BARE.replace("NAME", name).replace("BODY", body)


def write(root: Path, name: str, source: str, **files: str) -> Path:
    """A plugin's folder."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tool.py").write_text(source.replace("BODY", "pass"), encoding="utf-8")
    for file, text in files.items():
        (folder / file.replace("_", ".")).write_text(text, encoding="utf-8")
    return folder


def greeter(root: Path) -> Path:
    """The plugin whose tool is made of a function."""
    return write(root, "greet", FUNCTION, words_py="GREETING = 'Hello'", prompt_md="## tail\nWelcome.\n")


def served(path: Path, plugins: Path, **settings: Any) -> ServerFolder:
    """A server with a folder of plugins."""
    return ServerFolder(path=path, settings={"plugin_folders": [str(plugins)], "provider": "direct", **settings})


async def names_of(client: Client) -> set[str]:
    """The tools that are listed."""
    return {tool.name for tool in (await client.list_tools()).tools}


async def until(client: Client, wanted: set[str], *, gone: Sequence[str] = ()) -> None:
    """List until these tools are there, and those are not."""
    with anyio.fail_after(60):
        while True:
            names = await names_of(client)
            if wanted <= names and not names & set(gone):
                return
            await anyio.sleep(0.2)


async def test_a_function_a_class_and_a_bare_object_are_tools(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    greeter(plugins)
    write(plugins, "count", CLASS)
    write(plugins, "echo", bare("echo"))
    async with connect(served(tmp_path, plugins)) as client:
        assert {"greet", "count", "echo"} | OURS <= await names_of(client)
        assert text_of(await client.call_tool("greet", {"name": "Ada"})) == "Hello, Ada! Welcome."
        assert data_of(await client.call_tool("count", {"word": "seven"})) == {"letters": 5}
        assert data_of(await client.call_tool("echo", {"text": "x"})) == {"text": "x"}
        missing = error_of(await client.call_tool("echo", {}))
        wrong = error_of(await client.call_tool("echo", {"text": 7}))
    assert missing["kind"] == wrong["kind"] == "InvalidArguments"
    assert missing["problem"] == "echo: 'arguments': 'text' is a required property."
    assert wrong["problem"] == "echo: 'text': 7 is not of type 'string'."


async def test_broken_plugins_hurt_nobody_and_each_is_named_by_the_doctor_and_in_the_log(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    for name, (source, _) in FAULTY.items():
        write(plugins, name, source)
    write(plugins, "blocking", BLOCKING)
    write(plugins, "loud", LOUD)
    folder = served(tmp_path, plugins)
    with anyio.fail_after(60):
        async with connect(folder, arguments=["--no-prelude"]) as client:
            names = await names_of(client)
            assert data_of(await client.call_tool("version", {}))["zen"]
            assert text_of(await client.call_tool("loud", {"text": "still in step"})) == "still in step"
    assert OURS | {"loud"} <= names
    assert not names & {"a.b", "never", "NAME"}
    log = (tmp_path / "stderr.log").read_text(encoding="utf-8")
    left_out = {line["plugin"]: " ".join(line["faults"]) for line in _events(log, "plugin_left_out")}
    assert set(left_out) == set(FAULTY)
    assert [line["plugin"] for line in _events(log, "plugin_late")] == ["blocking"]
    write(plugins, "loud", LOUD.replace("os.write(1, ", "bytes("))
    report = json.loads(folder.run("doctor", "--no-ask", "--json").stdout)
    told = [finding["what"] for finding in report if finding["what"].startswith("plugin ")]
    for name, (_, fault) in FAULTY.items():
        assert fault in left_out[name]
        assert [what for what in told if what.startswith(f"plugin {name} ({plugins / name}): ") and fault in what]
    assert any("blocking" in what and "its import is not done after 1 s" in what for what in told)
    assert f"plugin loud ({plugins / 'loud'}): loud" in told


def _events(log: str, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ("import sys; sys.exit(4)", "called sys.exit"),
        ("return None", "returned a NoneType, no ToolResponse"),
        ("raise KeyError('secret')", "secret"),
        ("return ToolResponse(text='x', structured={'x': object()})", "not JSON serializable"),
    ],
    ids=["exit", "none", "raise", "unserial"],
)
async def test_a_call_that_goes_wrong_is_an_id_to_the_caller_and_the_server_lives_on(
    tmp_path: Path, body: str, detail: str
) -> None:
    write(tmp_path / "plugins", "bad", bare("bad", body))
    async with connect(served(tmp_path, tmp_path / "plugins")) as client:
        result = await client.call_tool("bad", {"text": "x"})
        assert data_of(await client.call_tool("version", {}))["zen"]
    assert result.is_error
    assert result.structured_content is not None
    error = result.structured_content["error"]
    assert error["kind"] == "InternalError"
    assert detail not in text_of(result)
    log = (tmp_path / "stderr.log").read_text(encoding="utf-8")
    assert error["call_id"] in log
    assert detail in log


@pytest.mark.slow
async def test_a_changed_plugin_is_taken_in_announced_and_calls_under_way_end_as_they_began(tmp_path: Path) -> None:
    plugins, gate = tmp_path / "plugins", tmp_path / "gate"
    wait = f"import anyio, pathlib\n        while not pathlib.Path({str(gate)!r}).exists(): await anyio.sleep(0.05)"
    told = anyio.Event()
    write(plugins, "slow", bare("slow", f"{wait}\n        params = {{'text': 'old'}}"))
    greeter(plugins)
    folder = served(tmp_path, plugins)
    results: list[Any] = []

    async def hear(message: Any) -> None:
        if "list_changed" in str(getattr(getattr(message, "root", message), "method", "")):
            told.set()

    async with connect(folder, mode="legacy", hear=hear) as client:
        await until(client, {"slow", "greet"})

        async def call() -> None:
            results.append(await client.call_tool("slow", {"text": "x"}))

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await anyio.sleep(0.5)
            write(plugins, "slow", bare("slow", "params = {'text': 'new'}"))
            write(plugins, "fresh", bare("fresh"))
            (plugins / "greet" / "words.py").write_text("GREETING = 'Good day'", encoding="utf-8")
            await until(client, {"fresh", "slow"})
            assert text_of(await client.call_tool("slow", {"text": "x"})) == "new"
            assert text_of(await client.call_tool("greet", {"name": "Ada"})) == "Good day, Ada! Welcome."
            with anyio.fail_after(20):
                await told.wait()
            gate.touch()
        assert text_of(results[0]) == "old"
        (plugins / "fresh" / "tool.py").unlink()
        write(plugins, "greet", "import broken_now")
        await until(client, OURS | {"slow"}, gone=["fresh", "greet"])


@pytest.mark.slow
async def test_a_plugin_that_imports_for_long_comes_when_it_is_done(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    source = (
        f"import pathlib, threading\nwhile not pathlib.Path({str(gate)!r}).exists(): threading.Event().wait(0.05)\n"
    )
    write(tmp_path / "plugins", "late", source + bare("late"))
    folder = served(tmp_path, tmp_path / "plugins")
    async with connect(folder, mode="legacy") as client:
        assert await names_of(client) >= OURS
        assert "late" not in await names_of(client)
        gate.touch()
        await until(client, {"late"})
        assert text_of(await client.call_tool("late", {"text": "here"})) == "here"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "tool"),
    [
        ("their_plugins.echo", "packaged_echo"),
        ("their_plugins.echo:echo", "packaged_echo"),
        ("their_plugins.echo:Echo", "packaged_echo"),
        ("their_plugins:FOLDER", "in_folder"),
    ],
    ids=["module", "object", "class", "folder"],
)
async def test_an_installed_package_brings_tools_by_its_entry_point(tmp_path: Path, value: str, tool: str) -> None:
    site = tmp_path / "site"
    package = site / "their_plugins"
    write(package, "inner", bare("in_folder"))
    (package / "__init__.py").write_text(
        "from pathlib import Path\nFOLDER = Path(__file__).parent / 'inner'\n", encoding="utf-8"
    )
    (package / "echo.py").write_text(bare("packaged_echo"), encoding="utf-8")
    info = site / "their_plugins-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-plugins\nVersion: 1.2\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[zen_mcp.plugins]\nmine = {value}\n", encoding="utf-8")
    folder = ServerFolder(path=tmp_path, environment={"PYTHONPATH": str(site)})
    async with connect(folder) as client:
        assert text_of(await client.call_tool(tool, {"text": "packed"})) == "packed"
    listed = json.loads(folder.run("plugin", "list", "--json").stdout)
    assert {"tool": tool, "from": "package their-plugins 1.2", "enabled": True} in listed["tools"]


@pytest.fixture
def asking(models: dict[str, dict[str, Any]], tmp_path: Path) -> ServerFolder:
    """A server with the models of this file and nothing set for its tools."""
    providers = {"providers": {"fallback_chain": ["other", "gpt-b"]}}
    return ServerFolder(
        path=tmp_path, models=models, settings={"default_model": "other", "provider": "direct"}, providers=providers
    )


def with_settings(folder: ServerFolder, **settings: Any) -> ServerFolder:
    """The same server with `tool_settings`."""
    return replace(folder, settings={**folder.settings, "tool_settings": settings})


async def test_a_tool_asks_only_the_models_that_its_settings_allow(asking: ServerFolder, upstream: Upstream) -> None:
    folder = with_settings(asking, chat={"allowed_models": ["gpt-*", "weak"], "default_model": "gpt-b"})
    before = len(upstream.asked("other"))
    async with connect(folder) as client:
        refused = error_of(await client.call_tool("chat", {"prompt": "x", "model": "other"}))
        default = data_of(await client.call_tool("chat", {"prompt": "x"}))
        stepped_in = data_of(await client.call_tool("chat", {"prompt": "x", "model": "weak"}))
        free = data_of(await client.call_tool("consensus", {"prompt": "x", "models": ["other", "gpt-a"]}))
    assert refused["kind"] == "NotAllowed"
    assert refused["problem"] == "The tool 'chat' may not ask 'other'; its allowed_models are 'gpt-*', 'weak'."
    assert default["text"] == "from b"
    assert stepped_in["text"] == "from b", "a fallback that is not allowed is passed over"
    assert len(free["answers"]) == 2
    assert len(upstream.asked("other")) == before + 1, "only consensus asked it"


async def test_the_servers_default_is_passed_over_where_a_tool_may_not_ask_it(asking: ServerFolder) -> None:
    async with connect(with_settings(asking, chat={"allowed_models": ["gpt-a"]})) as client:
        assert data_of(await client.call_tool("chat", {"prompt": "x"}))["model"] == "gpt-a"


async def test_a_tool_has_limits_and_prompts_of_its_own_and_can_be_turned_off(
    asking: ServerFolder, upstream: Upstream
) -> None:
    prompts = asking.path / "config" / "prompts"
    prompts.mkdir(parents=True)
    (prompts / "chat.md").write_text("## system\nAnswer like a pirate.\n", encoding="utf-8")
    chat = {"timeout_seconds": 2, "max_result_characters": 500, "prompts_dir": "prompts"}
    # Nobody steps in, who could answer within the two seconds.
    folder = replace(with_settings(asking, chat=chat, version={"enabled": False}), providers={})
    async with connect(replace(folder, settings={**folder.settings, "warm_up": True})) as client:
        assert "version" not in await names_of(client)
        late = error_of(await client.call_tool("chat", {"prompt": "x", "model": "hanging"}))
        long = data_of(await client.call_tool("chat", {"prompt": "x", "model": "long"}))
        data_of(await client.call_tool("chat", {"prompt": "x", "model": "gpt-a"}))
    assert late["kind"] in {"ToolTimeout", "VendorTimeout"}
    assert len(long["text"]) <= 500
    assert long["next_offset"]
    assert upstream.asked("gpt-a")[-1].body["messages"][0] == {"role": "system", "content": "Answer like a pirate."}


async def test_a_plugins_own_settings_are_defaults_that_the_server_overrides(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    folder = greeter(plugins)
    (folder / "config.yaml").write_text("options: {mark: '(own)'}\nprompts_dir: mine\n", encoding="utf-8")
    (folder / "mine").mkdir()
    (folder / "mine" / "greet.md").write_text("## tail\nCome in.\n", encoding="utf-8")
    write(plugins, "off", bare("off"), config_yaml="enabled: false\n")
    write(plugins, "wrong", bare("wrong"), config_yaml="timeout: 3\n")
    async with connect(served(tmp_path, plugins)) as client:
        assert not {"off", "wrong"} & await names_of(client)
        assert text_of(await client.call_tool("greet", {"name": "Ada"})) == "Hello, Ada! Come in. (own)"
    assert "config.yaml: timeout: Extra inputs" in (tmp_path / "stderr.log").read_text(encoding="utf-8")
    settings = {"greet": {"options": {"mark": "(server)"}}, "off": {"enabled": True}}
    async with connect(served(tmp_path, plugins, tool_settings=settings)) as client:
        assert "off" in await names_of(client)
        assert text_of(await client.call_tool("greet", {"name": "Ada"})) == "Hello, Ada! Come in. (server)"


async def test_a_tool_that_does_not_end_is_ended(tmp_path: Path) -> None:
    write(tmp_path / "plugins", "endless", bare("endless", "import anyio; await anyio.sleep_forever()"))
    settings = {"tool_settings": {"endless": {"timeout_seconds": 0.3}}}
    async with connect(served(tmp_path, tmp_path / "plugins", **settings)) as client:
        error = error_of(await client.call_tool("endless", {"text": "x"}))
    assert error["kind"] == "ToolTimeout"
    assert error["problem"] == "'endless' did not end within its 0.3 seconds."


def test_a_checkouts_own_folder_cannot_set_tools_or_bring_code(tmp_path: Path) -> None:
    folder = ServerFolder(path=tmp_path)
    folder.write()
    project = folder.work / ".zen"
    project.mkdir()
    text = "tool_settings: {chat: {prompts_dir: /}}\nplugin_folders: [here]\n"
    (project / "server.yaml").write_text(text, encoding="utf-8")
    done = folder.run("plugin", "list")
    assert done.returncode == 1
    assert "tool_settings: cannot be set by the working directory's own '.zen' folder." in done.stderr
    assert "plugin_folders: cannot be set by the working directory's own '.zen' folder." in done.stderr


@pytest.mark.slow
def test_a_new_plugin_works_its_own_test_passes_and_the_check_finds_nothing(tmp_path: Path) -> None:
    folder = ServerFolder(path=tmp_path)
    made = folder.run("plugin", "new", "plain_words", "--dir", str(tmp_path))
    assert made.returncode == 0, made.stderr
    plugin = tmp_path / "plain_words"
    assert {file.name for file in plugin.iterdir()} == {
        "tool.py",
        "prompt.md",
        "config.yaml",
        "test_tool.py",
        "README.md",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(plugin)]
    environment = {**os.environ, "HOME": str(tmp_path)}
    tested = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "2 passed" in tested.stdout, tested.stdout + tested.stderr
    checked = folder.run("plugin", "check", str(plugin), "--json")
    assert checked.returncode == 0, checked.stdout
    (report,) = json.loads(checked.stdout)
    assert report["tools"] == ["plain_words"]
    assert report["faults"] == []
    again = folder.run("plugin", "new", "plain_words", "--dir", str(tmp_path))
    assert again.returncode == 1
    assert "is there already" in again.stderr


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Chat", "'Chat' is no name for a tool."),
        ("a.b", "'a.b' is no name for a tool."),
        ("chat", "The name 'chat' is taken by a tool of ours."),
        ("../out", "'../out' is no name for a tool."),
    ],
)
def test_a_name_that_no_tool_can_have_is_refused(tmp_path: Path, name: str, told: str) -> None:
    done = ServerFolder(path=tmp_path).run("plugin", "new", name, "--dir", str(tmp_path / "new"))
    assert done.returncode == 1
    assert told in done.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_the_check_names_every_fault_and_ends_with_1(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    for name, (source, _) in FAULTY.items():
        write(plugins, name, source)
    write(plugins, "blocking", BLOCKING)
    write(plugins, "kills", "import os; os._exit(9)")
    write(plugins, "refused", bare("refused").replace('{"type": "string"}', '{"type": ["string", "null"]}'))
    write(plugins, "promptless", FUNCTION.replace(".get('tail', '')", "['tail']"), words_py="GREETING = ''")
    write(plugins, "loud", LOUD)
    done = ServerFolder(path=tmp_path).run(
        "plugin", "check", str(plugins), "--json", "--timeout", "20", timeout_seconds=240
    )
    assert done.returncode == 1
    found = {report["name"]: report for report in json.loads(done.stdout)}
    for name, (_, fault) in FAULTY.items():
        assert fault in " ".join(found[name]["faults"])
    assert found["blocking"]["faults"] == ["its import is not done after 20 s: something in it waits."]
    assert found["kills"]["faults"] == ["its import ends the process (exit code 9)."]
    assert found["refused"]["faults"] == ["refused: 'text' has several types; Gemini takes one."]
    assert found["promptless"]["faults"] == ["prompt.md has no part '## tail', which the code names."]
    assert found["loud"]["faults"] == []
    assert any("prints to standard output" in note for note in found["loud"]["notes"])


def test_the_list_tells_whose_each_tool_is_and_whether_it_is_offered(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    greeter(plugins)
    write(plugins, "raises", FAULTY["raises"][0])
    folder = ServerFolder(
        path=tmp_path,
        settings={"disabled_tools": ["greet"]},
        environment={"ZEN_PLUGIN_FOLDERS": str(plugins)},
    )
    done = folder.run("plugin", "list")
    rows = [line.split() for line in done.stdout.splitlines() if line]
    assert ["greet", "no", str(plugins / "greet")] in rows
    assert ["chat", "yes", "ours"] in rows
    assert f"raises ({plugins / 'raises'}): its import fails: RuntimeError: no licence." in done.stdout


def test_a_check_of_nothing_says_what_to_name(tmp_path: Path) -> None:
    done = ServerFolder(path=tmp_path).run("plugin", "check")
    assert done.returncode == 1
    assert "There is no plugin to check." in done.stderr


def blocks_of_the_page() -> dict[str, str]:
    """The files that docs/plugins.md shows: path in the first line's comment, then the text."""
    page = (Path(__file__).parent.parent / "docs" / "plugins.md").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for block in re.findall(r"```(?:python|markdown)\n(.*?)```", page, re.DOTALL):
        first, _, rest = block.partition("\n")
        found[re.sub(r"^(#|<!--)\s*|\s*-->$", "", first)] = rest
    return found


@pytest.fixture
def documented(tmp_path: Path) -> Path:
    """The examples of docs/plugins.md as files."""
    for name, text in blocks_of_the_page().items():
        file = tmp_path / "plugins" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return tmp_path / "plugins"


async def test_the_examples_of_the_page_work_as_they_stand_there(
    asking: ServerFolder, documented: Path, upstream: Upstream
) -> None:
    assert set(blocks_of_the_page()) == {"second_look/tool.py", "second_look/prompt.md", "text_tools/tool.py"}
    folder = replace(asking, settings={**asking.settings, "plugin_folders": [str(documented)]})
    async with connect(folder) as client:
        first = data_of(await client.call_tool("second_look", {"plan": "Ship it on Friday.", "model": "gpt-a"}))
        again = {"plan": "On Monday, then.", "model": "gpt-a", "continuation_id": first["continuation_id"]}
        data_of(await client.call_tool("second_look", again))
        words = data_of(await client.call_tool("word_count", {"text": "three small words"}))
        empty = error_of(await client.call_tool("word_count", {"text": " "}))
        turned = text_of(await client.call_tool("reverse", {"text": "abc"}))
    assert first["text"] == "from a"
    messages = upstream.asked("gpt-a")[-1].body["messages"]
    assert messages[0]["content"].startswith("You look for what could go wrong with a plan.")
    assert "Ship it on Friday." in messages[1]["content"]
    assert words == {"words": 3}
    assert empty["problem"] == "'text' is empty."
    assert turned == "cba"


@pytest.mark.slow
def test_the_examples_of_the_page_pass_the_check(documented: Path, tmp_path: Path) -> None:
    done = ServerFolder(path=tmp_path).run("plugin", "check", str(documented))
    assert done.returncode == 0, done.stdout
    assert "text_tools" in done.stdout
