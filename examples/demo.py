"""The main job, for real: a panel of local models answers through the MCP server, and the thread goes on.

Run by `make demo`. Fetches two small models on the first run, starts `zen serve` as a client would, asks both the same
question in parallel, then a second question that needs the first. Other members: ZEN_DEMO_MODELS="opus,gpt".
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import anyio
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client
from mcp_types import CallToolResult, TextContent
from rich.columns import Columns
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from zen_mcp.config.folders import cache_folder
from zen_mcp.figures import dollars
from zen_mcp.providers.local_weights import WeightStore

DEFAULT_PANEL = ("local-qwen", "local-smol")
WEIGHTS = ("qwen2.5-coder-0.5b", "smollm2-135m")
FIRST = "My project is called Bluebird and is written in Python. In one or two sentences: what is a unit test good for?"
SECOND = "What is my project called, and in which language is it written?"
CALL_SECONDS = 300.0


def main() -> int:
    """Fetch, serve, ask twice, show; the exit code."""
    console = Console(
        width=min(Console().width, 120) if sys.stdout.isatty() else 110, record="--svg" in sys.argv, highlight=False
    )
    named = os.environ.get("ZEN_DEMO_MODELS", "")
    panel = [name.strip() for name in named.split(",") if name.strip()] or list(DEFAULT_PANEL)
    if not named:
        fetch(console)
    with tempfile.TemporaryDirectory(prefix="zen-demo-") as folder:
        failed = anyio.run(demonstrate, console, panel, Path(folder))
    if "--svg" in sys.argv:
        # The picture asks no other server for its font.
        picture = re.sub(r"@font-face \{.*?\n    \}\n", "", console.export_svg(title="make demo"), flags=re.DOTALL)
        Path(sys.argv[sys.argv.index("--svg") + 1]).write_text(picture, encoding="utf-8")
    return failed


def fetch(console: Console) -> None:
    """Get the weights that are not here yet, telling what they are and where they come from."""
    store = WeightStore(cache_folder(os.environ))
    missing = [weights for weights in store.list() if weights.name in WEIGHTS and not weights.present]
    if not missing:
        return
    table = Table(title="Weights to fetch, once", title_justify="left", box=None)
    for column in ("name", "size", "licence", "origin"):
        table.add_column(column)
    for weights in missing:
        table.add_row(weights.name, f"{weights.size_bytes / 1e6:,.0f} MB", weights.licence, weights.origin)
    console.print(table)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn(), console=console
    )
    with bar:
        for weights in missing:
            task = bar.add_task(weights.name, total=weights.size_bytes)
            store.pull(
                weights.name,
                progress=lambda step, done, total, task=task: bar.update(
                    task, description=step, completed=done, total=total
                ),
            )


async def demonstrate(console: Console, panel: list[str], folder: Path) -> int:
    """Two questions in one thread, by an MCP client over stdio."""
    environment = {**os.environ, "ZEN_STATE_DIR": str(folder)}
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "zen_mcp", "serve"], env=environment, cwd=str(Path.cwd())
    )
    started = time.perf_counter()
    with (folder / "server.log").open("w", encoding="utf-8") as log:
        async with Client(stdio_client(server, errlog=log)) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            seconds = time.perf_counter() - started
            console.print(
                f"[dim]MCP {client.protocol_version} over stdio · {len(tools)} tools ({', '.join(tools)}) "
                f"after {seconds:.2f} s[/]"
            )
            first = await ask(client, console, FIRST, panel, None)
            second = await ask(client, console, SECOND, panel, first.get("continuation_id"))
    return 0 if all_answered(first) and all_answered(second) else 1


async def ask(client: Client, console: Console, prompt: str, panel: list[str], thread: str | None) -> dict[str, Any]:
    """One call of the consensus tool, with its progress as a bar, and the answers side by side."""
    console.print(f"\n[bold]? {prompt}[/]" + (f" [dim](continues {thread})[/]" if thread else ""))
    bar = Progress(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console)
    with bar:
        task = bar.add_task("waiting for the server", total=len(panel))

        async def show(done: float, total: float | None, message: str | None) -> None:
            bar.update(task, completed=done, total=total, description=message or "")

        result = await client.call_tool(
            "consensus",
            {"prompt": prompt, "models": panel, "temperature": 0, **({"continuation_id": thread} if thread else {})},
            read_timeout_seconds=CALL_SECONDS,
            progress_callback=show,
        )
    if result.is_error:
        console.print(f"[red]{text_of(result)}[/]")
        return {}
    answers = cast("dict[str, Any]", result.structured_content)
    show_answers(console, answers)
    return answers


def show_answers(console: Console, result: dict[str, Any]) -> None:
    """The answers side by side, then a row of figures for each model."""
    width = max(30, console.width // max(len(result["answers"]), 1) - 1)
    panels = [
        Panel(answer.get("text") or f"[red]{answer.get('error')}[/]", title=answer["model"], width=width)
        for answer in result["answers"]
    ]
    console.print(Columns(panels, padding=0))
    table = Table(box=None)
    for column in ("model", "vendor", "status", "seconds", "tokens in", "tokens out", "cost"):
        table.add_column(column, justify="left" if column in {"model", "vendor", "status"} else "right")
    for answer in result["answers"]:
        table.add_row(
            answer["model"],
            answer.get("vendor", ""),
            answer["status"],
            f"{answer.get('seconds', 0):.1f}",
            str(answer.get("input_tokens", "?")),
            str(answer.get("output_tokens", "?")),
            dollars(answer.get("cost_dollars")),
        )
    console.print(table)
    console.print(f"{result['summary']}")
    console.print(
        f"[bold]total[/] {result.get('seconds', 0):.1f} s · {dollars(result.get('total_cost_dollars'))} · "
        f"thread {result['continuation_id']}"
    )


def all_answered(result: dict[str, Any]) -> bool:
    """Whether every member of the panel answered."""
    return bool(result) and all(answer["status"] == "answered" for answer in result["answers"])


def text_of(result: CallToolResult) -> str:
    """The text of a result."""
    return "\n".join(part.text for part in result.content if isinstance(part, TextContent))


if __name__ == "__main__":
    raise SystemExit(main())
