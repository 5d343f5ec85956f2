"""`zen`: which commands there are, and how a failure ends."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from typing import Protocol, cast

from zen_mcp import __version__
from zen_mcp.errors import ZenError, did_you_mean

COMMANDS: tuple[tuple[str, str], ...] = (
    ("serve", "Serve MCP on stdin and stdout"),
    ("token", "Make, list and revoke the tokens that let callers in over HTTP"),
    ("ask", "Ask one model"),
    ("chat", "Talk with a model in the terminal"),
    ("consensus", "Ask several models at once and compare"),
    ("estimate", "Say what a question would cost, without asking it"),
    ("models", "List the models that can be asked"),
    ("threads", "List, show and delete stored threads"),
    ("usage", "Sum what calls took: tokens, dollars, seconds"),
    ("batch", "Ask one model many prompts from a file: cheaper, resumable, in the background"),
    ("finetune", "Make training examples of threads, train a model with them, follow it"),
    ("jobs", "List, wait for and cancel background work; be a worker"),
    ("tools", "List the tools, and what listing them costs in tokens"),
    ("limits", "Show how much of each limit and budget is used"),
    ("alerts", "Show how the alerts stand; try a channel; print rules for Prometheus"),
    ("config", "Make, check and describe the settings"),
    ("db", "Check the database, and bring its schema up to date"),
    ("local", "Fetch, list and remove local models"),
    ("plugin", "Write, list and check plugins"),
    ("doctor", "Check what is installed, set and answering, and say how to mend it"),
    ("completion", "Print a shell completion script"),
)


class Command(Protocol):
    """What each command's module has."""

    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def run(arguments: list[str]) -> int:
    """Run one command; the exit code: 0 done, 1 a foreseen failure, 2 wrong usage, 130 interrupted."""
    names = [name for name, _ in COMMANDS]
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    if chosen is not None and chosen not in names:
        sys.stderr.write(f"zen: unknown command '{chosen}'. {did_you_mean(chosen, names)} See zen --help.\n")
        return 2
    parser = build_parser([chosen] if chosen else [])
    parsed = parser.parse_args(arguments)
    if chosen is None:
        parser.print_help()
        return 0
    try:
        return command(chosen).run(parsed)
    except ZenError as exc:
        return _tell(exc, as_json=bool(getattr(parsed, "json", False)))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0


def build_parser(loaded: list[str]) -> argparse.ArgumentParser:
    """The parser, with the arguments of the commands named in `loaded`; the rest only with their help line."""
    parser = argparse.ArgumentParser(
        prog="zen", description="One MCP server, every LLM. Without a key, local models answer."
    )
    parser.add_argument("--version", action="version", version=f"zen {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command")
    for name, summary in COMMANDS:
        sub = commands.add_parser(name, help=summary, description=summary)
        if name in loaded:
            command(name).add_arguments(sub)
    return parser


def command(name: str) -> Command:
    """The module of a command, imported when it is needed."""
    return cast("Command", importlib.import_module(f"zen_mcp.cli.{name}"))


def _tell(exc: ZenError, *, as_json: bool) -> int:
    if as_json:
        error = {"kind": exc.kind, "problem": exc.problem, "fix": exc.fix}
        sys.stdout.write(json.dumps({"error": error}) + "\n")
    else:
        sys.stderr.write(f"zen: {exc}\n")
    return 1
