"""The fixtures that the MCP conformance suite calls, as a plugin like any other: tools, prompts, resources."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import anyio

from zen_mcp.errors import VendorUnavailable
from zen_mcp.tools import ToolContext
from zen_mcp.tools.client import ask_client, elicit, roots, sample
from zen_mcp.tools.resources import Resource
from zen_mcp.tools.slash import ToolPrompt
from zen_mcp.types import Audio, ClientQuestion, Document, Image, JSONObject, ToolResponse

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQIAAAAAAA=="
IMAGE = Image(mime_type="image/png", data_base64=PNG)
NOTHING: JSONObject = {"type": "object", "properties": {}}
Run = Callable[[Mapping[str, Any], ToolContext], Awaitable[ToolResponse]]


class Fixture:
    """A bare object that satisfies `ToolProtocol`."""

    def __init__(self, run: Run, schema: JSONObject) -> None:
        self.name = run.__name__
        self.description = f"{run.__doc__}"
        self._run = run
        self._schema = schema

    def get_schema(self) -> JSONObject:
        """Its arguments."""
        return self._schema

    async def execute(self, params: Mapping[str, object], context: ToolContext) -> ToolResponse:
        """Run the function."""
        return await self._run(params, context)


def fixture(**arguments: str) -> Callable[[Run], Fixture]:
    """Make a tool of a function; its arguments are required texts."""
    properties = {name: {"type": "string", "description": text} for name, text in arguments.items()}
    schema = cast("JSONObject", {"type": "object", "properties": properties, "required": list(arguments)})
    return lambda run: Fixture(run, schema if arguments else NOTHING)


def said(text: str) -> ToolResponse:
    """An answer of one text."""
    return ToolResponse(text=text, structured={"text": text})


def form(**fields: JSONObject) -> JSONObject:
    """The schema of a form with required fields."""
    return cast("JSONObject", {"type": "object", "properties": fields, "required": list(fields)})


TEXT: JSONObject = {"type": "string"}


@fixture()
async def test_simple_text(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Answer a text."""
    return said("This is a simple text response for testing.")


@fixture()
async def test_image_content(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Answer an image."""
    return ToolResponse(text="", structured={}, blocks=(IMAGE,))


@fixture()
async def test_audio_content(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Answer a sound."""
    return ToolResponse(text="", structured={}, blocks=(Audio(mime_type="audio/wav", data_base64=WAV),))


@fixture()
async def test_embedded_resource(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Answer a document."""
    text = "This is an embedded resource content."
    document = Document(uri="test://embedded-resource", mime_type="text/plain", text=text)
    return ToolResponse(text="", structured={}, blocks=(document,))


@fixture()
async def test_multiple_content_types(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Answer a text, an image and a document."""
    text = json.dumps({"test": "data", "value": 123})
    document = Document(uri="test://mixed-content-resource", mime_type="application/json", text=text)
    return ToolResponse(text="Multiple content types test:", structured={}, blocks=(IMAGE, document))


@fixture()
async def test_tool_with_logging(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Log three lines."""
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await context.log(line)
        await anyio.sleep(0.05)
    return said("Logged.")


@fixture()
async def test_error_handling(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Fail."""
    raise VendorUnavailable("This tool intentionally returns an error for testing")


@fixture()
async def test_tool_with_progress(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Report progress three times."""
    for done in (0, 50, 100):
        await context.progress(done, 100, f"{done} of 100")
        await anyio.sleep(0.05)
    return said("Done.")


@fixture(prompt="What to ask the client's model")
async def test_sampling(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Ask the client's model."""
    answer: Any = context.request.answers.get("answer")
    if answer is None:
        return ask_client({"answer": sample(params["prompt"], max_tokens=100)})
    return said(f"LLM response: {answer['content']['text']}")


async def asked_user(context: ToolContext, message: str, schema: JSONObject, label: str) -> ToolResponse:
    """Ask the user and tell the answer."""
    answer: Any = context.request.answers.get("answer")
    if answer is None:
        return ask_client({"answer": elicit(message, schema)})
    return said(f"{label}: action={answer['action']}, content={json.dumps(answer.get('content', {}))}")


@fixture(message="What to show the user")
async def test_elicitation(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Ask the user."""
    fields = form(
        username={"type": "string", "description": "User's response"},
        email={"type": "string", "description": "User's email address"},
    )
    return await asked_user(context, params["message"], fields, "User response")


@fixture()
async def test_elicitation_sep1034_defaults(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Ask the user with defaults for each type."""
    fields: JSONObject = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    return await asked_user(context, "Check", {"type": "object", "properties": fields}, "Elicitation completed")


@fixture()
async def test_elicitation_sep1330_enums(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Ask the user to choose, in each way that the protocol knows."""
    titled: list[Any] = [
        {"const": "value1", "title": "First Option"},
        {"const": "value2", "title": "Second Option"},
        {"const": "value3", "title": "Third Option"},
    ]
    options: list[Any] = ["option1", "option2", "option3"]
    fields: JSONObject = {
        "untitledSingle": {"type": "string", "enum": options},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    return await asked_user(context, "Choose", {"type": "object", "properties": fields}, "Elicitation completed")


ASK_NAME = elicit("What is your name?", form(name=TEXT))
CONFIRM = elicit("Please confirm", form(ok={"type": "boolean"}))


def missing(context: ToolContext, questions: dict[str, ClientQuestion], state: str | None = None) -> bool:
    """Whether the client has not answered all of these."""
    return not questions.keys() <= context.request.answers.keys()


def content_of(context: ToolContext, name: str) -> dict[str, Any]:
    """What the user filled in."""
    answer: Any = context.request.answers[name]
    return answer.get("content") or {}


@fixture()
async def test_input_required_result_elicitation(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Ask for a name."""
    if missing(context, {"user_name": ASK_NAME}):
        return ask_client({"user_name": ASK_NAME})
    return said(f"Hello, {content_of(context, 'user_name').get('name')}!")


@fixture()
async def test_input_required_result_sampling(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Ask the client's model for a capital."""
    answer: Any = context.request.answers.get("capital_question")
    if answer is None:
        return ask_client({"capital_question": sample("What is the capital of France?", max_tokens=100)})
    return said(str(answer["content"]["text"]))


@fixture()
async def test_input_required_result_list_roots(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Ask for the client's folders."""
    answer: Any = context.request.answers.get("client_roots")
    if answer is None:
        return ask_client({"client_roots": roots()})
    return said(", ".join(root["uri"] for root in answer["roots"]))


@fixture()
async def test_input_required_result_request_state(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Have a state kept while the user confirms."""
    if context.request.state != "kept" or "confirm" not in context.request.answers:
        return ask_client({"confirm": CONFIRM}, state="kept")
    return said("state-ok")


@fixture()
async def test_input_required_result_tampered_state(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Have a state kept that nobody may change."""
    if context.request.state != "sealed":
        return ask_client({"confirm": CONFIRM}, state="sealed")
    return said("state-ok")


@fixture()
async def test_input_required_result_multiple_inputs(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Ask three things at once."""
    questions = {
        "user_name": ASK_NAME,
        "greeting": sample("Generate a greeting", max_tokens=50),
        "client_roots": roots(),
    }
    if missing(context, questions):
        return ask_client(questions, state="three")
    return said(f"Hello, {content_of(context, 'user_name').get('name')}!")


@fixture()
async def test_input_required_result_multi_round(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Ask twice, the second time with what was said the first time kept."""
    if "step2" in context.request.answers and context.request.state:
        name = json.loads(context.request.state)["name"]
        return said(f"{name} likes {content_of(context, 'step2').get('color')}.")
    if "step1" in context.request.answers:
        kept = json.dumps({"name": content_of(context, "step1").get("name")})
        return ask_client({"step2": elicit("Step 2: What is your favorite color?", form(color=TEXT))}, state=kept)
    return ask_client({"step1": elicit("Step 1: What is your name?", form(name=TEXT))}, state="begun")


@fixture()
async def test_input_required_result_capabilities(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Ask only what this client offers."""
    wanted = {"elicitation": ASK_NAME, "sampling": sample("Generate a greeting", max_tokens=50)}
    questions = {name: question for name, question in wanted.items() if name in context.request.may_ask}
    if questions and missing(context, questions):
        return ask_client(questions)
    return said("Answered.")


@fixture()
async def test_missing_capability(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Ask the client's model, whether it has one or not."""
    return ask_client({"answer": sample("Hello?")})


@fixture()
async def test_streaming_elicitation(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Report progress, then ask the user."""
    await context.progress(1, 2, "asking")
    return await asked_user(context, "Go on?", form(ok={"type": "boolean"}), "Asked")


@fixture()
async def test_logging_tool(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Log a line, which a client of today does not get."""
    await context.log("A line")
    return said("Logged.")


# The tools of the scenarios on tasks. What takes longer than a second becomes a task where `client_seconds` is 7.
LONG_SECONDS = 2.0


@fixture(name="Whom")
async def greet(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Greet at once."""
    return said(f"Hello, {params['name']}!")


@fixture()
async def slow_compute(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Take at least as long as is said; no time at all for 0 seconds."""
    if params.get("seconds"):
        await anyio.sleep(max(params["seconds"], LONG_SECONDS))
    return said(f"Computed {params.get('label', '')}.")


@fixture()
async def failing_job(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Fail in the end."""
    await anyio.sleep(LONG_SECONDS)
    raise VendorUnavailable("This job intentionally fails.")


@fixture()
async def protocol_error_job(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Break in the end."""
    await anyio.sleep(LONG_SECONDS)
    raise RuntimeError("This job intentionally has a bug.")


async def long_then_asked(context: ToolContext, *names: str) -> ToolResponse:
    """Ask the user so many things when it has become a task."""
    questions = {name: elicit(f"Confirm {name}?", form(confirm={"type": "boolean"})) for name in names}
    if missing(context, questions):
        await anyio.sleep(LONG_SECONDS)
        return ask_client(questions)
    return said(json.dumps({name: content_of(context, name) for name in names}))


@fixture(filename="What to delete")
async def confirm_delete(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Ask whether a file is to be deleted."""
    return await long_then_asked(context, "delete")


@fixture()
async def multi_input(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Ask two things at once."""
    return await long_then_asked(context, "one", "two")


@fixture()
async def test_tool_with_task(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """Ask for a name at once, then take long."""
    if missing(context, {"user_name": ASK_NAME}):
        return ask_client({"user_name": ASK_NAME})
    await anyio.sleep(LONG_SECONDS)
    return said(f"Hello, {content_of(context, 'user_name').get('name')}!")


@fixture()
async def static_text(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """The text of a resource."""
    return said("This is the content of the static text resource.")


@fixture(id="Which")
async def template_data(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """The text of one of many resources."""
    return said(json.dumps({"id": params["id"], "templateTest": True, "data": f"Data for ID: {params['id']}"}))


@fixture()
async def simple_prompt(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """The text of a prompt."""
    return said("This is a simple prompt for testing.")


@fixture(arg1="First test argument", arg2="Second test argument")
async def prompt_with_arguments(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """The text of a prompt with arguments."""
    return said(f"Prompt with arguments: arg1='{params['arg1']}', arg2='{params['arg2']}'")


@fixture(resourceUri="URI of the resource to embed")
async def prompt_with_resource(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """The messages of a prompt with a document."""
    text = "Embedded resource content for testing."
    document = Document(uri=params["resourceUri"], mime_type="text/plain", text=text)
    return ToolResponse(text="Please process the embedded resource above.", structured={}, blocks=(document,))


@fixture()
async def prompt_with_image(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """The messages of a prompt with an image."""
    return ToolResponse(text="Please analyze the image above.", structured={}, blocks=(IMAGE,))


@fixture()
async def prompt_with_question(params: Mapping[str, Any], context: ToolContext) -> ToolResponse:
    """The text of a prompt that asks the user first."""
    question = elicit("What context should the prompt use?", form(context=TEXT))
    if missing(context, {"user_context": question}):
        return ask_client({"user_context": question})
    return said(f"Use this context: {content_of(context, 'user_context').get('context')}")


def prompt(name: str, made_by: Fixture, **arguments: str) -> ToolPrompt:
    """A prompt that a tool makes."""
    return ToolPrompt(name=name, tool=made_by.name, description=made_by.description, arguments=arguments)


first_prompt = prompt("test_simple_prompt", simple_prompt)
second_prompt = prompt("test_prompt_with_arguments", prompt_with_arguments, arg1="First", arg2="Second")
third_prompt = prompt("test_prompt_with_embedded_resource", prompt_with_resource, resourceUri="What to embed")
fourth_prompt = prompt("test_prompt_with_image", prompt_with_image)
fifth_prompt = prompt("test_input_required_result_prompt", prompt_with_question)

text_resource = Resource(name="text", uri="test://static-text", description="A text.", tool="static_text")
watched_resource = Resource(name="watched", uri="test://watched-resource", description="A text.", tool="static_text")
binary_resource = Resource(
    name="binary",
    uri="test://static-binary",
    description="A picture.",
    tool="test_image_content",
    mime_type="image/png",
)
template_resource = Resource(
    name="data",
    uri="test://template/{id}/data",
    description="One of many.",
    tool="template_data",
    arguments={"id": "{id}"},
    mime_type="application/json",
)
