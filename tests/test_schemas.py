"""Every tool's schema is one that every vendor takes, and no argument set brings the server down."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from typing import Any, cast

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.client import Client
from tests.support.results import text_of
from tests.support.server import ServerFolder, connect, openai_model
from tests.upstream import Behaviour, Upstream

from zen_mcp.tools.base import BaseTool, ToolProtocol
from zen_mcp.tools.foreign.check import faults_of
from zen_mcp.tools.foreign.discovery import discover
from zen_mcp.tools.foreign.portable_schema import misfits
from zen_mcp.types import JSONObject

TOOLS = {tool.name: tool for tool in discover()}
EXAMPLES_PER_TOOL = 12
AGENTS = ("claude", "codex", "gemini", "opencode")


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_openai_and_gemini_take_the_tool(name: str) -> None:
    tool = TOOLS[name]
    assert faults_of(tool) == ()
    assert misfits(tool.name, tool.description, tool.get_schema()) == ()


def property_schema(**schema: Any) -> JSONObject:
    """A schema with one property."""
    return cast("JSONObject", {"type": "object", "properties": {"x": schema}})


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (property_schema(type=["string", "null"]), "t: 'x' has several types; Gemini takes one."),
        (property_schema(type="array"), "t: 'x' is an array without 'items'; Gemini refuses it."),
        (property_schema(type="integer", enum=[1, 2]), "t: 'x' has an enum of something else than words"),
        (property_schema(type="string", format="uri"), "t: 'x' has the format 'uri', which not every vendor takes."),
        (property_schema(**{"$ref": "#/x"}), "t: 'x' uses '$ref', which not every vendor takes."),
        (property_schema(oneOf=[{"type": "string"}]), "t: 'x' uses 'oneOf', which not every vendor takes."),
        (property_schema(), "t: 'x' has no 'type'."),
        ({"anyOf": [], "type": "object"}, "t: 'anyOf' at the top of a schema is refused"),
        (property_schema(type="object", additionalProperties={"type": "string"}), "describes its additional"),
    ],
)
def test_what_a_vendor_refuses_is_named(schema: JSONObject, told: str) -> None:
    assert any(told in text for text in misfits("t", "Does it.", schema))


def test_a_schema_that_is_too_deep_or_too_wide_is_named() -> None:
    deep: JSONObject = {"type": "string"}
    for _ in range(6):
        deep = {"type": "object", "properties": {"x": deep}}
    wide: JSONObject = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(101)}}
    assert any("levels deep" in text for text in misfits("t", "Does it.", deep))
    assert misfits("t", "Does it.", wide) == ("t: 101 properties; OpenAI takes 100 in all.",)


Call = Callable[[str, Mapping[str, Any]], Any]


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Generator[Call]:
    """One session with a real server whose models are at the upstream; no agent of the machine is run."""
    upstream.behave("fine", Behaviour(text="An answer."))
    folder = ServerFolder(
        path=tmp_path_factory.mktemp("wild"),
        models={"fine": openai_model(upstream.url)},
        settings={
            "default_model": "fine",
            "default_panel": ["fine"],
            "tools": ["full"],
            "allow_models": ["fine"],
            "agents": dict.fromkeys(AGENTS),
        },
    )
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        client: Client = stack.enter_context(portal.wrap_async_context_manager(connect(folder)))
        yield lambda tool, arguments: portal.call(client.call_tool, tool, dict(arguments))


WORDS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.sampled_from(["", "fine", "auto", "..", "/", "~", "HEAD", "x" * 5000, "${HOME}", "\x00", "-rf", "1", "{}"]),
)
WILD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


def fitting(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Values of a schema, or nearly so."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([fitting(branch) for branch in schema["anyOf"]])
    kind = schema.get("type")
    if kind == "array":
        return st.lists(fitting(schema.get("items", {})), max_size=3)
    if kind == "object":
        return arguments_of(schema, {})
    plain: dict[object, st.SearchStrategy[Any]] = {
        "string": WORDS,
        "integer": st.integers(-3, 20) | st.sampled_from([2**63, -(2**70)]),
        "number": st.floats(-1, 100) | st.sampled_from([1e308, -0.0]),
        "boolean": st.booleans(),
    }
    return plain.get(kind, WILD)


def arguments_of(schema: Mapping[str, Any], hidden: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Argument sets: mostly what the schema asks for, sometimes anything, sometimes more or less than it."""
    listed = {**hidden, **schema.get("properties", {})}
    required = set(schema.get("required", ()))
    each = {name: st.one_of(fitting(one), fitting(one), WILD) for name, one in listed.items()}
    sound = st.fixed_dictionaries(
        {name: fitting(listed[name]) for name in required if name in listed},
        optional={name: value for name, value in each.items() if name not in required},
    )
    return st.one_of(sound, sound, st.fixed_dictionaries({}, optional=each), st.dictionaries(WORDS, WILD, max_size=3))


def hidden_of(tool: ToolProtocol) -> dict[str, Any]:
    """The arguments that are taken but not listed."""
    if not isinstance(tool, BaseTool):
        return {}
    fields = cast("BaseTool[Any]", tool).params.model_fields
    return {field.alias or name: {} for name, field in fields.items()}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(TOOLS))
def test_no_arguments_crash_the_server_or_leak_a_traceback(name: str, call: Call) -> None:
    tool = TOOLS[name]

    @settings(
        max_examples=EXAMPLES_PER_TOOL,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(arguments=arguments_of(tool.get_schema(), hidden_of(tool)))
    def wild(arguments: dict[str, Any]) -> None:
        result = call(name, arguments)
        assert "Traceback" not in text_of(result)
        if result.is_error:
            error = result.structured_content["error"]
            assert error["kind"] != "InternalError", json.dumps(arguments)
            assert error["problem"], json.dumps(arguments)

    wild()
    assert not call("version", {}).is_error
