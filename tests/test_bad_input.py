"""What a caller can do wrong: each is told what happened and what to do, and the server lives on."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from mcp import MCPError
from mcp.client import Client
from tests.support.results import data_of, error_of
from tests.upstream import Behaviour, Upstream

pytestmark = pytest.mark.anyio

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="fine"), {}),
    "sees": (Behaviour(text="ok"), {"capabilities": {"vision": True}}),
}
SETTINGS = {"default_model": "fine"}


async def refused(client: Client, tool: str = "chat", **arguments: Any) -> dict[str, Any]:
    """The error of a call, after which the same session still answers."""
    error = error_of(await client.call_tool(tool, arguments))
    assert data_of(await client.call_tool("version", {}))["zen"]
    return error


async def test_a_missing_file_is_named_and_nothing_is_asked(client: Client, upstream: Upstream, work: Path) -> None:
    (work / "there.txt").write_text("here", encoding="utf-8")
    asked = len(upstream.requests)
    error = await refused(client, prompt="x", files=[str(work / "there.txt"), str(work / "gone.txt")])
    assert error["kind"] == "FileRefused"
    assert error["problem"] == f"'{work / 'gone.txt'}' does not exist."
    assert len(upstream.requests) == asked


async def test_a_relative_path_that_leads_nowhere_is_told_where_it_was_looked_for(client: Client, work: Path) -> None:
    error = await refused(client, prompt="x", files=["src/a.py"])
    assert error["problem"] == f"'src/a.py' does not exist in '{work}'."


async def test_a_directory_without_files_is_refused(client: Client, work: Path) -> None:
    (work / "empty").mkdir()
    error = await refused(client, prompt="x", files=[str(work / "empty")])
    assert error["problem"] == f"'{work / 'empty'}' is a directory without files that can be sent."


async def test_a_binary_file_is_refused(client: Client, work: Path) -> None:
    (work / "program").write_bytes(b"\x7fELF\x00\x01\x02")
    error = await refused(client, prompt="x", files=[str(work / "program")])
    assert "is a binary file" in error["problem"]


@pytest.mark.parametrize(
    "name", [".env", ".env.production", "id_ed25519", "server.key", "cert.pem", ".aws/credentials", ".netrc"]
)
async def test_a_file_of_secrets_is_refused_by_name(client: Client, work: Path, name: str) -> None:
    path = work / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("TOKEN=hunter2", encoding="utf-8")
    error = await refused(client, prompt="x", files=[str(path)])
    assert "looks like a file of secrets" in error["problem"]
    assert "hunter2" not in str(error)


async def test_a_private_key_is_not_sent_whatever_its_file_is_called(
    client: Client, upstream: Upstream, work: Path
) -> None:
    path = work / "notes.txt"
    path.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n", encoding="utf-8")
    data = data_of(await client.call_tool("chat", {"prompt": "x", "files": [str(path)]}))
    assert data["notes"] == [f"'{path}': 1 secret (private key) was replaced."]
    assert "b3BlbnNzaC1rZXk" not in str(upstream.requests[-1].messages)


async def test_an_example_of_a_settings_file_is_no_secret(client: Client, work: Path) -> None:
    (work / ".env.example").write_text("KEY=", encoding="utf-8")
    data_of(await client.call_tool("chat", {"prompt": "x", "files": [str(work / ".env.example")]}))


async def test_a_file_of_two_megabytes_is_refused_with_its_size(client: Client, work: Path) -> None:
    (work / "big.txt").write_text("a" * 2_000_000, encoding="utf-8")
    error = await refused(client, prompt="x", files=[str(work / "big.txt")])
    assert "has 2,000,000 bytes; at most 1,048,576 are sent" in error["problem"]


async def test_a_file_outside_the_allowed_folders_is_refused(client: Client, tmp_path: Path, work: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("secret plans", encoding="utf-8")
    link = work / "link.txt"
    link.symlink_to(outside)
    for path in (outside, link, work / ".." / "config" / "models.yaml"):
        error = await refused(client, prompt="x", files=[str(path)])
        assert "is outside the allowed folders" in error["problem"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes in its file system")
async def test_a_named_pipe_does_not_hang_the_server(client: Client, work: Path) -> None:
    os.mkfifo(work / "pipe")
    error = await refused(client, prompt="x", files=[str(work / "pipe")])
    assert "is not a regular file" in error["problem"]


async def test_a_missing_image_and_one_that_is_none_are_both_named(client: Client, work: Path) -> None:
    (work / "not.png").write_text("no image", encoding="utf-8")
    error = await refused(client, prompt="x", model="sees", images=[str(work / "gone.png"), str(work / "not.png")])
    assert f"'{work / 'gone.png'}' does not exist." in error["problem"]
    assert f"'{work / 'not.png'}' is no PNG, JPEG, GIF or WebP image." in error["problem"]


async def test_an_image_for_a_blind_model_is_refused(client: Client) -> None:
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()
    error = await refused(client, prompt="x", model="fine", images=[f"data:image/png;base64,{png}"])
    assert error["problem"] == "'fine' cannot see images."


async def test_an_unknown_model_is_answered_with_the_nearest(client: Client) -> None:
    error = await refused(client, prompt="x", model="fime")
    assert error["kind"] == "UnknownModel"
    assert "There is no model 'fime'. Did you mean 'fine'?" in f"{error['problem']} {error['fix']}"


async def test_a_model_without_its_key_says_which_variable_to_set(client: Client) -> None:
    error = await refused(client, prompt="x", model="opus")
    assert error["kind"] == "ModelUnavailable"
    assert "ANTHROPIC_API_KEY is not set" in error["problem"]


async def test_an_unknown_tool_is_a_protocol_error(client: Client) -> None:
    with pytest.raises(MCPError, match="Unknown tool 'burn'"):
        await client.call_tool("burn", {})


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "chat: 'prompt' is missing."),
        ({"prompt": "x", "modle": "fine"}, "chat: 'modle' is not an argument. Did you mean 'model'?"),
        ({"prompt": 7}, "chat: 'prompt' should be a valid string, not 7."),
        ({"prompt": "x", "temperature": 3}, "chat: 'temperature' should be less than or equal to 2, not 3."),
        ({"prompt": "x", "files": "a.py"}, "chat: 'files' should be a valid list, not 'a.py'."),
        ({"prompt": "x", "thinking": "hard"}, None),
    ],
)
async def test_a_wrong_argument_is_named_in_the_tools_words(
    client: Client, arguments: dict[str, Any], problem: str | None
) -> None:
    error = await refused(client, **arguments)
    assert error["kind"] == "InvalidArguments"
    assert problem is None or error["problem"] == problem
    assert error["fix"].startswith("It takes: prompt, model, files, images, temperature, thinking, continuation_id")


@pytest.mark.parametrize("prompt", ["", "  \n "])
async def test_an_empty_prompt_is_refused(client: Client, prompt: str) -> None:
    error = await refused(client, prompt=prompt)
    assert error["problem"] == "'prompt' is empty."


async def test_a_prompt_of_three_megabytes_is_refused_with_its_size(client: Client) -> None:
    error = await refused(client, prompt="x" * 3_000_000)
    assert error["problem"] == "'prompt' has 3,000,000 characters; at most 2,000,000 are taken."


async def test_a_prompt_longer_than_the_models_window_is_refused(client: Client) -> None:
    error = await refused(client, prompt="word " * 200_000)
    assert error["kind"] == "PromptTooLong"
    assert "'fine' takes 128,000" in error["problem"]


@pytest.mark.parametrize("identity", ["t-aaaaaaaaaaaaaaaa", "nonsense", "'; DROP TABLE threads; --"])
async def test_an_unknown_thread_says_how_to_start_a_new_one(client: Client, identity: str) -> None:
    error = await refused(client, prompt="x", continuation_id=identity)
    assert error["kind"] == "UnknownThread"
    assert identity in error["problem"]
    assert "Leave continuation_id out" in error["fix"]


async def test_a_panel_with_an_unknown_model_is_refused_before_anything_is_paid(
    client: Client, upstream: Upstream
) -> None:
    asked = len(upstream.requests)
    error = await refused(client, "consensus", prompt="x", models=["fine", "nobody-at-all"])
    assert error["kind"] == "UnknownModel"
    assert len(upstream.requests) == asked


async def test_the_same_model_with_the_same_stance_twice_is_refused(client: Client) -> None:
    twice = [{"model": "fine", "stance": "for"}, {"model": "FINE", "stance": "for"}]
    error = await refused(client, "consensus", prompt="x", models=twice)
    assert error["problem"] == "'fine (for)' is on the panel twice."


async def test_a_wrong_member_of_a_panel_is_named_by_its_place(client: Client) -> None:
    error = await refused(client, "consensus", prompt="x", models=["fine", {"model": "fine", "stance": "maybe"}])
    assert error["kind"] == "InvalidArguments"
    assert "models.1.stance" in error["problem"]


async def test_a_page_past_the_end_says_how_long_the_text_is(client: Client) -> None:
    thread = data_of(await client.call_tool("chat", {"prompt": "x"}))["continuation_id"]
    error = await refused(client, "threads", continuation_id=thread, turn=2, offset=99)
    assert error["problem"] == "'offset' 99 is past the end."
    assert error["fix"] == "The text has 4 characters."
    error = await refused(client, "threads", continuation_id=thread, turn=9)
    assert error["fix"] == "It has turns 1 to 2."
