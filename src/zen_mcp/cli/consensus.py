"""`zen consensus`: a panel of models, each a row of a live table, then their answers side by side."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any, cast

import anyio
from rich.console import Console, Group
from rich.live import Live
from rich.markdown import Markdown
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from zen_mcp.cli.ask import add_question_arguments, named_files, question_arguments
from zen_mcp.cli.session import call_tool, open_app
from zen_mcp.errors import ZenError
from zen_mcp.figures import dollars
from zen_mcp.middleware.base import CallNext
from zen_mcp.tools.format import tokens
from zen_mcp.types import ModelRequest, ModelResponse, ToolResponse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen consensus` takes."""
    parser.add_argument("prompt", nargs="*", help="the question; - or nothing reads it from standard input")
    parser.add_argument(
        "-m",
        "--model",
        action="append",
        default=[],
        metavar="NAME[:STANCE]",
        help="a member, with a stance for, against or neutral; several; default: the configured panel",
    )
    parser.add_argument("--quorum", type=int, metavar="N", help="stop after so many answers")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="return what is there by then")
    add_question_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask the panel, drawing as it answers."""
    wanted = {
        **question_arguments(arguments),
        "models": [_member(word) for word in arguments.model],
        "quorum": arguments.quorum,
        "timeout_seconds": arguments.timeout,
    }
    response = anyio.run(_ask, arguments.config, wanted)
    if arguments.json:
        sys.stdout.write(json.dumps(response.structured, ensure_ascii=False, indent=2) + "\n")
    else:
        show(response, Console())
    return 0


def show(response: ToolResponse, console: Console) -> None:
    """Print every answer in a frame of its own, the summary last, where a terminal's eye is."""
    result = cast("dict[str, Any]", response.structured)
    for answer in result["answers"]:
        title = " · ".join(str(answer[key]) for key in ("model", "stance", "vendor") if answer.get(key))
        body = Markdown(answer["text"]) if "text" in answer else Text(str(answer.get("error", "")), style="red")
        console.print(Panel(body, title=title, title_align="left"))
    cost = dollars(result.get("total_cost_dollars"))
    console.print(Text(result["summary"], style="bold"))
    thread = result.get("continuation_id")
    more = [f"continue with -c {thread}"] if thread else []
    console.print(Text(" · ".join([f"{result.get('seconds', 0)} s", cost, *more]), style="dim"))


async def _ask(config: str | None, wanted: dict[str, object]) -> ToolResponse:
    table = LiveTable()
    async with open_app(config, named=named_files(wanted), watchers=(table.watch,)) as app:
        with Live(table, console=Console(stderr=True), refresh_per_second=8, transient=False):
            return await call_tool(app, "consensus", wanted)


def _member(word: str) -> object:
    name, _, stance = word.rpartition(":")
    return {"model": name, "stance": stance} if name and stance in {"for", "against", "neutral"} else word


@dataclass(slots=True)
class _Row:
    """One member's line. `spinner` is drawn until `how` is known."""

    model: str
    started: float
    spinner: Spinner = field(default_factory=lambda: Spinner("dots"))
    how: Text | None = None
    seconds: float = 0.0
    response: ModelResponse | None = None


class LiveTable:
    """A rich table with one row per model request, drawn anew as they end."""

    def __init__(self) -> None:
        self._rows: list[_Row] = []

    async def watch(self, request: ModelRequest, call_next: CallNext[ModelRequest, ModelResponse]) -> ModelResponse:
        """A model middleware: a row while the request runs, its figures when it has ended."""
        row = _Row(model=request.model, started=time.perf_counter())
        self._rows.append(row)
        try:
            row.response = await call_next(request)
            row.how = Text("answered", style="green")
        except ZenError as exc:
            row.how = Text(exc.kind, style="red")
            raise
        finally:
            row.how = row.how or Text("stopped", style="yellow")
            row.seconds = time.perf_counter() - row.started
        return row.response

    def __rich__(self) -> Group:
        """The table as it stands now."""
        table = Table(box=None, pad_edge=False)
        for column in ("model", "", "seconds", "tokens", "cost"):
            table.add_column(column, justify="right" if column in {"seconds", "cost"} else "left")
        now = time.perf_counter()
        for row in self._rows:
            seconds = row.seconds or now - row.started
            done = row.response
            table.add_row(
                row.model,
                row.how or row.spinner,
                f"{seconds:.1f}",
                tokens(done.usage) if done else "",
                dollars(done.cost_dollars) if done else "",
            )
        return Group(table)
