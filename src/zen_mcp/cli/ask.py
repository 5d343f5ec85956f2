"""`zen ask`: one model, one question, or a thread that goes on."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import cast

import anyio
from rich.console import Console

from zen_mcp.cli.session import absolute, call_tool, open_app, prompt_from
from zen_mcp.cli.stream import Printer, finish
from zen_mcp.types import ToolResponse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen ask` takes."""
    parser.add_argument("prompt", nargs="*", help="the question; - or nothing reads it from standard input")
    add_question_arguments(parser)
    parser.add_argument("-m", "--model", default="auto", help="name or alias (zen models shows them)")


def add_question_arguments(parser: argparse.ArgumentParser) -> None:
    """What `ask` and `consensus` share."""
    parser.add_argument("-f", "--file", action="append", default=[], metavar="PATH", help="a file to send along")
    parser.add_argument("-i", "--image", action="append", default=[], metavar="PATH", help="an image to send along")
    parser.add_argument("-t", "--temperature", type=float, metavar="N", help="0 to 2")
    parser.add_argument("--thinking", choices=["none", "minimal", "low", "medium", "high", "max"])
    parser.add_argument("-c", "--continue", dest="continuation_id", metavar="ID", help="go on in a thread")
    parser.add_argument("--config", metavar="DIR", help="a settings folder above all others")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def question_arguments(arguments: argparse.Namespace) -> dict[str, object]:
    """The tool arguments that `ask` and `consensus` share."""
    return {
        "prompt": prompt_from(arguments.prompt),
        "files": absolute(arguments.file),
        "images": absolute(arguments.image),
        "temperature": arguments.temperature,
        "thinking": arguments.thinking,
        "continuation_id": arguments.continuation_id,
    }


def named_files(wanted: Mapping[str, object]) -> list[str]:
    """The files and images on the command line."""
    return [*cast("list[str]", wanted["files"]), *cast("list[str]", wanted["images"])]


def run(arguments: argparse.Namespace) -> int:
    """Ask, and print the answer as it comes."""
    wanted = {**question_arguments(arguments), "model": arguments.model}
    if arguments.json:
        response = anyio.run(_ask, arguments.config, wanted, None)
        sys.stdout.write(json.dumps(response.structured, ensure_ascii=False, indent=2) + "\n")
        return 0
    console = Console(stderr=True)
    with console.status(f"asking {arguments.model} …") as status:
        printer = Printer(on_start=status.stop)
        response = anyio.run(_ask, arguments.config, wanted, printer)
    finish(response, printer, console)
    return 0


async def _ask(config: str | None, wanted: dict[str, object], printer: Printer | None) -> ToolResponse:
    watchers = (printer.watch,) if printer else ()
    async with open_app(config, named=named_files(wanted), watchers=watchers) as app:
        return await call_tool(app, "chat", wanted, watched=printer is not None)
