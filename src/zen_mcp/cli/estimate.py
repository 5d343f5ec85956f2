"""`zen estimate`: what a question would take, asked of nobody."""

from __future__ import annotations

import argparse
import json
import sys

import anyio

from zen_mcp.cli.session import absolute, call_tool, open_app, prompt_from
from zen_mcp.types import ToolResponse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen estimate` takes."""
    parser.add_argument("prompt", nargs="*", help="the question; - or nothing reads it from standard input")
    parser.add_argument(
        "-m", "--model", action="append", default=[], metavar="NAME", help="several; default: the panel"
    )
    parser.add_argument("-f", "--file", action="append", default=[], metavar="PATH", help="a file to send along")
    parser.add_argument("-i", "--image", action="append", default=[], metavar="PATH", help="an image to send along")
    parser.add_argument("-c", "--continue", dest="continuation_id", metavar="ID", help="in a thread")
    parser.add_argument("--config", metavar="DIR", help="a settings folder above all others")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print tokens and dollars, a line per model."""
    response = anyio.run(_estimate, arguments)
    if arguments.json:
        text = json.dumps(response.structured, ensure_ascii=False, indent=2)
    else:
        text = response.text.partition("\n")[2]
    sys.stdout.write(text + "\n")
    return 0


async def _estimate(arguments: argparse.Namespace) -> ToolResponse:
    wanted: dict[str, object] = {
        "prompt": prompt_from(arguments.prompt),
        "models": arguments.model,
        "files": absolute(arguments.file),
        "images": absolute(arguments.image),
        "continuation_id": arguments.continuation_id,
        "dry_run": True,
    }
    async with open_app(arguments.config, named=[*arguments.file, *arguments.image]) as app:
        return await call_tool(app, "consensus", wanted)
