"""Step by step: every step a turn of the thread, whichever process takes it; the expert sees them all at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from tests.support.results import data_of, error_of, text_of
from tests.support.server import ServerFolder, connect
from tests.support.tokens import o200k_tokens
from tests.upstream import Behaviour, Upstream

pytestmark = pytest.mark.anyio

CAUSE = {"severity": "critical", "file": "a.py", "line": 2, "what": "the lock is never released on errors"}
ANSWER = json.dumps({"summary": "Found.", "findings": [CAUSE]})
MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "sage": (Behaviour(text=ANSWER), {}),
    "other": (Behaviour(text=ANSWER), {}),
    "writer": (Behaviour(text="A better plan."), {}),
    "broken": (Behaviour(status=500, text="no"), {}),
}
SETTINGS = {"default_model": "sage", "provider": "direct"}
SKIPPING = ("codereview", "debug", "analyze", "refactor", "testgen", "docgen", "thinkdeep")


@pytest.fixture
def files(work: Path) -> tuple[str, str]:
    """Two files to look at."""
    for name in ("a.py", "b.py"):
        (work / name).write_text(f"# {name}\nlock.acquire()\nwork()\nlock.release()\n", encoding="utf-8")
    return str(work / "a.py"), str(work / "b.py")


def step(number: int, text: str, *, more: bool = True, **values: Any) -> dict[str, Any]:
    """A step as a tool takes it."""
    return {"step": text, "step_number": number, "total_steps": 3, "next_step_required": more, **values}


def sent(upstream: Upstream, model: str) -> str:
    """What a model was sent last, as one text."""
    return "\n".join(str(message["content"]) for message in upstream.asked(model)[-1].messages)


async def test_steps_go_on_in_another_process_and_the_expert_sees_them_all(
    folder: ServerFolder, upstream: Upstream, files: tuple[str, str]
) -> None:
    before = len(upstream.requests)
    first = step(1, "Look at who takes the lock.", findings="Two do.", relevant_files=[files[0]], confidence="low")
    async with connect(folder) as client:
        data = data_of(await client.call_tool("debug", {"step": first}))
    thread = data["continuation_id"]
    second = step(2, "Look at errors.", hypothesis="It stays locked.", relevant_files=[files[1]])
    issue = {"severity": "high", "file": "a.py", "line": 3, "description": "lock not released on errors"}
    last = step(3, "That is it.", more=False, confidence="high", issues_found=[issue], files_checked=["/c.py"])
    async with connect(folder) as client:
        data_of(await client.call_tool("debug", {"step": second, "continuation_id": thread}))
        assert len(upstream.requests) == before, "nobody is asked on the way"
        result = await client.call_tool("debug", {"step": last, "continuation_id": thread})
    data = data_of(result)
    assert data["findings"] == [CAUSE | {"file": files[0], "found_by": ["sage", "caller"]} | severities()]
    assert data["summary"] == "1 finding: 1 critical. Of the caller's 1 issues 1 were found again. Found."
    text = sent(upstream, "sage")
    for words in ("Look at who takes the lock.", "Two do.", "It stays locked.", "That is it.", "/c.py"):
        assert text.count(words) == 1, "said once, also where the thread holds it"
    for path in files:
        assert f'<file path="{path}">' in text
    assert "2|lock.acquire()" in text
    assert data["continuation_id"] == thread


def severities() -> dict[str, Any]:
    """What the model and the caller said."""
    return {"severities": {"sage": "critical", "caller": "high"}}


async def test_the_answer_to_a_step_is_tiny_and_says_what_is_missing(client: Client) -> None:
    question = "A long description of the failure. " * 40
    result = await client.call_tool("debug", {"step": step(1, question, findings="x")})
    data = data_of(result)
    assert data == {
        "continuation_id": data["continuation_id"],
        "step_number": 1,
        "total_steps": 3,
        "missing": ["hypothesis", "relevant_files"],
    }
    assert o200k_tokens(text_of(result)) < 60
    assert "long description" not in text_of(result)
    more = step(2, "more", hypothesis="h", relevant_files=["a"])
    result = await client.call_tool("debug", {"step": more, "continuation_id": data["continuation_id"]})
    assert "missing" not in data_of(result)


async def test_the_older_server_s_arguments_work_unchanged(
    client: Client, upstream: Upstream, files: tuple[str, str]
) -> None:
    first = step(1, "Read the module.", findings="It locks.", relevant_files=[files[0]], confidence="exploring")
    thread = data_of(await client.call_tool("codereview", {**first, "review_type": "full", "model": "other"}))
    last = {
        **step(2, "Done.", more=False, findings="It locks wrongly.", confidence="very_high"),
        "continuation_id": thread["continuation_id"],
        "model": "other",
        "thinking_mode": "high",
        "standards": "PEP 8",
        "review_validation_type": "external",
    }
    data = data_of(await client.call_tool("codereview", last))
    assert [finding["what"] for finding in data["findings"]] == [CAUSE["what"]]
    assert "Focus: standards: PEP 8" in sent(upstream, "other")
    assert "It locks wrongly." in sent(upstream, "other")
    assert "2|lock.acquire()" in sent(upstream, "other")


@pytest.mark.parametrize("tool", SKIPPING)
async def test_certainty_skips_the_expert(client: Client, upstream: Upstream, tool: str) -> None:
    before = len(upstream.requests)
    found = [{"severity": "low", "file": "a.py", "description": "odd"}, {"severity": "high", "what": "wrong"}]
    sure = step(1, "It is plain.", more=False, confidence="certain", issues_found=found)
    result = await client.call_tool(tool, {"step": sure})
    data = data_of(result)
    assert data["summary"] == "No expert was asked. 2 findings: 1 high, 1 low."
    assert [finding["what"] for finding in data["findings"]] == ["wrong", "odd"]
    assert len(upstream.requests) == before


async def test_an_audit_asks_the_expert_however_sure_the_caller_is(
    client: Client, upstream: Upstream, files: tuple[str, str]
) -> None:
    before = len(upstream.requests)
    sure = step(1, "It is safe.", more=False, confidence="certain", relevant_files=[files[0]])
    assert data_of(await client.call_tool("secaudit", {"step": sure}))["findings"]
    assert len(upstream.requests) == before + 1
    unasked = {**sure, "use_assistant_model": False}
    assert "No expert was asked." in text_of(await client.call_tool("secaudit", {"step": unasked}))
    assert len(upstream.requests) == before + 1


async def test_a_step_sent_twice_counts_once_and_one_may_go_back(
    client: Client, upstream: Upstream, files: tuple[str, str]
) -> None:
    thread = data_of(await client.call_tool("debug", {"step": step(1, "Begin here.")}))["continuation_id"]
    for text in ("A wrong way.", "A wrong way."):
        await client.call_tool("debug", {"step": step(2, text), "continuation_id": thread})
    back = step(2, "A better way.", backtrack_from_step=2)
    await client.call_tool("debug", {"step": back, "continuation_id": thread})
    end = step(3, "The end.", more=False, relevant_files=[files[0]])
    data_of(await client.call_tool("debug", {"step": end, "continuation_id": thread}))
    text = sent(upstream, "sage")
    assert "A wrong way." not in text
    assert text.index("Begin here.") < text.index("A better way.") < text.index("The end.")


async def test_an_expert_that_fails_loses_no_step(client: Client, upstream: Upstream, files: tuple[str, str]) -> None:
    thread = data_of(await client.call_tool("debug", {"step": step(1, "Begin.")}))["continuation_id"]
    end = {"step": step(2, "End.", more=False, relevant_files=[files[0]]), "continuation_id": thread}
    error = error_of(await client.call_tool("debug", {**end, "models": ["broken"]}))
    assert error["kind"] == "VendorUnavailable"
    data_of(await client.call_tool("debug", {**end, "models": ["sage"]}))
    assert "Begin." in sent(upstream, "sage")


async def test_a_file_that_has_gone_is_told_and_a_wrong_one_refused(client: Client, files: tuple[str, str]) -> None:
    named = step(1, "Begin.", relevant_files=[files[1]])
    thread = data_of(await client.call_tool("debug", {"step": named}))["continuation_id"]
    await anyio.Path(files[1]).unlink()
    end = {"step": step(2, "End.", more=False, relevant_files=[files[0]]), "continuation_id": thread}
    data = data_of(await client.call_tool("debug", end))
    assert any(files[1] in note for note in data["notes"])
    wrong = {"step": step(2, "End.", more=False, relevant_files=["/nowhere.py"]), "continuation_id": thread}
    assert error_of(await client.call_tool("debug", wrong))["kind"] == "FileRefused"


async def test_a_panel_may_judge_the_end(client: Client, files: tuple[str, str]) -> None:
    end = step(1, "All at once.", more=False, relevant_files=[files[0]])
    data = data_of(await client.call_tool("debug", {"step": end, "models": ["sage", "other", "broken"]}))
    assert data["findings"] == [CAUSE | {"file": files[0], "found_by": ["sage", "other"]}]
    assert data["summary"].startswith("2 of 3 answered. No answer from broken.")


async def test_other_tools_in_the_same_thread_disturb_no_steps(
    client: Client, upstream: Upstream, files: tuple[str, str]
) -> None:
    thread = data_of(await client.call_tool("debug", {"step": step(1, "Begin here.")}))["continuation_id"]
    chat = {"prompt": "What is a lock?", "model": "other", "continuation_id": thread}
    data_of(await client.call_tool("chat", chat))
    assert "Begin here." in sent(upstream, "other"), "any model of the thread sees the steps"
    assert [message["role"] for message in upstream.asked("other")[-1].messages] == ["system", "user"]
    end = {"step": step(2, "End.", more=False, relevant_files=[files[0]]), "continuation_id": thread}
    data_of(await client.call_tool("debug", end))
    assert "Begin here." in sent(upstream, "sage")
    assert "What is a lock?" in sent(upstream, "sage")


async def test_a_plan_has_revisions_and_branches_and_asks_nobody(client: Client, upstream: Upstream) -> None:
    before = len(upstream.requests)
    thread = data_of(await client.call_tool("planner", {"step": step(1, "Draw the tables.")}))["continuation_id"]
    steps = [
        step(2, "Write SQL."),
        step(3, "Use one table.", is_step_revision=True, revises_step_number=1),
        step(3, "Write files.", is_branch_point=True, branch_from_step=1, branch_id="no database"),
        step(4, "Compress them.", branch_id="no database", branch_from_step=1),
    ]
    for one in steps:
        data_of(await client.call_tool("planner", {"step": one, "continuation_id": thread}))
    end = {"step": step(5, "Ship.", more=False), "continuation_id": thread}
    result = await client.call_tool("planner", end)
    plan = (
        "1. Use one table. (revised in step 3)\n2. Write SQL.\n5. Ship.\n\n"
        "## no database (from step 1)\n3. Write files.\n4. Compress them."
    )
    assert data_of(result)["text"] == plan
    assert text_of(result).startswith(plan)
    assert len(upstream.requests) == before
    judged = data_of(await client.call_tool("planner", {**end, "models": ["writer"]}))
    assert judged["text"] == "A better plan."
    assert "Step 3 (branch no database): Write files." in sent(upstream, "writer")
