"""`zen finetune`: examples from threads, and models trained with them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import anyio

from zen_mcp.app import App
from zen_mcp.archive import Archive
from zen_mcp.cli.session import open_app
from zen_mcp.cli.table import aligned
from zen_mcp.errors import FileRefused, InvalidArguments, UnknownJob
from zen_mcp.jobs.job import Job
from zen_mcp.tools.examples import checked, examples_of
from zen_mcp.types import Caller

_USER = Caller().user_id
_MOST_THREADS = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen finetune` takes."""
    parser.add_argument("action", choices=list(ACTIONS))
    parser.add_argument("what", nargs="*", metavar="THREAD|FILE|ID", help="threads to export, a file, or a job")
    parser.add_argument("--all", action="store_true", help="export all threads")
    parser.add_argument("-o", "--output", metavar="FILE", help="where an export is written; without it, printed")
    parser.add_argument("--model", "-m", help="the model to train")
    parser.add_argument("--suffix", help="part of the finished model's name at the vendor")
    parser.add_argument("--alias", metavar="NAME", help="what it is called here; without it, MODEL-SUFFIX")
    parser.add_argument("--price", type=float, metavar="DOLLARS", help="of a million trained tokens, for the estimate")
    parser.add_argument("--yes", "-y", action="store_true", help="ask nothing")
    parser.add_argument("--config", metavar="DIR", help="a settings folder above all others")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do one of them."""
    if arguments.action in {"create", "status", "cancel"} and len(arguments.what) != 1:
        what = "file" if arguments.action == "create" else "job"
        raise UnknownJob(f"Which {what} to {arguments.action}?", "zen finetune list shows jobs.")
    return anyio.run(_run, arguments)


async def _run(arguments: argparse.Namespace) -> int:
    async with open_app(arguments.config) as app:
        return await ACTIONS[arguments.action](app, arguments)


async def _export(app: App, arguments: argparse.Namespace) -> int:
    names: list[str] = arguments.what
    if arguments.all:
        names = [one.id for one in await Archive(app.conversations, user_id=_USER).list(limit=_MOST_THREADS)]
    if not names:
        raise InvalidArguments("No thread is named.", "Name some, or all with --all; zen threads lists them.")
    threads = [await app.conversations.open(name, user_id=_USER) for name in dict.fromkeys(names)]
    examples = await anyio.to_thread.run_sync(examples_of, threads)
    if arguments.output is None:
        sys.stdout.write(examples.text)
    else:
        try:
            await anyio.Path(arguments.output).write_text(examples.text, encoding="utf-8")
        except OSError as exc:
            problem = f"'{arguments.output}' cannot be written ({exc.strerror})."
            raise InvalidArguments(problem, "Name a file in a folder that can be written.") from exc
    sys.stderr.write(examples.in_words(arguments.price) + "\n")
    return 0


async def _create(app: App, arguments: argparse.Namespace) -> int:
    if not arguments.model:
        raise InvalidArguments("Which model is to be trained?", "zen finetune create FILE --model NAME")
    model = app.catalog.require(arguments.model)
    raw = await anyio.to_thread.run_sync(_content, arguments.what[0])
    examples = await anyio.to_thread.run_sync(checked, raw)
    sys.stderr.write(examples.in_words(arguments.price) + "\n")
    if not arguments.yes and not await _confirmed():
        return 1
    made = await app.tunings.create(
        examples.text.encode(),
        model=model,
        caller=Caller(client_name="zen-cli"),
        suffix=arguments.suffix,
        name=arguments.alias,
    )
    text = f"{made.job} follows {made.vendor_job}, in a server or in zen jobs work; its model will be '{made.name}'."
    sys.stdout.write((json.dumps(asdict(made)) if arguments.json else text) + "\n")
    return 0


async def _confirmed() -> bool:
    """Whether the user wants it.

    Raises:
        InvalidArguments: there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise InvalidArguments("Training costs money, and nobody can be asked.", "Add --yes.")
    sys.stderr.write("Train? [y/N] ")
    sys.stderr.flush()
    answer = await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
    return answer.strip().lower() in {"y", "yes"}


async def _status(app: App, arguments: argparse.Namespace) -> int:
    return _tell(await app.tunings.status(arguments.what[0], user_id=_USER), arguments)


async def _cancel(app: App, arguments: argparse.Namespace) -> int:
    return _tell(await app.tunings.cancel(arguments.what[0], user_id=_USER), arguments)


async def _list(app: App, arguments: argparse.Namespace) -> int:
    found = await app.tunings.list(user_id=_USER)
    if arguments.json:
        sys.stdout.write(json.dumps([asdict(job) for job in found]) + "\n")
        return 0
    rows = [(job.id, job.state, job.title, job.progress) for job in found]
    text = (
        aligned([("JOB", "STATE", "WHAT", "PROGRESS"), *rows]) if rows else "No fine-tunings: zen finetune create FILE."
    )
    sys.stdout.write(text + "\n")
    return 0


ACTIONS: Mapping[str, Callable[[App, argparse.Namespace], Awaitable[int]]] = {
    "export": _export,
    "create": _create,
    "status": _status,
    "cancel": _cancel,
    "list": _list,
}


def _tell(job: Job, arguments: argparse.Namespace) -> int:
    told = job.result or job.error or {}
    more = told.get("text") or told.get("problem") or job.progress
    text = f"{job.id} {job.state}: {job.title}{f'. {more}' if more else ''}"
    sys.stdout.write((json.dumps(asdict(job)) if arguments.json else text) + "\n")
    return 0


def _content(name: str) -> bytes:
    """The file.

    Raises:
        FileRefused: it cannot be read.
    """
    try:
        return Path(name).expanduser().read_bytes()
    except OSError as exc:
        raise FileRefused(f"'{name}' cannot be read ({exc.strerror}).", "Check the path.") from exc
