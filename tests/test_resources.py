"""Resources, prompts and completions through the front door, in both eras."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CallToolResult,
    PromptReference,
    ReadResourceResult,
    ResourceLink,
    ResourceTemplateReference,
    TextContent,
    TextResourceContents,
)
from tests.support.results import data_of
from tests.support.server import PRELUDES, RawServer, ServerFolder, connect, modern, start_arguments
from tests.upstream import Behaviour

pytestmark = pytest.mark.anyio

LONG = "".join(f"line {number} of a long answer\n" for number in range(6_000))
MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="Heard: {echo}"), {"aliases": ["fein"]}),
    "finer": (Behaviour(text="ok"), {}),
    "long": (Behaviour(text=LONG), {}),
    "endless": (Behaviour(text=LONG), {}),
}
SETTINGS = {"default_model": "fine", "provider": "direct"}
ERAS = ["legacy", "2026-07-28"]


async def say(client: Client, prompt: str, **more: Any) -> str:
    """One chat; the thread's id."""
    return data_of(await client.call_tool("chat", {"prompt": prompt, **more}))["continuation_id"]


def shown(result: ReadResourceResult) -> str:
    """The text of a resource, which is one part."""
    (part,) = result.contents
    assert isinstance(part, TextResourceContents)
    return part.text


@pytest.mark.parametrize("mode", ERAS)
async def test_a_client_lists_resources_templates_and_prompts(folder: ServerFolder, mode: str) -> None:
    async with connect(folder, mode=mode) as client:
        resources = (await client.list_resources()).resources
        templates = (await client.list_resource_templates()).resource_templates
        prompts = (await client.list_prompts()).prompts
        tools = (await client.list_tools()).tools
    assert [resource.uri for resource in resources] == ["zen://models", "zen://threads", "zen://usage", "zen://limits"]
    assert [template.uri_template for template in templates] == [
        "zen://threads/{id}{?offset}",
        "zen://threads/{id}/turns/{n}{?offset}",
    ]
    assert all(entry.description for entry in [*resources, *templates, *prompts])
    assert [prompt.name for prompt in prompts] == [tool.name for tool in tools]
    chat = next(prompt for prompt in prompts if prompt.name == "chat")
    assert [argument.name for argument in chat.arguments or []][:4] == ["prompt", "model", "files", "continuation_id"]
    assert not any(argument.required for prompt in prompts for argument in prompt.arguments or [])


@pytest.mark.parametrize("start", PRELUDES)
async def test_the_handshake_offers_resources_prompts_and_completions(folder: ServerFolder, start: str) -> None:
    async with RawServer(folder, arguments=start_arguments(start)) as server:
        hello = await server.initialize()
        found = await server.request(1, "server/discover", modern())
    for answer in (hello, found):
        assert {"tools", "prompts", "resources", "completions"} <= set(answer["result"]["capabilities"])


@pytest.mark.parametrize("mode", ERAS)
async def test_models_and_threads_are_read_as_resources(folder: ServerFolder, mode: str) -> None:
    async with connect(folder, mode=mode) as client:
        thread = await say(client, f"What is read in {mode}?")
        models = await client.read_resource("zen://models")
        threads = await client.read_resource("zen://threads")
        usage = await client.read_resource("zen://usage")
        whole = await client.read_resource(f"zen://threads/{thread}")
        answer = await client.read_resource(f"zen://threads/{thread}/turns/2")
    assert "fine (fein) custom" in shown(models)
    assert "total since 7d: " in shown(usage)
    assert f"{thread} · 2 turns" in shown(threads).splitlines()[0]
    assert shown(whole).startswith(f"# What is read in {mode}?\n\n{thread} · ")
    assert f"Heard: What is read in {mode}?" in shown(whole)
    assert shown(answer) == f"Heard: What is read in {mode}?"
    assert whole.contents[0].mime_type == "text/markdown"


async def test_what_is_read_says_how_long_it_is_fresh_and_for_whom(folder: ServerFolder) -> None:
    async with RawServer(folder) as server:
        models = await server.request(1, "resources/read", modern({"uri": "zen://models"}))
        threads = await server.request(2, "resources/read", modern({"uri": "zen://threads"}))
        lists = [
            await server.request(method, method, modern())
            for method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
        ]
    assert (models["result"]["ttlMs"], models["result"]["cacheScope"]) == (60_000, "private")
    assert (threads["result"]["ttlMs"], threads["result"]["cacheScope"]) == (0, "private")
    assert {(answer["result"]["ttlMs"], answer["result"]["cacheScope"]) for answer in lists} == {(60_000, "private")}


async def test_pages_of_a_turn_are_together_the_whole(client: Client) -> None:
    thread = await say(client, "x", model="long")
    uri: str | None = f"zen://threads/{thread}/turns/2"
    pieces: list[str] = []
    while uri is not None:
        page, _, following = shown(await client.read_resource(uri)).partition("\n\n[goes on at ")
        pieces.append(page)
        uri = following.rstrip("]") or None
    assert len(pieces) > 2
    assert "".join(pieces) == LONG


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("zen://model", "Did you mean 'zen://models'?"),
        ("zen://nothing/at/all", "There is no resource 'zen://nothing/at/all'."),
        ("file:///etc/passwd", "There is no resource"),
        ("zen://threads/t-aaaaaaaaaaaaaaaa", "There is no thread 't-aaaaaaaaaaaaaaaa'"),
        ("zen://threads/t-aaaaaaaaaaaaaaaa/turns/1", "There is no thread"),
        ("", "There is no resource ''."),
    ],
)
@pytest.mark.parametrize(("mode", "code"), [("legacy", -32002), ("2026-07-28", -32602)])
async def test_an_unknown_address_is_an_error_of_the_clients_revision(
    folder: ServerFolder, uri: str, words: str, mode: str, code: int
) -> None:
    async with RawServer(folder) as server:
        if mode == "legacy":
            await server.initialize()
            answer = await server.request(1, "resources/read", {"uri": uri})
        else:
            answer = await server.request(1, "resources/read", modern({"uri": uri}))
    assert answer["error"]["code"] == code
    assert words in answer["error"]["message"]
    assert answer["error"]["data"]["uri"] == uri


async def test_a_wrong_turn_or_offset_is_named(client: Client) -> None:
    thread = await say(client, "short")
    for tail, words in [
        ("turns/9", "It has turns 1 to 2."),
        ("turns/first", "'turn' should be a valid integer"),
        ("turns/2?offset=999", "'offset' 999 is past the end."),
        ("turns/2?offset=-1", "'offset' should be greater than or equal to 0"),
    ]:
        with pytest.raises(MCPError, match=re.escape(words)) as raised:
            await client.read_resource(f"zen://threads/{thread}/{tail}")
        assert raised.value.error.code == -32602


@pytest.mark.slow
async def test_a_resource_is_gone_with_its_tool(tmp_path: Path) -> None:
    folder = ServerFolder(path=tmp_path, settings={"disabled_tools": ["threads"]})
    async with connect(folder) as client:
        listed = [resource.uri for resource in (await client.list_resources()).resources]
        templates = (await client.list_resource_templates()).resource_templates
        with pytest.raises(MCPError, match="There is no resource 'zen://threads'"):
            await client.read_resource("zen://threads")
    assert "zen://models" in listed
    assert "zen://threads" not in listed
    assert templates == []


@pytest.mark.parametrize(("name", "linked"), [("gemini-cli-mcp-client", True), ("opencode", False), ("test", False)])
async def test_a_long_answer_carries_a_link_only_where_clients_show_one(
    folder: ServerFolder, name: str, linked: bool
) -> None:
    async with connect(folder, name=name) as client:
        result = await client.call_tool("chat", {"prompt": "x", "model": "long"})
        data = data_of(result)
        panel = await client.call_tool("consensus", {"prompt": "x", "models": ["long", "fine", "endless"]})
        links = [part for part in result.content if isinstance(part, ResourceLink)]
        rest = shown(await client.read_resource(links[0].uri)) if links else ""
    assert isinstance(result.content[0], TextContent)
    pointer = f"threads(continuation_id='{data['continuation_id']}', turn=2, offset={data['next_offset']})"
    assert pointer in result.content[0].text, "never the only pointer"
    assert bool(links) is linked
    assert len(links_of(panel)) == (2 if linked else 0)
    if linked:
        page = rest.partition("\n\n[goes on at ")[0]
        assert LONG[data["next_offset"] :].startswith(page)


def links_of(result: CallToolResult) -> list[str]:
    """The addresses that a result links to."""
    return [part.uri for part in result.content if isinstance(part, ResourceLink)]


async def prompt_of(client: Client, name: str, arguments: dict[str, str] | None = None) -> str:
    """The text of a prompt."""
    (message,) = (await client.get_prompt(name, arguments)).messages
    assert message.role == "user"
    assert isinstance(message.content, TextContent)
    return message.content.text


@pytest.mark.parametrize("mode", ERAS)
async def test_a_prompt_has_the_agent_call_the_tool_of_its_name(folder: ServerFolder, mode: str) -> None:
    async with connect(folder, mode=mode) as client:
        full = await prompt_of(client, "chat", {"prompt": "What is SIGPIPE?", "model": "fine"})
        bare = await prompt_of(client, "consensus")
        split = await prompt_of(client, "chat", {"prompt": "What", "model": "is", "files": "SIGPIPE?"})
        placeholders = await prompt_of(client, "chat", {"prompt": "$1", "model": "$2"})
    assert full == (
        "Call the tool `chat` with:\n\n- prompt: What is SIGPIPE?\n- model: fine\n\n"
        "Take what else it needs from our conversation. Then tell me what it says."
    )
    assert "Call the tool `consensus`, with arguments from our conversation." in bare
    assert "all of it is `prompt`" in split, "some clients cut a sentence at its spaces"
    assert "- prompt: $1\n- model: $2" in placeholders, "some clients fill them in later"
    assert "one sentence" not in placeholders


async def test_an_unknown_prompt_names_the_nearest(client: Client) -> None:
    with pytest.raises(MCPError, match=r"Unknown prompt 'chatt'\. Did you mean 'chat'\?") as raised:
        await client.get_prompt("chatt")
    assert raised.value.error.code == -32602


PLUGIN = '''
"""A tool whose name is taken by a client's own command."""

from pydantic import Field
from zen_mcp.tools import ToolContext, ToolParams, tool
from zen_mcp.types import ToolResponse


class ReviewParams(ToolParams):
    """Review something."""

    what: str = Field(default="", description="What to review")


@tool()
async def review(params: ReviewParams, context: ToolContext) -> ToolResponse:
    """Say so."""
    return ToolResponse(text=f"reviewed {params.what}", structured={"text": params.what})
'''


@pytest.mark.slow
async def test_a_tool_may_write_its_own_prompt_and_a_taken_name_is_changed(tmp_path: Path) -> None:
    plugin = tmp_path / "plugins" / "review"
    plugin.mkdir(parents=True)
    (plugin / "tool.py").write_text(PLUGIN, encoding="utf-8")
    (plugin / "prompt.md").write_text("## prompt\nLook hard at {what} with `review`.\n", encoding="utf-8")
    folder = ServerFolder(path=tmp_path, settings={"plugin_folders": [str(tmp_path / "plugins")]})
    async with connect(folder) as client:
        names = [prompt.name for prompt in (await client.list_prompts()).prompts]
        text = await prompt_of(client, "zen_review", {"what": "app.py", "more": "the tests"})
        called = await client.call_tool("review", {"what": "app.py"})
    assert "zen_review" in names
    assert "review" not in names
    assert text == "Look hard at app.py with `review`.\n\n- more: the tests"
    assert data_of(called) == {"text": "app.py"}


async def completed(client: Client, prompt: str, argument: str, value: str) -> list[str]:
    """What completes an argument of a prompt."""
    reference = PromptReference(type="ref/prompt", name=prompt)
    return (await client.complete(reference, {"name": argument, "value": value})).completion.values


@pytest.mark.parametrize("mode", ERAS)
async def test_model_names_and_fixed_words_are_completed(folder: ServerFolder, mode: str) -> None:
    async with connect(folder, mode=mode) as client:
        assert await completed(client, "chat", "model", "FIN") == ["fine", "finer"]
        assert await completed(client, "chat", "model", "fei") == ["fein"]
        assert await completed(client, "consensus", "models", "fine, lon") == ["fine,long"]
        assert await completed(client, "chat", "model", "opus") == [], "its key is not set"
        assert await completed(client, "chat", "thinking", "m") == ["minimal", "medium", "max"]
        assert await completed(client, "chat", "prompt", "Wh") == []
        assert len(await completed(client, "chat", "model", "")) <= 100
        with pytest.raises(MCPError, match="Unknown prompt 'nobody'"):
            await completed(client, "nobody", "model", "")


async def test_threads_are_completed_by_id_and_by_title(client: Client) -> None:
    thread = await say(client, "An axolotl in the moonlight")
    template = ResourceTemplateReference(type="ref/resource", uri="zen://threads/{id}/turns/{n}{?offset}")
    assert await completed(client, "chat", "continuation_id", thread[:6]) == [thread]
    assert await completed(client, "threads", "continuation_id", "AXOLOTL") == [thread]
    by_id = await client.complete(template, {"name": "id", "value": "axolotl"})
    turns = await client.complete(template, {"name": "n", "value": ""}, context_arguments={"id": thread})
    nowhere = await client.complete(template, {"name": "n", "value": ""})
    assert by_id.completion.values == [thread]
    assert turns.completion.values == ["1", "2"]
    assert nowhere.completion.values == []
    with pytest.raises(MCPError, match="Unknown resource 'zen://nobody'"):
        await client.complete(
            ResourceTemplateReference(type="ref/resource", uri="zen://nobody"), {"name": "id", "value": ""}
        )
