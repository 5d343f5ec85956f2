"""`zen chat`: a conversation in the terminal; the answers come as they are written."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal
from rich.console import Console

from zen_mcp.app import App
from zen_mcp.archive import Archive
from zen_mcp.cli.session import call_tool, open_app
from zen_mcp.cli.stream import Printer, finish
from zen_mcp.errors import ZenError
from zen_mcp.types import JSONObject, ToolResponse

_HELP = "/model NAME asks another model · /new begins a new thread · /quit or Ctrl-D ends · Ctrl-C stops an answer"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen chat` takes."""
    parser.add_argument("-m", "--model", default="auto", help="name or alias (zen models shows them)")
    parser.add_argument("-c", "--continue", dest="continuation_id", metavar="ID", help="go on in a thread")
    parser.add_argument("--config", metavar="DIR", help="a settings folder above all others")


def run(arguments: argparse.Namespace) -> int:
    """Talk until the input ends."""
    console = Console(stderr=True)
    printer = Printer()
    with start_blocking_portal() as portal:
        opened = open_app(arguments.config, watchers=(printer.watch,))
        with portal.wrap_async_context_manager(opened) as app:
            Conversation(
                portal=portal,
                app=app,
                printer=printer,
                console=console,
                model=arguments.model,
                thread=arguments.continuation_id,
            ).run()
    return 0


async def _unless_stopped(app: App, wanted: JSONObject, stop: anyio.Event) -> ToolResponse | None:
    response: ToolResponse | None = None
    failure: ZenError | None = None
    async with anyio.create_task_group() as group:

        async def ask() -> None:
            nonlocal response, failure
            try:
                response = await call_tool(app, "chat", wanted, watched=True)
            except ZenError as exc:
                failure = exc
            stop.set()

        group.start_soon(ask)
        await stop.wait()
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return response


@dataclass(slots=True, kw_only=True)
class Conversation:
    """Lines in, answers out; the main thread reads, so that Ctrl-C reaches it."""

    portal: BlockingPortal
    app: App
    printer: Printer
    console: Console
    model: str
    thread: str | None

    def run(self) -> None:
        """Read until the end."""
        self._say(f"{self.model} · {_HELP}")
        while (line := self._read()) is not None:
            word, _, rest = line.strip().partition(" ")
            if word in {"/quit", "/exit"}:
                return
            if word == "/new":
                self.thread = None
                self._say("a new thread")
            elif word == "/model":
                self._choose(rest.strip())
            elif word == "/help":
                self._say(_HELP)
            elif line.strip():
                self._answer(line)

    def _read(self) -> str | None:
        try:
            return input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return None
        except KeyboardInterrupt:
            self._say("")
            return None

    def _choose(self, name: str) -> None:
        try:
            self.model = self.app.catalog.require(name).name
        except ZenError as exc:
            self._say(f"zen: {exc}")
        else:
            self._say(f"now asking {self.model}")

    def _answer(self, prompt: str) -> None:
        self.printer.printed = 0
        wanted: JSONObject = {"prompt": prompt, "model": self.model, "continuation_id": self.thread}
        stop = self.portal.call(anyio.Event)
        future = self.portal.start_task_soon(_unless_stopped, self.app, wanted, stop)
        try:
            response = self._wait(future, stop)
        except ZenError as exc:
            self._say(f"zen: {exc}")
            return
        if response is None:
            self._go_on_with_the_kept_thread()
            return
        self.thread = str(response.structured.get("continuation_id") or "") or self.thread
        finish(response, self.printer, self.console)

    def _wait(self, future: Future[ToolResponse | None], stop: anyio.Event) -> ToolResponse | None:
        """The answer; None when Ctrl-C stopped it."""
        try:
            return future.result()
        except KeyboardInterrupt:
            self.portal.call(stop.set)
            return future.result()

    def _go_on_with_the_kept_thread(self) -> None:
        """What had come of a stopped answer lies in a thread, perhaps in a new one."""
        if self.thread is None and self.printer.printed:
            threads = self.portal.call(partial(Archive(self.app.conversations, user_id="local").list, limit=1))
            self.thread = threads[0].id if threads else None
        self._say("\nstopped; what had come is kept in the thread")

    def _say(self, text: str) -> None:
        self.console.print(text, style="dim", highlight=False, markup=False, soft_wrap=True)
