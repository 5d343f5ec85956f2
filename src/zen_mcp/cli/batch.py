"""`zen batch`: many prompts from a file, for one model."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import anyio

from zen_mcp.app import App
from zen_mcp.cli.progress import bar
from zen_mcp.cli.session import doing_jobs, open_app
from zen_mcp.cli.table import aligned
from zen_mcp.errors import FileRefused, InvalidArguments, UnknownJob
from zen_mcp.jobs.batch import BatchStatus, broken, deadline, summary
from zen_mcp.jobs.batch_lines import Lines, read_file
from zen_mcp.jobs.batch_run import progress_words
from zen_mcp.jobs.job import ENDED
from zen_mcp.types import Caller, JSONValue

_USER = Caller().user_id
_LOOK_SECONDS = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen batch` takes."""
    parser.add_argument("action", choices=list(ACTIONS), help="wait: work on it here until it has ended")
    parser.add_argument("what", nargs="?", metavar="FILE|ID", help="the JSONL file to submit (-: stdin), or the batch")
    parser.add_argument("--model", "-m", help="who is asked; without it, the default model")
    parser.add_argument(
        "--deadline", metavar="24h", help="from 24h on, the vendor's batch API is used where there is one"
    )
    parser.add_argument(
        "--yes", "-y", action="store_true", help="ask nothing: leave broken lines out, hand the rest in"
    )
    parser.add_argument("--detach", action="store_true", help="leave the work to a server or to zen jobs work")
    parser.add_argument("--failed", action="store_true", help="only the failed results")
    parser.add_argument("-o", "--output", metavar="FILE", help="where the results are written; without it, printed")
    parser.add_argument("--config", metavar="DIR", help="a settings folder above all others")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do one of them; 1 when a batch that was waited for has not succeeded whole."""
    if arguments.action != "list" and not arguments.what:
        what = "file" if arguments.action == "submit" else "batch"
        raise UnknownJob(f"Which {what} to {arguments.action}?", "zen batch submit FILE; zen batch list shows batches.")
    return anyio.run(_run, arguments)


async def _run(arguments: argparse.Namespace) -> int:
    async with open_app(arguments.config) as app:
        return await ACTIONS[arguments.action](app, arguments)


async def _submit(app: App, arguments: argparse.Namespace) -> int:
    lines = read_file(await anyio.to_thread.run_sync(_content, arguments.what))
    model = app.catalog.require(arguments.model or app.catalog.default_model().name)
    seconds = deadline(arguments.deadline) if arguments.deadline else None
    plan = app.batches.plan(lines.prompts, model=model, deadline_seconds=seconds)
    if lines.broken:
        sys.stderr.write(f"{len(lines.broken):,} broken: {lines.broken_in_words()}\n")
    sys.stderr.write(f"{plan.in_words()}\n")
    if not arguments.yes and not await _confirmed(lines):
        return 1
    name = "" if arguments.what == "-" else Path(arguments.what).name
    made = await app.batches.submit(
        lines.prompts, model=model, caller=Caller(client_name="zen-cli"), title=name, deadline_seconds=seconds
    )
    return await _followed(app, arguments, made.id)


async def _confirmed(lines: Lines) -> bool:
    """Whether the user wants it; where nobody can be asked, only what is whole is handed in.

    Raises:
        InvalidArguments: there are broken lines, and nobody to ask.
    """
    if not sys.stdin.isatty():
        if lines.broken:
            raise broken(lines)
        return True
    question = f"Ask the other {len(lines.prompts):,}? [y/N] " if lines.broken else "Go on? [y/N] "
    sys.stderr.write(question)
    sys.stderr.flush()
    answer = await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
    return answer.strip().lower() in {"y", "yes"}


async def _status(app: App, arguments: argparse.Namespace) -> int:
    return _tell(await app.batches.status(arguments.what, user_id=_USER), arguments)


async def _results(app: App, arguments: argparse.Namespace) -> int:
    batch = await app.batches.find(arguments.what, user_id=_USER)
    entries = await app.batches.results(batch, state="failed" if arguments.failed else None)
    text = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
    if arguments.output is None:
        sys.stdout.write(text)
        return 0
    try:
        await anyio.Path(arguments.output).write_text(text, encoding="utf-8")
    except OSError as exc:
        problem = f"'{arguments.output}' cannot be written ({exc.strerror})."
        raise InvalidArguments(problem, "Name a file in a folder that can be written.") from exc
    sys.stdout.write(f"{len(entries):,} results of {batch.id} are written to {arguments.output}\n")
    return 0


async def _retry(app: App, arguments: argparse.Namespace) -> int:
    status = await app.batches.retry(arguments.what, user_id=_USER)
    return await _followed(app, arguments, status.batch.id)


async def _cancel(app: App, arguments: argparse.Namespace) -> int:
    return _tell(await app.batches.cancel(arguments.what, user_id=_USER), arguments)


async def _wait(app: App, arguments: argparse.Namespace) -> int:
    return await _followed(app, arguments, arguments.what)


async def _list(app: App, arguments: argparse.Namespace) -> int:
    found = await app.batches.list(user_id=_USER)
    if arguments.json:
        entries: list[JSONValue] = [
            {"id": batch.id, "model": batch.model, "title": batch.title, "counts": summary(counts)}
            for batch, counts in found
        ]
        sys.stdout.write(json.dumps(entries) + "\n")
        return 0
    rows = [
        (
            batch.id,
            f"{datetime.fromtimestamp(batch.created_at, tz=UTC):%Y-%m-%d %H:%M}",
            batch.model,
            batch.title,
            progress_words(counts),
        )
        for batch, counts in found
    ]
    text = (
        aligned([("BATCH", "CREATED", "MODEL", "FILE", "DONE"), *rows])
        if rows
        else "No batches: zen batch submit FILE."
    )
    sys.stdout.write(text + "\n")
    return 0


ACTIONS: Mapping[str, Callable[[App, argparse.Namespace], Awaitable[int]]] = {
    "submit": _submit,
    "status": _status,
    "wait": _wait,
    "results": _results,
    "retry": _retry,
    "cancel": _cancel,
    "list": _list,
}


async def _followed(app: App, arguments: argparse.Namespace, identity: str) -> int:
    """Work on the batch until it has ended, with a bar; with --detach, only say how to look after it."""
    if arguments.detach:
        return _tell(await app.batches.status(identity, user_id=_USER), arguments)
    async with doing_jobs(app):
        return _tell(await _end(app, identity), arguments)
    sys.stderr.write(f"\n{identity} is not done: zen batch wait {identity} goes on, or a server does.\n")
    return 130


async def _end(app: App, identity: str) -> BatchStatus:
    """The batch when its job has ended."""
    while True:
        status = await app.batches.status(identity, user_id=_USER)
        bar(status.counts.done + status.counts.failed, status.counts.total, progress_words(status.counts))
        if status.job.state in ENDED:
            bar(None, None, "")
            return status
        await anyio.sleep(_LOOK_SECONDS)


def _tell(status: BatchStatus, arguments: argparse.Namespace) -> int:
    if arguments.json:
        told = {
            "id": status.batch.id,
            "state": status.job.state,
            "counts": summary(status.counts),
            "job": asdict(status.job),
        }
        sys.stdout.write(json.dumps(told) + "\n")
    else:
        sys.stdout.write(status.in_words() + "\n")
    whole = status.job.state == "done" and not status.counts.failed
    return 0 if whole or arguments.action not in {"submit", "wait", "retry"} or arguments.detach else 1


def _content(name: str) -> bytes:
    """The file, or standard input.

    Raises:
        FileRefused: it cannot be read.
    """
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).expanduser().read_bytes()
    except OSError as exc:
        raise FileRefused(f"'{name}' cannot be read ({exc.strerror}).", "Check the path.") from exc
