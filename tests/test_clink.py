"""The clink tool through an MCP client: real child processes, in each form of output, well and badly behaved."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from tests.support.results import data_of, error_of, text_of
from tests.support.server import RawServer, ServerFolder, connect, modern, request

pytestmark = pytest.mark.anyio

ANSWER_SECONDS = 60.0

AGENTS = {
    "echo": """
prompt = sys.stdin.read()
print("ARGS", sys.argv[1:], "CWD", os.getcwd())
print("ENV", sorted(os.environ))
print("PROMPT", prompt)
""",
    "argument": """
print("LAST", sys.argv[-1], "STDIN", repr(sys.stdin.read()))
""",
    "document": """
print("Loaded credentials.")
print(json.dumps({"response": "from a document", "stats": {"braces": "}"}}))
""",
    "events": """
for text in ("first", "second"):
    print(json.dumps({"type": "item.completed", "item": {"type": "agent_message", "text": text}}), flush=True)
print(json.dumps({"type": "item.completed", "item": {"type": "command", "text": "ls"}}))
print("not JSON at all")
print(json.dumps({"type": "turn.completed"}), end="")
""",
    "long": """
print("word " * 4_000)
""",
    "failing": """
sys.stderr.write("You are not logged in.\\n")
sys.exit(3)
""",
    "refusing": """
print(json.dumps({"type": "error", "message": "usage limit reached"}))
sys.exit(1)
""",
    "garbage": """
sys.stdout.buffer.write(bytes(range(256)) * 50 + b'{"response": ')
""",
    "flood": """
block = b"x" * 1_048_576
while True:
    sys.stdout.buffer.write(block)
""",
    "silent": "",
    "hanging": """
import signal, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", stubborn])
with open("pids", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.rename("pids", "started")
print("half an answer", flush=True)
time.sleep(600)
""",
    "leaving": """
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open("left", "w") as file:
    file.write(str(child.pid))
print("done, with a child left behind")
""",
    "writing": """
print("ARGS", sys.argv[1:])
""",
}
EVENTS = {
    "format": "jsonl",
    "answer": "item.text",
    "where": {"type": "item.completed", "item.type": "agent_message"},
    "error": ["error.message", "message"],
}
MORE: dict[str, dict[str, Any]] = {
    "echo": {
        "args": ["--fixed"],
        "read_only_args": ["--read-only"],
        "write_args": ["--write"],
        "env": ["FOR_THE_AGENT"],
        "roles": {"poet": "Answer in verse.", "filed": "roles/filed.md"},
    },
    "argument": {"prompt_via": "argument"},
    "document": {"output": {"format": "json", "answer": "response"}},
    "events": {"output": EVENTS},
    "refusing": {"output": EVENTS},
    "garbage": {"output": {"format": "json", "answer": "response"}},
    "failing": {"install": "Log in with 'failing login'."},
    "writing": {"write_args": ["--write"], "allow_write": True},
    "hanging": {"timeout_seconds": 2},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ServerFolder:
    path = tmp_path_factory.mktemp("clink")
    agents: dict[str, Any] = {"missing": {"command": "no-such-program-here", "install": "Build it yourself."}}
    for name, body in AGENTS.items():
        program = path / name
        program.write_text(f"#!{sys.executable}\nimport json, os, sys\n{body}", encoding="utf-8")
        program.chmod(0o755)
        agents[name] = {"command": str(program), **MORE.get(name, {})}
    agents["wide"] = {**agents["events"], "output": {**EVENTS, "take": "all"}}
    agents["slow"] = {**agents["hanging"], "timeout_seconds": 600}
    (path / "config" / "roles").mkdir(parents=True)
    (path / "config" / "roles" / "filed.md").write_text("A role from a file.", encoding="utf-8")
    return ServerFolder(
        path=path,
        settings={"agents": agents, "tools": "full"},
        environment={"FOR_THE_AGENT": "yes", "OPENAI_API_KEY": "sk-not-for-agents", "LC_ALL": "C.UTF-8"},
    )


@pytest.fixture(scope="module")
async def client(folder: ServerFolder) -> AsyncGenerator[Client]:
    async with connect(folder) as session:
        yield session


async def ask(client: Client, agent: str, **more: Any) -> dict[str, Any]:
    with anyio.fail_after(ANSWER_SECONDS):
        return data_of(await client.call_tool("clink", {"prompt": "What is it?", "agent": agent, **more}))


async def refused(client: Client, **arguments: Any) -> dict[str, Any]:
    with anyio.fail_after(ANSWER_SECONDS):
        return error_of(await client.call_tool("clink", {"prompt": "What is it?", **arguments}))


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is only not collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def gone(pids: list[int]) -> None:
    with anyio.fail_after(ANSWER_SECONDS):
        while any(alive(pid) for pid in pids):  # noqa: ASYNC110 - the kernel tells nobody
            await anyio.sleep(0.05)


async def pids_of(file: Path) -> list[int]:
    with anyio.fail_after(ANSWER_SECONDS):
        while not await anyio.Path(file).exists():  # noqa: ASYNC110 - another process writes it
            await anyio.sleep(0.05)
    pids = [int(word) for word in (await anyio.Path(file).read_text(encoding="utf-8")).split()]
    await anyio.Path(file).unlink()
    return pids


async def test_an_agent_gets_its_arguments_a_clean_environment_and_the_role_before_the_task(
    client: Client, folder: ServerFolder
) -> None:
    data = await ask(client, "echo", role="poet")
    args, environment, prompt = data["text"].split("\n", 2)
    assert args == f"ARGS ['--fixed', '--read-only'] CWD {folder.work.resolve()}"
    assert "FOR_THE_AGENT" in environment
    assert "'PATH'" in environment
    assert "ZEN_CLINK_DEPTH" in environment
    assert "OPENAI_API_KEY" not in environment
    assert "ZEN_CONFIG_DIR" not in environment
    assert prompt.startswith("PROMPT Answer in verse.\n\n")
    assert prompt.endswith("\n\nWhat is it?")
    assert data["agent"] == "echo"


async def test_roles_come_from_a_file_or_are_ours(client: Client) -> None:
    assert "A role from a file." in (await ask(client, "echo", role="filed"))["text"]
    assert "review code in this folder" in (await ask(client, "echo", role="codereviewer"))["text"]
    assert "numbered steps" in (await ask(client, "echo", role="planner"))["text"]
    error = await refused(client, agent="echo", role="pirate")
    assert error["problem"] == "There is no role 'pirate'."
    assert error["fix"] == "There are: default, planner, codereviewer, poet, filed."


async def test_a_prompt_may_be_the_last_argument_and_the_input_is_closed(client: Client) -> None:
    text = (await ask(client, "argument", prompt="--help"))["text"]
    assert text.endswith("--help STDIN ''")


async def test_answers_are_found_in_documents_and_events(client: Client) -> None:
    assert (await ask(client, "document"))["text"] == "from a document"
    assert (await ask(client, "events"))["text"] == "second"
    assert (await ask(client, "wide"))["text"] == "first\n\nsecond"


async def test_a_thread_goes_on_with_the_history_before_the_prompt(client: Client) -> None:
    first = await ask(client, "document", prompt="Where is it from?")
    thread = first["continuation_id"]
    text = (await ask(client, "echo", prompt="And now?", continuation_id=thread))["text"]
    assert "[user]\nWhere is it from?\n\n[assistant]\nfrom a document\n\nAnd now?" in text


async def test_a_long_answer_is_read_on_with_threads(client: Client) -> None:
    data = await ask(client, "long")
    assert len(data["text"]) <= 7_500
    more = {name: data[name] for name in ("continuation_id", "turn")} | {"offset": data["next_offset"]}
    rest = data_of(await client.call_tool("threads", more))
    assert (data["text"] + rest["text"]).startswith("word word")
    assert f"offset={data['next_offset']}" in data["notes"][0]


async def test_a_failure_names_exit_code_and_reason_and_what_to_do(client: Client) -> None:
    error = await refused(client, agent="failing")
    assert error["kind"] == "AgentFailed"
    assert error["problem"] == "The agent 'failing' failed with exit code 3: You are not logged in."
    assert error["fix"] == "Log in with 'failing login'."
    error = await refused(client, agent="refusing")
    assert error["problem"] == "The agent 'refusing' failed with exit code 1: usage limit reached."


async def test_output_without_an_answer_is_an_error(client: Client) -> None:
    for agent, form in (("garbage", "json"), ("silent", "text")):
        error = await refused(client, agent=agent)
        assert error["problem"].startswith(f"The agent '{agent}' gave no answer: its output holds no answer where")
        assert f"({form})" in error["problem"]


async def test_a_flood_is_stopped_and_its_beginning_kept(client: Client) -> None:
    data = await ask(client, "flood")
    assert data["text"].startswith("xxxx")
    assert data["notes"][:2] == [
        "not a whole answer: it was stopped after 64 MiB of output",
        "some of its output was too long and is not here",
    ]


async def test_an_agent_that_hangs_is_stopped_with_all_it_started(client: Client, folder: ServerFolder) -> None:
    data = await ask(client, "hanging")
    assert data["text"] == "half an answer"
    assert data["notes"] == ["not a whole answer: it was stopped after 2 seconds"]
    await gone(await pids_of(folder.work / "started"))


async def test_what_an_agent_leaves_running_is_ended_and_does_not_keep_us(client: Client, folder: ServerFolder) -> None:
    assert (await ask(client, "leaving"))["text"] == "done, with a child left behind"
    await gone(await pids_of(folder.work / "left"))


@pytest.mark.parametrize("how", ["cancelled", "closed"])
async def test_no_process_is_left_when_the_call_is_cancelled_or_the_client_leaves(
    folder: ServerFolder, how: str
) -> None:
    async with RawServer(folder) as server:
        call = modern({"name": "clink", "arguments": {"prompt": "x", "agent": "slow"}})
        await server.send(request(1, "tools/call", call))
        pids = await pids_of(folder.work / "started")
        if how == "cancelled":
            gone_wrong = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
            await server.send(gone_wrong)
        else:
            await server.close_input()
        await gone(pids)


async def test_progress_tells_what_the_agent_says(client: Client) -> None:
    told: list[str] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    with anyio.fail_after(ANSWER_SECONDS):
        await client.call_tool("clink", {"prompt": "x", "agent": "events"}, progress_callback=note)
    assert told[0] == "events works in work"
    assert any(message.startswith("events: ") for message in told)


async def test_writing_must_be_allowed_by_the_settings(client: Client) -> None:
    error = await refused(client, agent="echo", write=True)
    assert error["kind"] == "NotAllowed"
    assert error["fix"] == "Leave 'write' out, or set agents.echo.allow_write in server.yaml."
    assert (await ask(client, "writing", write=True))["text"] == "ARGS ['--write']"
    assert (await ask(client, "writing"))["text"] == "ARGS []"


async def test_unknown_and_missing_agents_are_told_with_what_to_do(client: Client) -> None:
    error = await refused(client, agent="ecko")
    assert error["problem"] == "There is no agent 'ecko'."
    assert error["fix"].startswith("Did you mean 'echo'? There are: claude, codex, gemini, opencode, ")
    error = await refused(client, agent="missing")
    assert error["problem"] == (
        "The program 'no-such-program-here' of the agent 'missing' is not installed, or not in PATH."
    )
    assert error["fix"] == "Build it yourself. Or set agents.missing.command in server.yaml to its path."


@pytest.mark.parametrize(("where", "what"), [("..", "outside the allowed folders"), ("nowhere", "does not exist")])
async def test_an_agent_works_only_below_the_roots(client: Client, where: str, what: str) -> None:
    error = await refused(client, agent="echo", folder=where)
    assert what in error["problem"]


async def test_an_agent_cannot_start_agents_through_us(folder: ServerFolder, tmp_path: Path) -> None:
    nested = ServerFolder(path=tmp_path, settings=folder.settings, environment={"ZEN_CLINK_DEPTH": "1"})
    async with connect(nested) as session:
        error = await refused(session, agent="echo")
    assert error["kind"] == "NotAllowed"
    assert "starts no further agent" in error["problem"]


def test_a_checkout_may_not_bring_agents_of_its_own(tmp_path: Path) -> None:
    server = ServerFolder(path=tmp_path)
    server.write()
    (server.work / ".zen").mkdir()
    settings = {"version": "1.0", "agents": {"claude": {"command": "./evil"}}}
    (server.work / ".zen" / "server.yaml").write_text(json.dumps(settings), encoding="utf-8")
    done = server.run("config", "check")
    assert done.returncode != 0
    assert "agents: cannot be set by the working directory's own '.zen' folder." in done.stdout + done.stderr


async def test_a_call_shows_text_with_how_to_go_on(client: Client) -> None:
    result = await client.call_tool("clink", {"prompt": "x", "agent": "document"})
    assert text_of(result).startswith("from a document\n\n[document · ")
    assert "continuation_id t-" in text_of(result)


def test_tests_run_where_processes_can_be_looked_at() -> None:
    assert alive(os.getpid())
