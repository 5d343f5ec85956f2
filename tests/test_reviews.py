"""The expert tools in one call: files and changes are read, findings come back as data, panels are merged."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from tests.support.results import data_of, error_of, text_of
from tests.support.server import ServerFolder, connect
from tests.upstream import Behaviour, Upstream

from zen_mcp.config.schema import FILES

pytestmark = pytest.mark.anyio

PRICED: dict[str, Any] = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.01}
REVIEWERS = ("codereview", "precommit", "debug", "analyze", "refactor", "secaudit")
WRITERS = ("thinkdeep", "testgen", "docgen", "planner")


def answer(*findings: dict[str, Any], summary: str = "Needs work.") -> str:
    """What a model that keeps to the form answers."""
    return json.dumps({"summary": summary, "findings": findings})


LEAK: dict[str, Any] = {
    "severity": "high",
    "file": "app.py",
    "line": 3,
    "what": "the connection is never closed",
    "why": "descriptors run out",
    "fix": "use with",
}
SAME_LEAK: dict[str, Any] = {
    "severity": "low",
    "path": "./app.py",
    "line": "4-5",
    "title": "connection leaks: it is never closed",
}
NAMING = {"severity": "info", "file": "app.py", "line": 1, "what": "the name x says nothing"}
ELSEWHERE = {"severity": "critical", "file": "gone.py", "line": 99, "what": "an invented place"}

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "able": (Behaviour(text=answer(NAMING, LEAK)), {"capabilities": {"json_mode": True}, **PRICED}),
    "plain": (Behaviour(text=f"Here you are:\n```json\n{answer(SAME_LEAK)}\n```"), PRICED),
    "prose": (Behaviour(text="It is a lovely file and I would not change anything in it."), PRICED),
    "lines": (Behaviour(text="1. **High** `app.py:3`: the connection is never closed\n   Fix: use with\n"), {}),
    "cut": (Behaviour(text=answer(LEAK, NAMING)[:-30], finish_reason="length"), {}),
    "liar": (Behaviour(text=answer(ELSEWHERE)), {}),
    "locked": (Behaviour(status=401, text="no"), {}),
    "writer": (Behaviour(text="def test_it(): assert it()"), PRICED),
    "small": (Behaviour(text=answer(LEAK)), {"context_window": 4_000, "max_output": 500, **PRICED}),
    "echo": (Behaviour(text="{echo}"), {}),
    "many": (
        Behaviour(text=answer(*({**LEAK, "line": n * 10, "what": f"number {n} {'word ' * 60}"} for n in range(90)))),
        {},
    ),
}
APP = "import db\n\nlink = db.open()\nx = link.all()\nprint(x)\n"


@pytest.fixture
def app(work: Path) -> str:
    """A file to look at."""
    (work / "app.py").write_text(APP, encoding="utf-8")
    return str(work / "app.py")


@pytest.fixture
def repository(work: Path, request: pytest.FixtureRequest) -> Generator[Path]:
    """A git repository with one commit, of the test's own name."""
    folder = work / request.node.name[:40].replace("[", "-").replace("]", "")
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "app.py").write_text(APP, encoding="utf-8")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    yield folder


def git(folder: Path, *arguments: str) -> None:
    """Run git as nobody in particular."""
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def sent(upstream: Upstream, model: str, index: int = -1) -> str:
    """What a model was sent last, as one text."""
    return "\n".join(str(message["content"]) for message in upstream.asked(model)[index].messages)


async def test_one_call_reads_the_file_with_line_numbers_and_gives_findings(
    client: Client, upstream: Upstream, app: str
) -> None:
    result = await client.call_tool("codereview", {"files": [app], "models": ["able"], "focus": "leaks"})
    data = data_of(result)
    assert data["findings"] == [LEAK | {"file": app}, NAMING | {"file": app}], "the gravest first"
    assert data["summary"] == "2 findings: 1 high, 1 info. Needs work."
    text = text_of(result)
    assert text.startswith(data["summary"])
    assert f"1. high {app}:3: the connection is never closed. descriptors run out. Fix: use with" in text
    assert f"continuation_id {data['continuation_id']}" in text
    (member,) = data["members"]
    assert member["cost_dollars"] == pytest.approx(member["input_tokens"] * 0.001 + member["output_tokens"] * 0.01)
    assert "3|link = db.open()" in sent(upstream, "able")
    assert "Focus: leaks" in sent(upstream, "able")
    body = upstream.asked("able")[-1].body
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["summary", "findings"]
    data_of(await client.call_tool("codereview", {"files": [app], "models": ["plain"]}))
    assert "response_format" not in upstream.asked("plain")[-1].body, "only where the model can"


async def test_a_panel_joins_duplicates_and_shows_disagreement(client: Client, upstream: Upstream, app: str) -> None:
    upstream.peak_requests = 0
    for model in ("able", "plain"):
        upstream.behave(model, Behaviour(text=MODELS[model][0].text, delay_seconds=0.3))
    result = await client.call_tool("codereview", {"files": [app], "models": ["able", "plain"]})
    data = data_of(result)
    assert upstream.peak_requests == 2, "asked at the same time"
    leak, naming = data["findings"]
    assert leak == LEAK | {"file": app, "found_by": ["able", "plain"], "severities": {"able": "high", "plain": "low"}}
    assert naming == NAMING | {"file": app, "found_by": ["able"]}
    assert data["summary"] == (
        "2 of 2 answered. 2 findings: 1 high, 1 info. 1 found by several. 1 judged of different severity."
    )
    assert "[able: high, plain: low]" in text_of(result)
    assert [member["summary"] for member in data["members"]] == ["Needs work.", "Needs work."]


async def test_a_failing_member_is_named_and_spoils_nothing(client: Client, app: str) -> None:
    result = await client.call_tool("secaudit", {"files": [app], "models": ["able", "locked"]})
    data = data_of(result)
    assert data["summary"].startswith("1 of 2 answered. No answer from locked. 2 findings:")
    assert data["members"][1]["status"] == "failed"
    assert data["members"][1]["error"].startswith("VendorAuthFailed: ")
    assert "locked: no answer. VendorAuthFailed" in text_of(result)


async def test_the_only_model_s_failure_is_the_call_s(client: Client, app: str) -> None:
    error = error_of(await client.call_tool("codereview", {"files": [app], "models": ["locked"]}))
    assert error["kind"] == "VendorAuthFailed"
    error = error_of(await client.call_tool("codereview", {"files": [app], "model": "nobody"}))
    assert error["kind"] == "UnknownModel"
    error = error_of(await client.call_tool("codereview", {"files": [app], "models": ["able", "able"]}))
    assert "'able' is on the panel twice." in error["problem"]


@pytest.mark.parametrize(
    ("model", "what"),
    [("plain", "connection leaks: it is never closed"), ("lines", LEAK["what"]), ("cut", LEAK["what"])],
)
async def test_findings_are_read_from_fences_lines_and_cut_off_json(
    client: Client, app: str, model: str, what: str
) -> None:
    data = data_of(await client.call_tool("codereview", {"files": [app], "models": [model]}))
    assert data["findings"][0]["what"] == what
    assert data["findings"][0]["file"] == app


async def test_what_cannot_be_read_is_given_as_it_is(client: Client, app: str) -> None:
    words = MODELS["prose"][0].text
    result = await client.call_tool("codereview", {"files": [app], "models": ["prose", "able"]})
    data = data_of(result)
    assert data["members"][0]["text"] == words
    assert words in text_of(result)
    assert "prose did not answer in findings; its words are given as they are." in data["notes"]
    assert len(data["findings"]) == 2
    alone = data_of(await client.call_tool("codereview", {"files": [app], "models": ["prose"]}))
    assert alone["members"][0]["text"] == words
    assert alone["summary"] == "The answer is no list of findings; it stands below as it is."


async def test_a_place_that_was_not_sent_is_marked(client: Client, app: str) -> None:
    result = await client.call_tool("codereview", {"files": [app], "models": ["liar"]})
    assert data_of(result)["findings"] == [ELSEWHERE | {"place_unknown": True}]
    assert "gone.py:99 (no such place was sent)" in text_of(result)


async def test_more_findings_than_fit_are_counted_and_kept(client: Client, app: str) -> None:
    result = await client.call_tool("codereview", {"files": [app], "models": ["many"]})
    data = data_of(result)
    assert len(text_of(result)) <= 8_000
    assert len(json.dumps(data)) <= 9_000
    assert len(data["findings"]) + data["more_findings"] == 90
    turn = data["members"][0]["turn"]
    assert f"threads(continuation_id='{data['continuation_id']}', turn=…)" in data["notes"][-1]
    page = data_of(await client.call_tool("threads", {"continuation_id": data["continuation_id"], "turn": turn}))
    assert page["text"].startswith('{"summary"')


async def test_low_severities_can_be_left_away(client: Client, app: str) -> None:
    data = data_of(
        await client.call_tool("codereview", {"files": [app], "models": ["able"], "severity_filter": "medium"})
    )
    assert [finding["severity"] for finding in data["findings"]] == ["high"]
    assert "1 of lower severity are not shown." in data["notes"]


async def test_any_tool_goes_on_in_the_thread(client: Client, upstream: Upstream, app: str) -> None:
    data = data_of(await client.call_tool("codereview", {"files": [app], "models": ["able"]}))
    more = {"prompt": "Explain the first.", "model": "echo", "continuation_id": data["continuation_id"]}
    assert data_of(await client.call_tool("chat", more))["continuation_id"] == data["continuation_id"]
    assert "3|link = db.open()" in sent(upstream, "echo")
    assert LEAK["what"] in sent(upstream, "echo")


async def test_precommit_looks_at_what_git_says(client: Client, upstream: Upstream, repository: Path) -> None:
    (repository / "app.py").write_text(APP.replace("print(x)", "print(x, flush=True)"), encoding="utf-8")
    (repository / "new.py").write_text("y = 1\n", encoding="utf-8")
    arguments = {"folder": str(repository), "models": ["able"], "prompt": "Flush at once."}
    data = data_of(await client.call_tool("precommit", arguments))
    text = sent(upstream, "able")
    assert "Flush at once." in text
    assert "-|-print(x)\n5|+print(x, flush=True)" in text
    assert "1|+y = 1" in text, "files that git does not know yet belong to it"
    assert data["findings"][0]["file"] == "app.py"
    git(repository, "add", "new.py")
    data_of(await client.call_tool("precommit", {**arguments, "changes": "staged"}))
    assert "flush=True" not in sent(upstream, "able")
    git(repository, "commit", "-qam", "second")
    error = error_of(await client.call_tool("precommit", arguments))
    assert error["kind"] == "NoChanges"
    data_of(await client.call_tool("codereview", {**arguments, "changes": "HEAD~1..HEAD"}))
    assert "flush=True" in sent(upstream, "able")


async def test_the_older_words_for_changes_are_understood(client: Client, upstream: Upstream, repository: Path) -> None:
    (repository / "app.py").write_text(APP + "z = 2\n", encoding="utf-8")
    arguments = {"path": str(repository), "include_staged": False, "model": "able", "focus_on": "style"}
    data_of(await client.call_tool("precommit", arguments))
    assert "+z = 2" in sent(upstream, "able")
    assert "Focus: style" in sent(upstream, "able")


async def test_a_folder_without_a_repository_is_told(client: Client, tmp_path: Path) -> None:
    error = error_of(await client.call_tool("precommit", {"folder": str(tmp_path), "models": ["able"]}))
    assert error["kind"] in {"FileRefused", "NoChanges"}
    assert str(tmp_path) in error["problem"]


async def test_a_huge_diff_is_asked_about_in_parts_and_merged(
    client: Client, upstream: Upstream, repository: Path
) -> None:
    for number in range(6):
        body = "".join(f"value_{number}_{line} = compute({line})\n" for line in range(90))
        (repository / f"part{number}.py").write_text(body, encoding="utf-8")
    before = len(upstream.asked("small"))
    result = await client.call_tool("precommit", {"folder": str(repository), "models": ["small"]})
    data = data_of(result)
    asked = upstream.asked("small")[before:]
    assert len(asked) > 1
    together = "\n".join(str(received.messages[-1]["content"]) for received in asked)
    for number in range(6):
        for line in (0, 45, 89):
            assert f"value_{number}_{line} = compute({line})" in together
    assert len(data["findings"]) == 1, "the same finding of several parts is one"
    assert f"small looked at it in {len(asked)} parts." in data["notes"]
    (member,) = data["members"]
    assert member["cost_dollars"] == pytest.approx(member["input_tokens"] * 0.001 + member["output_tokens"] * 0.01)


async def test_a_part_that_fails_is_named(client: Client, upstream: Upstream, work: Path) -> None:
    file = work / "long.py"
    file.write_text("".join(f"value_{line} = compute({line})\n" for line in range(400)), encoding="utf-8")
    good = Behaviour(text=answer(LEAK))
    upstream.behave("small", [good, Behaviour(status=400, text="bad"), good])
    data = data_of(await client.call_tool("codereview", {"files": [str(file)], "models": ["small"]}))
    assert data["members"][0]["status"] == "partial"
    assert any("parts: " in note and "small answered" in note for note in data["notes"])
    together = "\n".join(str(received.messages[-1]["content"]) for received in upstream.asked("small"))
    assert "400|value_399 = compute(399)" in together, "a part of a file keeps its numbers"


async def test_a_text_tool_leaves_out_what_does_not_fit_and_says_so(client: Client, app: str, work: Path) -> None:
    big = work / "big.py"
    big.write_text("value = 1\n" * 3_000, encoding="utf-8")
    data = data_of(await client.call_tool("testgen", {"files": [app, str(big)], "models": ["small"]}))
    assert any(f"'{big}'" in note and "did not fit and was not sent" in note for note in data["notes"])


@pytest.mark.parametrize("tool", WRITERS)
async def test_a_tool_that_writes_gives_text_and_a_panel_s_side_by_side(client: Client, app: str, tool: str) -> None:
    arguments: dict[str, Any] = {"prompt": "Do it.", "files": [app], "models": ["writer"]}
    result = await client.call_tool(tool, arguments)
    data = data_of(result)
    assert data["text"] == MODELS["writer"][0].text
    assert text_of(result).startswith(data["text"])
    panel = data_of(await client.call_tool(tool, {**arguments, "models": ["writer", "prose", "locked"]}))
    assert [one["status"] for one in panel["answers"]] == ["answered", "answered", "failed"]
    assert panel["summary"].startswith("2 of 3 answered. No answer from locked.")


@pytest.mark.parametrize("tool", REVIEWERS)
async def test_every_reviewer_reviews(client: Client, app: str, repository: Path, tool: str) -> None:
    (repository / "app.py").write_text(APP + "z = 2\n", encoding="utf-8")
    arguments = {"files": [app], "folder": str(repository), "models": ["able"]}
    data = data_of(await client.call_tool(tool, arguments))
    assert [finding["what"] for finding in data["findings"]] == [LEAK["what"], NAMING["what"]]


async def test_how_it_is_asked_is_passed_on(client: Client, upstream: Upstream, app: str) -> None:
    arguments = {"files": [app], "model": "able", "temperature": 0.5, "cache": "use"}
    data_of(await client.call_tool("debug", {**arguments, "prompt": "It hangs."}))
    assert upstream.asked("able")[-1].body["temperature"] == 0.5
    before = len(upstream.asked("able"))
    data = data_of(await client.call_tool("debug", {**arguments, "prompt": "It hangs."}))
    assert len(upstream.asked("able")) == before
    assert "an earlier answer to the same question" in data["notes"]
    dry = data_of(await client.call_tool("debug", {**arguments, "prompt": "It hangs.", "dry_run": True}))
    assert [one["model"] for one in dry["estimates"]] == ["able"]
    assert len(upstream.asked("able")) == before


@pytest.mark.parametrize("tool", [*REVIEWERS, *WRITERS])
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"prompt": "x", "models": 7}, "'models'"),
        ({"prompt": "x", "files": {"a": 1}}, "'files'"),
        ({"prompt": "x", "file": ["a"]}, "'file'"),
        ({"prompt": "x", "temperature": 9}, "'temperature'"),
        ({"prompt": "x", "step": {"step": "a"}}, "'step.step_number'"),
        ({"step": "a", "step_number": 0, "next_step_required": True}, "'step.step_number'"),
        ({"step": {"step": "a", "step_number": 1, "next_step_required": "perhaps"}}, "'step.next_step_required'"),
        ({"step": {"step": "a", "step_number": 1, "next_step_required": True, "confidence": "so so"}}, "confidence"),
    ],
)
async def test_a_wrong_argument_is_named(client: Client, tool: str, arguments: dict[str, Any], named: str) -> None:
    error = error_of(await client.call_tool(tool, arguments))
    assert error["kind"] == "InvalidArguments"
    assert named in error["problem"]


@pytest.mark.parametrize(
    ("tool", "named"),
    [
        ("thinkdeep", "'prompt' is missing"),
        ("planner", "'prompt' is missing"),
        ("debug", "'files' is missing"),
        ("analyze", "'files' is missing"),
        ("refactor", "'files' is missing"),
        ("secaudit", "'files' is missing"),
        ("testgen", "'files' is missing"),
        ("docgen", "'files' is missing"),
    ],
)
async def test_a_call_about_nothing_is_refused(client: Client, tool: str, named: str) -> None:
    error = error_of(await client.call_tool(tool, {}))
    assert error["kind"] == "InvalidArguments"
    assert error["problem"].startswith(f"{tool}: {named}")


async def test_a_file_that_cannot_be_sent_fails_the_call(client: Client, upstream: Upstream, work: Path) -> None:
    before = len(upstream.requests)
    error = error_of(await client.call_tool("codereview", {"files": [str(work / "none.py")], "models": ["able"]}))
    assert error["kind"] == "FileRefused"
    assert len(upstream.requests) == before


async def test_challenge_asks_nobody(client: Client, upstream: Upstream) -> None:
    before = len(upstream.requests)
    result = await client.call_tool("challenge", {"prompt": "Caching this is always right."})
    assert "Do not agree because it was said" in text_of(result)
    assert "Caching this is always right." in data_of(result)["text"]
    assert len(upstream.requests) == before
    assert "'prompt' is empty" in error_of(await client.call_tool("challenge", {"prompt": " "}))["problem"]


async def test_the_core_profile_is_the_default(tmp_path: Path, models: dict[str, dict[str, Any]]) -> None:
    assert FILES["server"].model_fields["tools"].default == ("core",)
    async with connect(ServerFolder(path=tmp_path, models=models, settings={"tools": ["core", "docgen"]})) as session:
        names = {tool.name for tool in (await session.list_tools()).tools}
    core = {"chat", "consensus", "codereview", "precommit", "debug", "thinkdeep", "planner"}
    assert core | {"listmodels", "threads", "version", "docgen"} <= names
    assert not {"secaudit", "testgen", "challenge"} & names
