"""Run another agent's command line as a sub-agent."""

from __future__ import annotations

import time

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from zen_mcp.errors import AgentFailed, NotAllowed
from zen_mcp.plugins.clink.agents import (
    check_depth,
    command_of,
    environment_for,
    find_agent,
    our_environment,
    program_of,
    role_text,
    working_folder,
)
from zen_mcp.plugins.clink.output import Reading, reading, told
from zen_mcp.plugins.clink.process import MOST_OUTPUT_BYTES, Run, run_agent
from zen_mcp.tools import ToolContext, ToolHints, ToolParams, ToolResult, tool
from zen_mcp.tools.context import AgentSettings, Answer, Question, Thread
from zen_mcp.tools.format import rest_link, rest_note, stored_line
from zen_mcp.tools.paging import head
from zen_mcp.types import ToolResponse

HISTORY_TOKENS = 60_000
"""Of a thread so much is put before the prompt; older rounds are left out."""
_TELL_EVERY_SECONDS = 1.0
_TOLD_CHARACTERS = 120


class ClinkParams(ToolParams):
    """Have another agent's CLI (codex, gemini, …) work in this workspace."""

    prompt: str
    agent: str = ""
    role: str = Field(default="", description="planner, codereviewer")
    write: bool = False
    continuation_id: str | None = None
    files: SkipJsonSchema[list[str]] = Field(default=[], description="Files sent along")
    folder: SkipJsonSchema[str | None] = Field(default=None, description="Where it works")
    timeout_seconds: SkipJsonSchema[float | None] = Field(default=None, gt=0, description="Stopped after so long")


class ClinkResult(ToolResult):
    """An agent's answer."""

    text: str = ""
    continuation_id: SkipJsonSchema[str] = ""
    agent: SkipJsonSchema[str] = ""
    seconds: SkipJsonSchema[float] = 0.0
    next_offset: SkipJsonSchema[int | None] = None
    turn: SkipJsonSchema[int | None] = None
    notes: SkipJsonSchema[list[str]] = Field(default=[])


@tool(hints=ToolHints(read_only=False, core=False))
async def clink(params: ClinkParams, context: ToolContext) -> ToolResponse:
    """Run the agent and store the round."""
    environ = our_environment()
    depth = check_depth(environ)
    name, agent = find_agent(params.agent, context.settings.agents)
    if params.write and not agent.allow_write:
        fix = f"Leave 'write' out, or set agents.{name}.allow_write in server.yaml."
        raise NotAllowed(f"The agent '{name}' may not change files here.", fix)
    program = program_of(name, agent)
    folder = working_folder(params.folder, context.settings.roots)
    role = await role_text(params.role, agent, context)
    thread = await context.open_thread(params.continuation_id)
    question = await context.question(params.prompt, files=params.files)
    prompt = _prompt(role, params, context, thread, question)
    output = reading(agent.output)
    watch = _Watch(context, name)
    started = time.monotonic()
    seconds = min(params.timeout_seconds or agent.timeout_seconds, agent.timeout_seconds)
    seconds = min(seconds, context.max_seconds or seconds)
    await context.progress(0, None, f"{name} works in {folder.name}")
    try:
        run = await run_agent(
            command_of(program, agent, write=params.write, prompt=prompt),
            folder=folder,
            environment=environment_for(agent, environ, depth),
            stdin=prompt if agent.prompt_via == "stdin" else None,
            output=output,
            tell=watch,
            timeout_seconds=seconds,
        )
    except OSError as exc:
        fix = f"Check agents.{name}.command in server.yaml."
        raise AgentFailed(f"The agent '{name}' cannot be started: {exc.strerror or exc}.", fix) from exc
    text, notes = _answer(name, agent, run, output, seconds)
    took = time.monotonic() - started
    answer = Answer(text=text, model=f"clink/{name}", vendor="clink", seconds=took)
    return await _respond(context, thread, question, answer, notes)


def _prompt(role: str, params: ClinkParams, context: ToolContext, thread: Thread, question: Question) -> str:
    """The role, what it may do, what was said so far, the task."""
    *past, asked = context.transcript(thread, question, budget_tokens=HISTORY_TOKENS)
    said = [f"[{message.role}]\n{message.text}" for message in past]
    history = [context.prompts["history"], *said] if said else []
    may = context.prompts["write" if params.write else "read only"]
    return "\n\n".join([role.strip(), may, *history, asked.text])


def _answer(name: str, agent: AgentSettings, run: Run, output: Reading, seconds: float) -> tuple[str, list[str]]:
    """What the agent answered, and what is to be said of it.

    Raises:
        AgentFailed: it gave no answer, or ended with an error.
    """
    text = output.answer()
    said = output.error() or told(run.complaint, agent.output)
    if run.end == "exited" and run.exit_code:
        reason = said or (text or "")[-1_500:] or "it said nothing"
        fix = agent.install or "Run it by hand to see what it lacks."
        raise AgentFailed(f"The agent '{name}' failed with exit code {run.exit_code}: {reason.rstrip('.')}.", fix)
    stopped = {
        "too slow": f"it was stopped after {seconds:g} seconds",
        "too much": f"it was stopped after {MOST_OUTPUT_BYTES // 1_048_576} MiB of output",
    }.get(run.end, "")
    if not text:
        what = stopped or f"its output holds no answer where 'output' of its settings looks ({agent.output.format})"
        fix = f"See agents.{name} in server.yaml: timeout_seconds, output."
        raise AgentFailed(f"The agent '{name}' gave no answer: {what}.{f' It said: {said}' if said else ''}", fix)
    notes = [f"not a whole answer: {stopped}"] if stopped else []
    return text, [*notes, "some of its output was too long and is not here"] if output.cut else notes


async def _respond(
    context: ToolContext, thread: Thread, question: Question, answer: Answer, notes: list[str]
) -> ToolResponse:
    saved = await context.save(thread, question, [answer])
    shown = head(answer.text, context.max_characters if saved.turns else len(answer.text))
    notes = [*notes, *rest_note(saved, -1, shown, len(answer.text))]
    result = ClinkResult(
        text=shown.text,
        continuation_id=saved.continuation_id,
        agent=answer.model.removeprefix("clink/"),
        seconds=round(answer.seconds, 1),
        next_offset=shown.next_offset,
        turn=saved.turns[-1] if shown.next_offset else None,
        notes=notes,
    )
    footer = " · ".join([f"{result.agent} · {result.seconds:g} s", *stored_line(saved), *notes])
    return ToolResponse(
        text=f"{shown.text}\n\n[{footer}]", structured=result.to_json(), links=rest_link(saved, -1, shown)
    )


class _Watch:
    """Tells whoever watches what the agent does, at most once a second."""

    def __init__(self, context: ToolContext, name: str) -> None:
        self._context = context
        self._name = name
        self._told = 0.0

    async def __call__(self, line: str) -> None:
        """Pass a line on."""
        now = time.monotonic()
        if self._context.request.watched and now - self._told >= _TELL_EVERY_SECONDS:
            self._told = now
            short = " ".join(line.split())[:_TOLD_CHARACTERS]
            await self._context.progress(0, None, f"{self._name}: {short}")
