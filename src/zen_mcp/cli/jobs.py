"""`zen jobs`: what runs in the background; a worker of its own."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import anyio

from zen_mcp.app import App
from zen_mcp.cli.session import doing_jobs, open_app
from zen_mcp.cli.table import aligned
from zen_mcp.errors import UnknownJob
from zen_mcp.jobs.job import Job
from zen_mcp.types import Caller

_ACTIONS = ("list", "show", "wait", "cancel", "work")
_FOREVER_SECONDS = 86_400.0 * 365


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen jobs` takes."""
    parser.add_argument("action", nargs="?", choices=_ACTIONS, default="list", help="work: do jobs until interrupted")
    parser.add_argument("id", nargs="?", help="the job to show, wait for or cancel")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="wait no longer")
    parser.add_argument("--config", metavar="DIR", help="a settings folder above all others")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do one of them; 1 when a job that was waited for has not succeeded."""
    if arguments.action in {"show", "wait", "cancel"} and not arguments.id:
        raise UnknownJob(f"Which job to {arguments.action}?", "zen jobs lists them.")
    return anyio.run(_run, arguments)


async def _run(arguments: argparse.Namespace) -> int:
    user = Caller().user_id
    async with open_app(arguments.config) as app:
        jobs = app.ground.worker.store
        if arguments.action == "work":
            return await _work(app)
        if arguments.action == "list":
            found = await jobs.list(user_id=user)
            sys.stdout.write((json.dumps([asdict(one) for one in found]) if arguments.json else _table(found)) + "\n")
            return 0
        if arguments.action == "cancel":
            job = await jobs.cancel(arguments.id, user_id=user)
        else:
            seconds = (arguments.timeout or _FOREVER_SECONDS) if arguments.action == "wait" else 0.0
            job = await jobs.wait(arguments.id, user_id=user, seconds=seconds)
    text = json.dumps(asdict(job), ensure_ascii=False, indent=2) if arguments.json else _text(job)
    sys.stdout.write(text + "\n")
    return 0 if job.state == "done" or arguments.action != "wait" else 1


async def _work(app: App) -> int:
    """Do everybody's jobs until SIGINT or SIGTERM; what runs then is left to other workers."""
    sys.stderr.write(f"working on jobs in {app.ground.worker.store.place} (Ctrl-C ends)\n")
    async with doing_jobs(app):
        await anyio.sleep_forever()
    return 0


def _table(jobs: Sequence[Job]) -> str:
    if not jobs:
        return "No jobs: a tool called with background=true makes one."
    rows = [(job.id, job.state, _time(job.created_at), job.title, job.progress) for job in jobs]
    return aligned([("JOB", "STATE", "CREATED", "WHAT", "PROGRESS"), *rows])


def _text(job: Job) -> str:
    lines = [f"{job.id}  {job.state}  {job.title}"]
    if job.error:
        lines.append(f"{job.error.get('kind')}: {job.error.get('problem')} {job.error.get('fix', '')}".rstrip())
    if job.result:
        text = job.result.get("text")
        lines.append(text if isinstance(text, str) else json.dumps(job.result, ensure_ascii=False, indent=2))
    return "\n".join(lines)


def _time(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, tz=UTC):%Y-%m-%d %H:%M}"
