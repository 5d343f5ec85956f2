"""Tool calls that outlive their client: begun in the background, or moved there before the client hangs up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, cast

import anyio

from zen_mcp.errors import ClientCannotAnswer, InvalidArguments, Refused, ZenError
from zen_mcp.jobs.job import JobRun, NewJob
from zen_mcp.jobs.kept import kept
from zen_mcp.jobs.worker import JobWorker
from zen_mcp.middleware.base import CallNext
from zen_mcp.observability.logs import EventLog
from zen_mcp.types import Caller, JSONObject, ToolRequest, ToolResponse

_log = EventLog()

KIND = "call"
FLAG = "background"
"""The argument that every tool takes, though no schema lists it."""
MARGIN_SECONDS = 6.0
"""So long before the client hangs up a call becomes a job."""
_ANSWER_SECONDS = 3600.0
"""So long a job waits for what its client is asked; it keeps a worker's place meanwhile."""
_MOST_ROUNDS = 10


@dataclass(slots=True)
class _Running:
    """A call under way that may become a job."""

    ended: anyio.Event = field(default_factory=anyio.Event)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    response: ToolResponse | None = None
    error: Exception | None = None

    async def make(self, request: ToolRequest, call_next: CallNext[ToolRequest, ToolResponse]) -> None:
        """Make the call, and keep its end."""
        try:
            with self.scope:
                self.response = await call_next(request)
        except Exception as exc:  # noqa: BLE001 - carried to whoever waits
            self.error = exc
        finally:
            self.ended.set()

    async def outcome(self) -> ToolResponse:
        """Wait for the end."""
        await self.ended.wait()
        if self.error is not None:
            raise self.error
        if self.response is None:
            raise Refused("The call was cancelled, because the server stops.", "Call again.")
        return self.response

    async def outcome_of_job(self) -> ToolResponse:
        """Wait for the end, as the job that the call has become; a cancelled job takes the call with it."""
        try:
            return await self.outcome()
        except anyio.get_cancelled_exc_class():
            self.scope.cancel()
            raise


class Tools(Protocol):
    """What the background asks of the registry."""

    def check(self, request: ToolRequest) -> None:
        """Say what is wrong with a call, as far as that can be said without making it."""
        ...

    def asks_vendors(self, name: str) -> bool:
        """Whether the tool of this name does."""
        ...

    async def call(self, request: ToolRequest) -> ToolResponse:
        """Run one call through the tool chain."""
        ...


class BackgroundCalls:
    """A tool middleware, and the handler of the jobs that it makes.

    Args:
        worker: does the jobs.

    Attributes:
        tools: the registry in whose chain this stands; set when both are made.
    """

    tools: Tools

    def __init__(self, worker: JobWorker) -> None:
        self._worker = worker

    async def __call__(self, request: ToolRequest, call_next: CallNext[ToolRequest, ToolResponse]) -> ToolResponse:
        """Hand the call in where that is wished; watch the clock where the client has one; else just make it.

        Raises:
            ConfigError: the background is wished for, and not installed.
        """
        wished = request.arguments.get(FLAG, False)
        if not isinstance(wished, bool):
            raise InvalidArguments(f"'{FLAG}' is true or false, not {str(wished)[:40]!r}.", "Leave it out to wait.")
        if FLAG in request.arguments:
            rest = {name: value for name, value in request.arguments.items() if name != FLAG}
            request = replace(request, arguments=rest)
        if request.job_id is not None:
            return await call_next(request)
        if wished:
            self.tools.check(request)
            return _handle(await self._worker.store.hand_in(_job(request)), "was handed in")
        calls = self._worker.calls
        if request.max_seconds is None or calls is None or not self._may_move(request):
            return await call_next(request)
        running = _Running()
        calls.start_soon(running.make, replace(request, max_seconds=None), call_next)
        try:
            with anyio.move_on_after(max(request.max_seconds - MARGIN_SECONDS, 1.0)):
                return await running.outcome()
            return await self._as_a_job(request, running, call_next)
        except anyio.get_cancelled_exc_class():
            running.scope.cancel()
            raise

    async def run(self, job: JobRun) -> JSONObject:
        """Make the call of a job.

        Raises:
            ZenError: as the tool.
        """
        caller = cast("dict[str, Any]", job.spec["caller"])
        for name in ("tools", "models"):
            caller[name] = None if caller[name] is None else tuple(caller[name])

        async def progress(done: float, total: float | None, message: str) -> None:
            await job.tell(message)

        request = ToolRequest(
            request_id=str(job.spec["request_id"]),
            tool=str(job.spec["tool"]),
            arguments=cast("dict[str, object]", job.spec["arguments"]),
            caller=Caller(**caller),
            progress=progress,
            watched=True,
            max_characters=cast("int | None", job.spec["max_characters"]),
            may_ask=frozenset(cast("list[str]", job.spec.get("may_ask", []))),
            job_id=job.id,
        )
        return kept(await self._answered(request, await self.tools.call(request), self.tools.call))

    def _may_move(self, request: ToolRequest) -> bool:
        """Whether the call may become a job: what asks no vendor does not take long, or waits on purpose."""
        return self._worker.store.installed and self.tools.asks_vendors(request.tool)

    async def _as_a_job(
        self, request: ToolRequest, running: _Running, call_next: CallNext[ToolRequest, ToolResponse]
    ) -> ToolResponse:
        """The handle of the job that the call becomes; its answer after all where that cannot be."""

        async def outcome(identity: str) -> JSONObject:
            may_ask = request.may_ask if request.takes_task else frozenset[str]()
            as_job = replace(request, job_id=identity, max_seconds=None, may_ask=may_ask)
            return kept(await self._answered(as_job, await running.outcome_of_job(), call_next))

        try:
            job = await self._worker.adopt(_job(request), outcome)
        except ZenError as exc:
            _log.warning("call_not_moved_to_the_background", call=request.request_id, reason=exc.problem)
            return await running.outcome()
        return _handle(job, f"takes longer than {request.caller.client_name or 'the client'} waits, and goes on")

    async def _answered(
        self, request: ToolRequest, response: ToolResponse, call: CallNext[ToolRequest, ToolResponse]
    ) -> ToolResponse:
        """What the tool says in the end, its questions asked through the job where its client takes them.

        Raises:
            ClientCannotAnswer: nobody can be asked, or nobody answered in time.
        """
        for _ in range(_MOST_ROUNDS):
            if not response.questions:
                return response
            answers = await self._ask(request, response)
            request = replace(request, answers=answers, state=response.state)
            response = await call(request)
        raise ClientCannotAnswer(f"'{request.tool}' asked the client {_MOST_ROUNDS} times.", "Tell the tool's author.")

    async def _ask(self, request: ToolRequest, response: ToolResponse) -> Mapping[str, JSONObject]:
        needed = {question.method.partition("/")[0] for question in response.questions.values()}
        if request.job_id is None or not needed <= request.may_ask:
            problem = f"The tool '{request.tool}' has to ask the client, which cannot be asked in the background here."
            raise ClientCannotAnswer(problem, "Call it without background, or as a task of a client that can be asked.")
        asked = {
            name: cast("JSONObject", {"method": question.method, "params": question.params})
            for name, question in response.questions.items()
        }
        user, store = request.caller.user_id, self._worker.store
        answers = await store.ask(request.job_id, asked, user_id=user, seconds=_ANSWER_SECONDS)
        if answers is None:
            problem = f"The client did not answer '{request.tool}' within {_ANSWER_SECONDS / 60:g} minutes."
            raise ClientCannotAnswer(problem, "Call again.")
        return answers


def _job(request: ToolRequest) -> NewJob:
    prompt = request.arguments.get("prompt")
    title = f"{request.tool}: {' '.join(prompt.split())[:60]}" if isinstance(prompt, str) else request.tool
    spec: JSONObject = {
        "request_id": request.request_id,
        "tool": request.tool,
        "arguments": cast("JSONObject", dict(request.arguments)),
        "caller": cast("JSONObject", asdict(request.caller)),
        "max_characters": request.max_characters,
        "may_ask": [*sorted(request.may_ask)] if request.takes_task else [],
    }
    return NewJob(kind=KIND, user_id=request.caller.user_id, title=title, spec=spec, keep_seconds=request.keep_seconds)


def _handle(job: str, why: str) -> ToolResponse:
    text = f"Job {job} {why}. jobs(job='{job}', action='wait') waits for its result, in this session or a later one."
    return ToolResponse(text=text, structured={"job": job, "state": "running", "text": text}, job=job)
