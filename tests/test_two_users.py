"""One caller can never read another's: a walk over every tool, prompt, resource, method and page with two users.

Anna owns one of everything that there is. Ben comes with Anna's ids, in every argument that takes one. He must hear
exactly what he hears of an id that nobody has, word for word, and Anna must find everything as it was. The walk knows
every argument, variable, method and page by name: whoever adds one is told to say here whether it takes an id.
"""

from __future__ import annotations

import ast
import json
import re
import secrets
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

import anyio
import httpx2
import pytest
from mcp import MCPError
from mcp.client import Client
from mcp_types import PromptReference, ResourceTemplateReference
from tests.support.results import data_of, error_of
from tests.support.server import Served, ServerFolder, rpc, serve_http, until
from tests.upstream import Behaviour, Upstream

from zen_mcp.jobs.store import JobStore
from zen_mcp.server.mcp import McpDoor
from zen_mcp.tools.base import BaseTool
from zen_mcp.tools.expert.params import ExpertParams
from zen_mcp.tools.expert.steps import FLAT_NAMES
from zen_mcp.tools.foreign.discovery import discover
from zen_mcp.tools.registry import ToolRegistry
from zen_mcp.tools.resources import RESOURCES

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(300)]

SOURCES = Path(__file__).resolve().parent.parent / "src" / "zen_mcp" / "server"
SECRET = "zebra-7391"
"""In everything that Anna asks, sends, names and gets."""
ECHO = Behaviour(text="Heard: {echo}")
MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "shared": (ECHO, {"aliases": ["both"]}),
    "annas": (ECHO, {"input_cost_per_token": 0.001, "output_cost_per_token": 0.001}),
    "slow": (Behaviour(text="Heard: {echo}", delay_seconds=2.0), {}),
    "broken": (Behaviour(status=400, text=f"no {SECRET}"), {}),
    "hung": (Behaviour(how="hang"), {"timeout_seconds": 300}),
}
AGENTS = {"echo": {"command": sys.executable, "args": ["-c", "print('done')"]}}
SETTINGS: dict[str, Any] = {
    "default_model": "shared",
    "provider": "direct",
    "auth": {"identity_header": "X-User"},
    "cache": {"enabled": True},
    "ledger": {"viewers": ["ops-*"]},
    "agents": AGENTS,
}
LIMITS: dict[str, Any] = {"rate_limits": {"per_user": {"requests_per_hour": 1_000_000}}}

ASKING = '''
"""Asks its client."""
from zen_mcp.tools import ToolContext, ToolParams, tool
from zen_mcp.tools.client import ask_client, elicit
from zen_mcp.types import ToolResponse


class AskingParams(ToolParams):
    """Ask the client."""


@tool()
async def asking(params: AskingParams, context: ToolContext) -> ToolResponse:
    """Keep the asker's name while the client is asked."""
    if context.request.state is None:
        return ask_client({"sure": elicit("Sure?", {"type": "object", "properties": {}})}, state=context.user_id)
    return ToolResponse(text="kept", structured={"kept": context.request.state})
'''
"""A plugin that has a state kept by the client."""

TOOLS = {tool.name: cast("BaseTool[Any]", tool) for tool in discover()}
THREAD_IDS, JOB_IDS = frozenset({"continuation_id"}), frozenset({"job"})
ID_ARGUMENTS = THREAD_IDS | JOB_IDS
OTHER_ARGUMENTS = frozenset(
    """
    action after agent all by cache changes deadline depth dry_run explain failed file files filter focus folder
    format graph images json_schema language limit min_severity mode model models name offset prompt prompts
    quorum role since skip_broken step target temperature text thinking timeout_seconds topic turn web_search
    write
    """.split()  # noqa: SIM905 - a list of forty lines says no more
)
ID_VARIABLES, OTHER_VARIABLES = frozenset({"id"}), frozenset({"n"})
METHODS = frozenset(
    """
    completion/complete logging/setLevel ping prompts/get prompts/list resources/list resources/read
    resources/subscribe resources/templates/list resources/unsubscribe server/discover subscriptions/listen
    tasks/cancel tasks/get tasks/list tasks/result tasks/update tools/call tools/list
    """.split()  # noqa: SIM905 - a list of forty lines says no more
)
PAGES = {
    "'/mcp'": "/mcp",
    "'/healthz'": "/healthz",
    "'/readyz'": "/readyz",
    "'/metrics'": "/metrics",
    "METADATA_PATH": "/.well-known/oauth-protected-resource",
    "METADATA_PATH + '/{path:path}'": "/.well-known/oauth-protected-resource/mcp",
}
"""The pages as the source writes them, each with an address of it."""


def choices(tool: str, argument: str) -> Sequence[str]:
    """The fixed words of an argument."""
    annotation = TOOLS[tool].params.model_fields[argument].annotation
    return [word for part in (annotation, *get_args(annotation)) for word in get_args(part) if isinstance(word, str)]


def actions(tool: str, **more: Any) -> tuple[dict[str, Any], ...]:
    return tuple({"action": action, **more} for action in dict.fromkeys(choices(tool, "action")))


STEP = {"step": "x", "step_number": 2, "total_steps": 3, "next_step_required": True}
EXPERT = ({"prompt": "x"}, {"step": STEP}, {"prompt": "x", "dry_run": True})
WAYS: Mapping[str, Sequence[dict[str, Any]]] = {
    **{name: EXPERT for name, tool in TOOLS.items() if issubclass(tool.params, ExpertParams)},
    "batch": actions("batch"),
    "chat": ({"prompt": "x"}, {"prompt": "x", "dry_run": True}),
    "clink": ({"prompt": "x", "agent": "echo"},),
    "consensus": ({"prompt": "x", "models": ["shared", "annas"]},),
    "estimate": ({"prompt": "x"},),
    "jobs": actions("jobs", timeout_seconds=0.1),
    "threads": (*actions("threads", text="x"), {}, {"turn": 1}),
    "tracer": ({"target": "traced", "explain": True},),
}
"""How each tool that takes an id is called with it, so that it comes to look at the id."""
WITHOUT_ID = (("threads", "list"), ("threads", "search"))
"""Do not look at it."""
UNKNOWN = frozenset({"UnknownThread", "UnknownJob"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """What Anna has: ids of threads and of jobs, batches among them."""

    threads: Sequence[str]
    jobs: Sequence[str]

    @property
    def ids(self) -> Sequence[str]:
        """All of them."""
        return (*self.threads, *self.jobs)


@dataclass(slots=True, kw_only=True)
class Stage:
    """A server, and what its users have."""

    served: Served
    folder: ServerFolder
    mode: str
    owned: Owned = field(default_factory=lambda: Owned(threads=(), jobs=()))

    @asynccontextmanager
    async def client(self, user: str) -> AsyncGenerator[Client]:
        """A session of a user."""
        async with self.served.connect(mode=self.mode, headers=self.headers(user)) as session:
            yield session

    def headers(self, user: str) -> dict[str, str]:
        """The proxy's word for who asks."""
        return {"X-User": user}


@pytest.fixture(scope="module", params=["sqlite-sessions", "postgres-stateless"])
async def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, models: dict[str, dict[str, Any]]
) -> AsyncGenerator[Stage]:
    """Anna, Ben and an overseer on a server of either kind; Anna has one of everything."""
    path = tmp_path_factory.mktemp("two")
    stateless = request.param == "postgres-stateless"
    kind = {"database_url": request.getfixturevalue("postgres").database()} if stateless else {}
    http = {"trusted_proxies": ["127.0.0.0/8"], "sessions": not stateless}
    (path / "plugins" / "asking").mkdir(parents=True)
    (path / "plugins" / "asking" / "tool.py").write_text(ASKING, encoding="utf-8")
    opened = {"roots": [str(path / "work")], "plugin_folders": [str(path / "plugins")]}
    settings = {**SETTINGS, **kind, **opened, "http": http}
    folder = ServerFolder(path=path, models=models, settings=settings, limits=LIMITS)
    folder.write()
    (folder.work / "code.py").write_text("def traced():\n    return 1\n", encoding="utf-8")
    async with serve_http(folder) as served:
        made = Stage(served=served, folder=folder, mode="auto" if stateless else "legacy")
        async with made.client("anna") as anna:
            made.owned = await make_everything(anna)
        yield made


async def make_everything(anna: Client) -> Owned:
    """One of everything: threads of each kind, a branch, files, jobs in every state, batches, remembered answers."""

    async def call(tool: str, **arguments: Any) -> dict[str, Any]:
        return data_of(await anna.call_tool(tool, arguments))

    sent = [{"path": f"{SECRET}.txt", "text": f"content of {SECRET}"}]
    asked = {"prompt": f"one {SECRET}", "files": sent, "model": "annas"}
    first = (await call("chat", **asked))["continuation_id"]
    await call("chat", prompt=f"two {SECRET}", continuation_id=first, cache="use")
    panel = await call("consensus", prompt=SECRET, models=["annas", "both"])
    branch = await call("threads", action="branch", continuation_id=first, turn=2, text=f"Title {SECRET}")
    plan = await call("planner", step={**STEP, "step": SECRET, "step_number": 1})
    found = await call("codereview", step={**STEP, "step": SECRET, "step_number": 1, "findings": SECRET})
    jobs = [
        (await call("chat", prompt=f"{SECRET} {model}", model=model, background=True))["job"]
        for model in ("annas", "broken", "hung")
    ]
    batches = [
        (await call("batch", prompts=[f"{SECRET} a", f"{SECRET} b"], model=model))["job"]
        for model in ("annas", "broken")
    ]
    for job in (*jobs[:2], *batches):
        await ended(anna, job)
    threads = [one["continuation_id"] for one in (panel, branch, plan, found)]
    return Owned(threads=(first, *threads), jobs=(*jobs, *batches))


async def ended(client: Client, job: str) -> dict[str, Any]:
    """A job that has ended."""
    with anyio.fail_after(90):
        while True:
            told = data_of(await client.call_tool("jobs", {"job": job, "action": "wait"}))
            if told["job"]["state"] not in {"waiting", "running"}:
                return told


async def state_of(anna: Client, owned: Owned) -> list[Any]:
    """All that Anna can see of what she has."""
    seen: list[Any] = []
    for thread in owned.threads:
        whole = data_of(
            await anna.call_tool("threads", {"action": "export", "format": "json", "continuation_id": thread})
        )
        seen.append(whole)
    for job in owned.jobs:
        told = data_of(await anna.call_tool("jobs", {"job": job}))
        told["job"].pop("progress", None)
        seen.append(told)
    return seen


# --- what the walk knows


def test_the_walk_knows_every_argument_of_every_tool() -> None:
    for name, tool in TOOLS.items():
        taken = set(tool.params.model_fields)
        assert taken <= ID_ARGUMENTS | OTHER_ARGUMENTS, f"say in this file whether {name}'s new argument takes an id"
        assert (name in WAYS) == bool(taken & ID_ARGUMENTS), f"say in WAYS how {name} comes to look at an id"
    assert not FLAT_NAMES & ID_ARGUMENTS


def test_the_walk_knows_every_resource_method_and_page(tmp_path: Path) -> None:
    for resource in RESOURCES:
        assert set(resource.variables) <= ID_VARIABLES | OTHER_VARIABLES, resource.uri
    jobs = JobStore(database_url=None, folder=tmp_path)
    answered = vars(McpDoor(ToolRegistry(discover()), jobs=jobs).server)["_request_handlers"]
    assert set(answered) == METHODS, "say in this file what of another's a new method could show"
    calls = [node for path in SOURCES.rglob("*.py") for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    routes = [node for node in calls if isinstance(node, ast.Call) and ast.unparse(node.func) in {"Route", "Mount"}]
    assert {ast.unparse(node.args[0]) for node in routes} == set(PAGES)


# --- the walk


def shapes(identity: str) -> Mapping[str, str]:
    """An id as models hand it back, and as somebody would who looks for a hole."""
    return {
        "plain": identity,
        "upper": identity.upper(),
        "quoted": f" '{identity}' ",
        "address": f"zen://threads/{identity}",
        "beginning": identity[:12],
        "pattern": identity[:-1] + "_",
        "wild": identity[:12] + "%",
    }


def nobodys(identity: str) -> str:
    """An id of the same form that nobody has."""
    return identity[:2] + secrets.token_hex(16)[: len(identity) - 2]


def told_of(said: str, identity: str) -> str:
    """What was said, without what is another each time: the id itself, and the call's."""
    beginning = re.escape(identity[:10])
    return re.sub(r"\bc-[0-9a-f]{12}\b", "CALL", re.sub(rf"{beginning}[\w%]*", "ID", said, flags=re.IGNORECASE))


async def said_by(client: Client, tool: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
    """All that a call says, and the kind of its error."""
    with anyio.fail_after(60):
        result = await client.call_tool(tool, dict(arguments))
    return result.model_dump_json(), error_of(result)["kind"] if result.is_error else ""


def attempts(stage: Stage) -> Iterator[tuple[str, dict[str, Any], str, str]]:
    """Every call with every id: the tool, its arguments without the id, the argument that takes it, and Anna's id.

    The second kind of server differs in what finds an id only, so one thread and one batch do.
    """
    owned = stage.owned
    tried = owned.ids if stage.mode == "legacy" else (owned.threads[0], owned.jobs[-1])
    for tool, ways in WAYS.items():
        for argument in sorted(set(TOOLS[tool].params.model_fields) & ID_ARGUMENTS):
            for arguments in ways:
                for identity in tried:
                    yield tool, arguments, argument, identity


async def test_an_id_of_another_is_an_id_that_nobody_has(stage: Stage) -> None:
    async with stage.client("anna") as anna:
        before = await state_of(anna, stage.owned)
    walked = 0
    heard: dict[str, str] = {}
    async with stage.client("ben") as ben:
        assert {tool.name for tool in (await ben.list_tools()).tools} == {*TOOLS, "asking"}, "the walk takes every tool"
        for tool, arguments, argument, identity in attempts(stage):
            own_kind = identity in (stage.owned.threads if argument in THREAD_IDS else stage.owned.jobs)
            first = identity in {stage.owned.threads[0], stage.owned.jobs[-1]}
            wide = own_kind and first and tool in {"chat", "threads", "jobs", "batch"}
            for shape, text in shapes(identity).items() if wide else [("plain", identity)]:
                said, kind = await said_by(ben, tool, {**arguments, argument: text})
                key = json.dumps([tool, arguments, argument, identity[:2], shape])
                if key not in heard:
                    other = nobodys(identity)
                    said_of_none, _ = await said_by(ben, tool, {**arguments, argument: shapes(other)[shape]})
                    heard[key] = told_of(said_of_none, other)
                assert told_of(said, identity) == heard[key], (tool, arguments, text)
                assert SECRET not in said, (tool, arguments, text)
                looked = (tool, arguments.get("action")) not in WITHOUT_ID
                assert (kind in UNKNOWN) == looked, (tool, arguments, text, said)
                walked += 1
    assert walked > 150
    async with stage.client("anna") as anna:
        assert await state_of(anna, stage.owned) == before, "nothing of Anna's was changed"


async def test_in_the_background_it_is_no_other(stage: Stage) -> None:
    async with stage.client("ben") as ben:
        jobs: list[str] = []
        for tool in ("chat", "threads", "planner"):
            for identity in (stage.owned.threads[0], nobodys(stage.owned.threads[0])):
                arguments = {**WAYS[tool][0], "background": True, "continuation_id": identity}
                if tool == "threads":
                    arguments |= {"action": "export"}
                jobs.append(data_of(await ben.call_tool(tool, arguments))["job"])
        for job in jobs:
            told = await ended(ben, job)
            assert told["job"]["error"]["kind"] == "UnknownThread"
            assert SECRET not in json.dumps(told)


async def test_what_is_shown_without_an_id_is_the_callers_own(stage: Stage) -> None:
    kinds = choices("usage", "by")
    assert {"user", "thread", "limit"} <= set(kinds)
    without: dict[str, list[dict[str, Any]]] = {
        "usage": [{"by": by, "since": "52w"} for by in kinds],
        "threads": [{}, {"text": SECRET}, {"text": "zebra", "limit": 500}, {"action": "list", "limit": 500}],
        "jobs": [{}],
        "listmodels": [{"all": True}],
        "version": [{}],
    }
    # Not Ben: his own tries with Anna's ids are in his usage.
    async with stage.client("cleo") as cleo:
        await cleo.call_tool("chat", {"prompt": "mine", "model": "shared"})
        await until(lambda: is_counted(cleo, "cleo"))
        shown = [(tool, (await said_by(cleo, tool, way))[0]) for tool, ways in without.items() for way in ways]
        addresses = [str(resource.uri) for resource in (await cleo.list_resources()).resources]
        shown += [(uri, (await cleo.read_resource(uri)).model_dump_json()) for uri in addresses]
        shown += [(name, (await said_by(cleo, name, {}))[0]) for name in TOOLS if name not in without]
        names = [prompt.name for prompt in (await cleo.list_prompts()).prompts]
        shown += [(name, (await cleo.get_prompt(name)).model_dump_json()) for name in names]
    for where, text in shown:
        asked_for_it = where == "threads" and "Nothing is said" in text
        leaked = [word for word in (SECRET, '"anna"', *stage.owned.ids) if word in text]
        assert leaked in ([], [SECRET] if asked_for_it else []), (where, text)
    usage = "\n".join(text for where, text in shown if where in {"usage", "zen://usage", "zen://limits"})
    assert '"cleo"' in usage
    assert "shared" in usage
    assert "annas" not in usage
    assert "hung" not in usage


async def is_counted(overseer: Client, user: str) -> bool:
    """Whether the ledger has rows of a user yet."""
    return f'"{user}"' in json.dumps(data_of(await overseer.call_tool("usage", {"by": "user"})))


async def test_only_those_who_are_named_see_everybodys_usage_and_not_what_was_said(stage: Stage) -> None:
    async with stage.client("ben") as ben, stage.client("ops-1") as overseer:
        await ben.call_tool("chat", {"prompt": "mine", "model": "shared"})
        await until(lambda: is_counted(overseer, "ben"))
        users = data_of(await overseer.call_tool("usage", {"by": "user"}))
        assert {"anna", "ben"} <= set(re.findall(r'"(anna|ben|ops-1)"', json.dumps(users)))
        for by in choices("usage", "by"):
            assert SECRET not in (await said_by(overseer, "usage", {"by": by}))[0]
        for tool, argument, identity in (
            ("threads", "continuation_id", stage.owned.threads[0]),
            ("jobs", "job", stage.owned.jobs[0]),
            ("batch", "job", stage.owned.jobs[-1]),
        ):
            assert (await said_by(overseer, tool, {argument: identity}))[1] in UNKNOWN


async def read(client: Client, uri: str) -> str:
    """All that an address says."""
    try:
        return (await client.read_resource(uri)).model_dump_json()
    except MCPError as exc:
        return exc.error.model_dump_json()


async def test_an_address_of_another_is_an_address_that_is_not_there(stage: Stage) -> None:
    async with stage.client("ben") as ben:
        templates = (await ben.list_resource_templates()).resource_templates
        assert {one.uri_template for one in templates} == {one.uri for one in RESOURCES if one.is_template}
        for template in templates:
            for identity in (stage.owned.threads[0], stage.owned.threads[1], stage.owned.jobs[0]):
                other = nobodys(identity)
                for query in ("", "?offset=100000"):

                    def filled(text: str, *, uri: str = template.uri_template, end: str = query) -> str:
                        return uri.partition("{?")[0].replace("{id}", text).replace("{n}", "1") + end

                    said = await read(ben, filled(identity))
                    assert told_of(said, identity) == told_of(await read(ben, filled(other)), other)
                    assert "UnknownThread" in said
                    assert SECRET not in said


async def watch(client: Client, uri: str) -> str:
    """What watching an address says."""
    try:
        await cast("Any", client).subscribe_resource(uri)
        await cast("Any", client).unsubscribe_resource(uri)
    except MCPError as exc:
        return exc.error.model_dump_json()
    return "watched"


@pytest.mark.filterwarnings("ignore:resources/subscribe is removed", "ignore:resources/unsubscribe is removed")
async def test_watching_an_address_tells_nothing_of_what_is_there(stage: Stage) -> None:
    async with stage.client("ben") as ben:
        for identity in stage.owned.threads:
            assert await watch(ben, f"zen://threads/{identity}") == await watch(
                ben, f"zen://threads/{nobodys(identity)}"
            )


async def test_nothing_of_another_is_suggested(stage: Stage) -> None:
    thread = stage.owned.threads[0]
    typed = ("", thread[:8], "title", stage.owned.jobs[0]) if stage.mode == "legacy" else ("",)
    async with stage.client("ben") as ben, stage.client("anna") as anna:
        templates = (await ben.list_resource_templates()).resource_templates
        prompts = (await ben.list_prompts()).prompts
        for text in typed:
            for template in templates:
                for variable in ID_VARIABLES | OTHER_VARIABLES:
                    reference = ResourceTemplateReference(type="ref/resource", uri=template.uri_template)
                    argument = {"name": variable, "value": text if variable in ID_VARIABLES else ""}
                    context = None if variable in ID_VARIABLES else {"id": thread}
                    found = (await ben.complete(reference, argument, context)).completion
                    assert not set(found.values) & set(stage.owned.ids)
                    assert variable in ID_VARIABLES or found.values == []
            for prompt in prompts:
                for taken in prompt.arguments or []:
                    if taken.name not in ID_ARGUMENTS:
                        continue
                    reference = PromptReference(type="ref/prompt", name=prompt.name)
                    found = (await ben.complete(reference, {"name": taken.name, "value": text})).completion
                    assert not set(found.values) & set(stage.owned.ids)
        reference = PromptReference(type="ref/prompt", name="chat")
        hers = (await anna.complete(reference, {"name": "continuation_id", "value": "title"})).completion
        assert stage.owned.threads[2] in hers.values, "Anna is suggested her own"


async def test_no_page_shows_anything_of_anybody(stage: Stage) -> None:
    shown: list[str] = []
    async with stage.served.http() as http:
        for headers in ({}, stage.headers("ben")):
            for page in PAGES.values():
                answer = await http.get(page, headers=headers)
                assert answer.status_code in {200, 405}, page
                shown.append(answer.text)
            for identity in (stage.owned.threads[0], nobodys(stage.owned.threads[0])):
                for path in (f"/threads/{identity}", f"/mcp/threads/{identity}", f"/mcp/{identity}"):
                    assert (await http.get(path, headers=headers)).status_code == 404
    for text in shown:
        for word in (SECRET, "anna", "ben", *stage.owned.ids):
            assert not re.search(rf"\b{word}\b", text), text


async def test_a_remembered_answer_and_one_on_its_way_are_one_users_own(stage: Stage, upstream: Upstream) -> None:
    same = {"prompt": f"one more {SECRET}", "model": "slow", "cache": "use"}
    before = len(upstream.asked("slow"))
    async with stage.client("anna") as anna, stage.client("ben") as ben, anyio.create_task_group() as group:
        group.start_soon(anna.call_tool, "chat", same)
        assert await anyio.to_thread.run_sync(upstream.wait_for_request, "slow", before + 1)
        told = data_of(await ben.call_tool("chat", same))
        assert told.get("cached") is not True
    assert len(upstream.asked("slow")) == before + 2, "neither waits for the other's answer"
    async with stage.client("anna") as anna, stage.client("ben") as ben:
        assert data_of(await anna.call_tool("chat", same))["cached"] is True
        hers = {"prompt": f"only {SECRET}", "model": "shared", "cache": "use"}
        assert data_of(await anna.call_tool("chat", hers)).get("cached") is not True
        assert data_of(await anna.call_tool("chat", hers))["cached"] is True
        assert data_of(await ben.call_tool("chat", hers)).get("cached") is not True


async def test_a_session_is_its_owners(stage: Stage) -> None:
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    accept = {"Accept": "application/json, text/event-stream"}
    async with stage.served.http() as http:
        begun = await http.post("/mcp", json=message, headers={**accept, **stage.headers("anna")})
        if stage.mode == "auto":
            assert "mcp-session-id" not in begun.headers, "there is none to take over"
            return
        session = {"Mcp-Session-Id": begun.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-06-18", **accept}

        async def listed(user: str, headers: Mapping[str, str]) -> tuple[int, str]:
            call = {"name": "threads", "arguments": {"action": "list"}}
            asked = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}
            answer = await http.post("/mcp", json=asked, headers={**headers, **stage.headers(user)})
            return answer.status_code, answer.text

        unknown = {**session, "Mcp-Session-Id": secrets.token_hex(16)}
        taken, none = await listed("ben", session), await listed("ben", unknown)
        assert taken == none
        assert taken[0] == 404
        status, text = await listed("anna", session)
        assert status == 200
        assert stage.owned.threads[0] in text, "Anna's session goes on"


async def test_what_a_client_keeps_for_a_tool_is_its_callers(stage: Stage) -> None:
    answers: dict[str, Any] = {"sure": {"action": "accept", "content": {}}}
    meta: dict[str, Any] = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}

    async def call(http: httpx2.AsyncClient, user: str, **more: Any) -> str:
        params = {"name": "asking", "arguments": {}, "_meta": meta, **more}
        answer = await http.post("/mcp", **rpc("tools/call", params, headers=stage.headers(user)))
        return answer.text

    async with stage.served.http() as http:
        found = re.search(r'"requestState":\s*"([^"]+)"', await call(http, "anna"))
        assert found is not None
        assert "anna" not in found[1]
        kept = {"inputResponses": answers, "requestState": found[1]}
        assert '"kept":"anna"' in await call(http, "anna", **kept)
        stolen = await call(http, "ben", **kept)
        made_up = await call(http, "ben", **{**kept, "requestState": found[1][:-8] + "AAAAAAAA"})
        assert stolen == made_up
        assert '"error"' in stolen


MODERN, CORE = "2026-07-28", "2025-11-25"
TASKS = {
    "tasks/get": (MODERN, CORE),
    "tasks/cancel": (MODERN, CORE),
    "tasks/result": (CORE,),
    "tasks/update": (MODERN,),
}
"""What is asked of a task by its id, and in which revisions."""
TAKES_TASKS: dict[str, Any] = {
    "io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}
}


async def test_a_task_of_another_is_a_task_that_never_was(stage: Stage) -> None:
    async def ask(http: httpx2.AsyncClient, method: str, revision: str, task: str) -> str:
        params: dict[str, Any] = {"taskId": task, "inputResponses": {}, "_meta": TAKES_TASKS}
        headers = {**stage.headers("ben"), "Mcp-Name": task}
        sent = rpc(method, params, headers=headers)
        sent["headers"]["MCP-Protocol-Version"] = revision
        return (await http.post("/mcp", **sent)).text

    async with stage.served.http() as http:
        for method, revisions in TASKS.items():
            # The older revision is asked where it needs no session.
            for revision in revisions if stage.mode == "auto" else {MODERN} & {*revisions}:
                for identity in stage.owned.jobs:
                    other = nobodys(identity)
                    said = told_of(await ask(http, method, revision, identity), identity)
                    assert said == told_of(await ask(http, method, revision, other), other)
                    assert "There is no task" in said, (method, revision, said)
        listed = await ask(http, "tasks/list", CORE, "")
        assert ('"tasks"' in listed) == (stage.mode == "auto")
        assert not [word for word in (SECRET, *stage.owned.ids) if word in listed]


@pytest.mark.parametrize("command", [("threads", "list"), ("jobs", "list"), ("batch", "list"), ("finetune", "list")])
async def test_the_shell_is_a_caller_as_any_other(stage: Stage, command: tuple[str, ...]) -> None:
    if stage.mode == "legacy":
        done = await anyio.to_thread.run_sync(lambda: stage.folder.run(*command, "--json"))
        assert done.returncode == 0, done.stderr
        assert not [word for word in (SECRET, *stage.owned.ids) if word in done.stdout]
