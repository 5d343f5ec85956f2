"""What a tool reaches the world with, for one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import anyio

from zen_mcp.archive import Archive
from zen_mcp.catalog import Catalog, Model
from zen_mcp.config.agent_schema import AgentOutput, AgentSettings
from zen_mcp.conversations import (
    Answer,
    History,
    Question,
    Thread,
    history,
)
from zen_mcp.errors import InvalidArguments, PromptTooLong, StorageError
from zen_mcp.figures import estimate_tokens
from zen_mcp.jobs.job import Job
from zen_mcp.jobs.store import JobStore
from zen_mcp.middleware.limits import LimitUse
from zen_mcp.storage.usage import By, UsageReport
from zen_mcp.tools.estimate import Estimate
from zen_mcp.tools.files.images import read_images
from zen_mcp.tools.files.names import InlineFile
from zen_mcp.tools.files.read import read_files
from zen_mcp.tools.git.read import Changes, read_changes
from zen_mcp.tools.messages import alternating
from zen_mcp.tools.prompts import load_prompts
from zen_mcp.tools.room import UNKNOWN_WINDOW_TOKENS, reserved_tokens, room_for_files, surplus_tokens
from zen_mcp.tools.services import ToolServices, ToolSettings
from zen_mcp.tools.watch import AnswerWatch
from zen_mcp.tools.wishes import Wishes
from zen_mcp.types import (
    Caller,
    JSONValue,
    LogLevel,
    Message,
    ModelRequest,
    ModelResponse,
    TextSink,
    ToolRequest,
)

__all__ = [
    "LimitUse",
    "AgentOutput",
    "AgentSettings",
    "Answer",
    "Job",
    "Model",
    "Question",
    "Saved",
    "Thread",
    "ToolContext",
    "ToolServices",
    "ToolSettings",
    "Wishes",
    "answer_of",
]

CUT_MARK = "\n\n[cut off here]"
"""Ends the stored text of an answer of which only a part came."""


_NO_WISHES = Wishes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What became of a round: the thread's id and the numbers of its turns in order, or why it was not stored."""

    continuation_id: str = ""
    turns: tuple[int, ...] = ()
    note: str | None = None


class ToolContext:
    """One call's view of the world.

    Args:
        request: the call.
        services: what all calls share.
        folder: where the tool's `prompt.md` lies; None for a tool without one.
    """

    def __init__(self, request: ToolRequest, services: ToolServices, *, folder: Path | None = None) -> None:
        self.request = request
        self.services = services
        self._folder = folder

    @property
    def request_id(self) -> str:
        """The call's id, on every log line and in every error."""
        return self.request.request_id

    @property
    def user_id(self) -> str:
        """Who owns the threads of this call."""
        return self.request.caller.user_id

    @property
    def session_id(self) -> str | None:
        """The connection this call came in on."""
        return self.request.caller.session_id

    @property
    def caller(self) -> Caller:
        """Who asks."""
        return self.request.caller

    @property
    def catalog(self) -> Catalog:
        """The models that exist and that the caller may use."""
        return self.services.catalog.seen_by(self.request.caller.models)

    @property
    def jobs(self) -> JobStore:
        """Work in the background."""
        return self.services.jobs

    @property
    def settings(self) -> ToolSettings:
        """What server.yaml says of tools."""
        return self.services.settings

    @property
    def max_characters(self) -> int:
        """How long a result may be to reach the model behind this client whole."""
        return self.request.max_characters or self.settings.max_result_characters

    @property
    def max_seconds(self) -> float | None:
        """How long the client waits for this call; None for one that is patient."""
        return self.request.max_seconds

    @property
    def prompts(self) -> Mapping[str, str]:
        """The headed parts of the tool's `prompt.md`, some of them perhaps replaced by the user's own."""
        packaged = load_prompts(self._folder / "prompt.md") if self._folder else dict[str, str]()
        own = self.settings.prompts_dir
        return {**packaged, **load_prompts(own / f"{self.request.tool}.md")} if own else packaged

    async def log(self, text: str, level: LogLevel = "info") -> None:
        """Write into the client's own log, where it keeps one; most do not show it."""
        await self.request.log(level, text)

    @property
    def options(self) -> Mapping[str, JSONValue]:
        """The tool's own options, from `tool_settings` in server.yaml and the plugin's config.yaml."""
        return self.settings.options

    async def progress(self, done: float, total: float | None, message: str) -> None:
        """Tell whoever watches: so many of so many, and one line of text."""
        await self.request.progress(done, total, message)

    async def open_thread(self, continuation_id: str | None) -> Thread:
        """The caller's thread of that id, or a new one.

        Raises:
            UnknownThread: no such thread, not the caller's, or expired.
        """
        return await self.services.conversations.open(continuation_id, user_id=self.user_id)

    async def question(
        self,
        prompt: str,
        *,
        files: Sequence[str | InlineFile] = (),
        images: Sequence[str] = (),
        models: Sequence[Model] = (),
        numbered: bool = False,
    ) -> Question:
        """A prompt with its files and images read; its `notes` say what of the files was left out or changed.

        Args:
            prompt: what is asked.
            files: paths, folders, patterns, lines of files, texts; docs/files.md says what each means.
            images: paths, `data:` URLs, addresses.
            models: who will be asked: the files that fit the widest window of theirs are sent. None: all files.
            numbered: whether each line has its number before it (`12|code`).

        Raises:
            InvalidArguments: an empty prompt, or one past the server's limit.
            FileRefused: names every file that cannot be sent, and why.
            PromptTooLong: there is no room for any of the files.
        """
        if not prompt.strip():
            raise InvalidArguments("'prompt' is empty.", "Say what the model should answer.")
        limit = self.settings.max_prompt_characters
        if len(prompt) > limit:
            raise InvalidArguments(
                f"'prompt' has {len(prompt):,} characters; at most {limit:,} are taken.",
                "Shorten it, or name files in 'files' instead of pasting them.",
            )
        pictures = await read_images(images, roots=self.settings.roots, hosts=self.settings.image_hosts)
        read = await read_files(
            files,
            roots=self.settings.roots,
            max_file_bytes=self.settings.max_file_bytes,
            allow_secret_files=self.settings.allow_secret_files,
            numbered=numbered,
            room=room_for_files(
                models,
                self.services.gateway,
                prompts=self.prompts,
                taken_tokens=estimate_tokens(prompt, images=len(pictures)),
            ),
        )
        return Question(
            text=prompt,
            tool=self.request.tool,
            files=read.files,
            images=pictures,
            notes=read.notes,
            surplus_tokens=read.surplus_tokens,
        )

    async def changes(self, what: str = "all", *, folder: str | None = None) -> Changes:
        """What changed in the repository of a folder, the workspace unless another is given; `read_changes` says more.

        Raises:
            FileRefused: the folder is missing or outside of what may be read.
            NoChanges: no git, no repository, an unknown commit, or nothing changed.
        """
        return await read_changes(
            Path(folder or "."),
            what=what,
            roots=self.settings.roots,
            max_file_bytes=self.settings.max_file_bytes,
            allow_secret_files=self.settings.allow_secret_files,
        )

    async def ask(
        self,
        thread: Thread,
        question: Question,
        *,
        model: Model,
        system: str,
        wishes: Wishes = _NO_WISHES,
        fallbacks: bool = True,
        sink: TextSink | None = None,
    ) -> ModelResponse:
        """Ask one model, with the thread's history before the question, within the time that the client waits.

        Args:
            thread: where the question is asked.
            question: the prompt with its files and images.
            model: who is asked.
            system: the system message.
            wishes: how it is to be answered.
            fallbacks: whether another model may answer in its place.
            sink: takes the answer as it comes.

        Raises:
            PromptTooLong: the question alone does not fit the model's context window, nor that of one that steps in.
            ZenError: whatever kept the model from answering.
        """
        past, tokens = self._history(thread, question, model, system, fallbacks=fallbacks)
        return await self.services.gateway.ask(
            ModelRequest(
                request_id=self.request_id,
                model=model.name,
                messages=(Message(role="system", text=system), *alternating(past.messages)),
                tool=self.request.tool,
                caller=self.caller,
                timeout_seconds=min(model.timeout_seconds, self.request.max_seconds or model.timeout_seconds),
                prompt_tokens=tokens,
                fallbacks=fallbacks,
                sink=sink,
                thread_id=thread.id,
                only_models=self.settings.only_models,
                news=self._tell if self.request.watched else None,
                **wishes.fields(),
            )
        )

    def estimate(self, thread: Thread, question: Question, *, model: Model, system: str) -> Estimate:
        """What asking would take.

        Raises:
            PromptTooLong: as `ask`.
        """
        _, tokens = self._history(thread, question, model, system, fallbacks=True)
        price_in, price_out = model.price.input_dollars_per_token, model.price.output_dollars_per_token
        least = None if price_in is None or price_out is None else tokens * price_in
        most = None
        if least is not None and price_out is not None:
            most = least if price_out == 0 else least + model.max_output * price_out if model.max_output else None
        return Estimate(
            model=model.name,
            vendor=model.vendor,
            input_tokens=tokens,
            max_output_tokens=model.max_output,
            least_dollars=least,
            most_dollars=most,
        )

    def _history(
        self, thread: Thread, question: Question, model: Model, system: str, *, fallbacks: bool
    ) -> tuple[History, int]:
        """What goes before the answer, trimmed to the window, and about how many tokens that is."""
        before = estimate_tokens(system)
        surplus = surplus_tokens(thread, question)
        own = model.context_window or UNKNOWN_WINDOW_TOKENS
        widest = self.services.gateway.window(model, fallbacks=fallbacks) or own
        tokens = 0
        for window in dict.fromkeys((own, widest)):
            room = window - reserved_tokens(model, window) - before
            past = history(thread, question, model=model.name, budget_tokens=room, surplus_tokens=surplus)
            if not past.over_budget:
                return past, past.tokens + before
            tokens = past.tokens
        raise PromptTooLong(
            f"The prompt has about {tokens:,} tokens; '{model.name}' takes {own:,}.",
            "Shorten it, name fewer files, or choose a model with a longer context (listmodels shows them).",
        )

    async def _tell(self, line: str) -> None:
        await self.progress(0, None, line)

    def transcript(self, thread: Thread, question: Question, *, budget_tokens: int) -> tuple[Message, ...]:
        """What was said so far, as much of it as fits, and the question last: for those who are no model of ours."""
        return history(thread, question, model=None, budget_tokens=budget_tokens).messages

    def watch(self, label: str) -> AnswerWatch | None:
        """A sink that tells whoever watches how much has come; None when nobody does, for streaming costs CPU."""
        return AnswerWatch(self.request.progress, label) if self.request.watched else None

    async def keep_part(self, thread: Thread, question: Question, model: Model, text: str) -> None:
        """Store what had come of an answer whose caller has gone; a second at most."""
        if not text:
            return
        part = Answer(text=text + CUT_MARK, model=model.name, vendor=model.vendor)
        with anyio.move_on_after(1, shield=True):
            await self.save(thread, question, [part])

    @property
    def threads(self) -> Archive:
        """The caller's stored threads: to list, search, branch, rename and delete."""
        return Archive(self.services.conversations, user_id=self.user_id)

    async def usage(self, *, by: By, since: float) -> UsageReport:
        """What was used since then (seconds since 1970): by everybody where the caller may see that, else by himself.

        Raises:
            StorageError: the database fails.
        """
        return await self.services.usage.report(by=by, since=since, user_id=None if self._sees_all else self.user_id)

    async def limit_use(self) -> Sequence[LimitUse]:
        """How much of each limit and budget is used: by the caller and by all together; by everybody where he may see.

        Raises:
            StorageError: the counters are away.
        """
        limits = self.services.limits
        return await limits.usage(seen_by=None if self._sees_all else self.caller) if limits.rules else ()

    @property
    def _sees_all(self) -> bool:
        return any(fnmatchcase(self.user_id, pattern) for pattern in self.settings.usage_viewers)

    async def save(self, thread: Thread, question: Question, answers: Sequence[Answer]) -> Saved:
        """Store the question and its answers as turns of the thread. An answer is never lost to a broken database."""
        try:
            numbers = await self.services.conversations.append(thread, question, answers)
        except StorageError as exc:
            return Saved(note=f"not stored, so it cannot be continued: {exc}")
        return Saved(continuation_id=thread.id, turns=numbers)


def answer_of(response: ModelResponse, *, stance: str | None = None) -> Answer:
    """A model's response as a turn to store."""
    return Answer(
        text=response.text + (CUT_MARK if response.partial else ""),
        model=response.model,
        vendor=response.vendor,
        stance=stance,
        usage=response.usage,
        cost_dollars=response.cost_dollars,
        seconds=response.seconds,
    )
