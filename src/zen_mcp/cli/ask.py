"""`zen ask`: one model, one question, or a thread that goes on."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import anyio
from rich.console import Console

from zen_mcp.cli.session import absolute, call_tool, open_app, prompt_from
from zen_mcp.cli.stream import Printer, finish
from zen_mcp.errors import InvalidArguments
from zen_mcp.types import ToolResponse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen ask` takes."""
    parser.add_argument("prompt", nargs="*", help="the question; - or nothing reads it from standard input")
    add_question_arguments(parser)
    parser.add_argument("-m", "--model", default="auto", help="name or alias (zen models shows them)")
    parser.add_argument("--json-schema", metavar="FILE", help="have the answer in JSON of the schema in this file")
    parser.add_argument("--web-search", action="store_true", help="let the model search the web")


def add_question_arguments(parser: argparse.ArgumentParser) -> None:
    """What `ask` and `consensus` share."""
    parser.add_argument("-f", "--file", action="append", default=[], metavar="PATH", help="a file to send along")
    parser.add_argument("-i", "--image", action="append", default=[], metavar="PATH", help="an image to send along")
    parser.add_argument("-t", "--temperature", type=float, metavar="N", help="0 to 2")
    parser.add_argument("--thinking", choices=["none", "minimal", "low", "medium", "high", "max"])
    parser.add_argument("-c", "--continue", dest="continuation_id", metavar="ID", help="go on in a thread")
    parser.add_argument("--cache", choices=["use", "refresh", "off"], help="repeat an identical answer, or renew it")
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
        "cache": arguments.cache,
    }


def named_files(wanted: Mapping[str, object]) -> list[str]:
    """The files and images on the command line."""
    return [*cast("list[str]", wanted["files"]), *cast("list[str]", wanted["images"])]


def run(arguments: argparse.Namespace) -> int:
    """Ask, and print the answer as it comes."""
    wanted = {
        **question_arguments(arguments),
        "model": arguments.model,
        "json_schema": _schema_in(arguments.json_schema),
        "web_search": arguments.web_search or None,
    }
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


def _schema_in(file: str | None) -> object:
    """The JSON Schema in a file.

    Raises:
        InvalidArguments: the file cannot be read, or is not JSON.
    """
    if file is None:
        return None
    try:
        return json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise InvalidArguments(f"--json-schema: '{file}' holds no JSON ({exc}).", "Name a file with a schema.") from exc
