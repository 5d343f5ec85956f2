"""A team's server, for real: three replicas, Postgres, Valkey and a proxy; one replica is killed under load.

Run by `make team-demo`. The vendor is a server of the tests on this machine, so it costs nothing and answers after a
fixed time; all else is what a team runs: `zen serve --http`, a real Postgres, a real Valkey, MCP clients over HTTP that
call again when a call gets no answer. Ends with 1 when anything that was acknowledged is not in the database.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import psycopg
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.support.postgres import PostgresServer
from tests.support.redis import RedisServer
from tests.support.server import openai_model
from tests.support.team import Team, TeamClient, team_of
from tests.upstream import Behaviour, Upstream

CLIENTS, TURNS = 8, 10
VENDOR_SECONDS = 0.3
KILLED = 1
VERSIONS_PER_HOUR, VERSIONS_TRIED = 5, 12
LIMITS = {"rate_limits": {"per_user_tool": {"version": {"requests_per_hour": VERSIONS_PER_HOUR}}}}
SHARED = "What do all of you want to know at the same time?"


@dataclass(slots=True, kw_only=True)
class Talk:
    """One client's conversation: what it was answered, and by which replicas."""

    name: str
    half_way: anyio.Event
    thread: str = ""
    seconds: list[float] = field(default_factory=list[float])
    acknowledged: list[str] = field(default_factory=list[str])
    wrong: list[str] = field(default_factory=list[str])
    replicas: list[int] = field(default_factory=list[int])
    errors: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the demonstration saw besides the talks."""

    seconds: float
    shared_answers: int
    shared_requests: int
    admitted: int
    stored: Mapping[str, list[str]]


def main() -> int:
    """Start all of it, load it, kill one, count; the exit code."""
    console = Console(width=110 if not sys.stdout.isatty() else None, highlight=False)
    with tempfile.TemporaryDirectory(prefix="zen-team-") as name:
        folder = Path(name)
        with Upstream() as vendor, PostgresServer() as postgres, RedisServer(folder) as redis:
            vendor.behave("colleague", Behaviour(text="Heard: {echo}", delay_seconds=VENDOR_SECONDS))
            vendor.behave("shared", Behaviour(text="An answer for all.", delay_seconds=1.0))
            url = postgres.database()
            talks, found = anyio.run(demonstrate, console, folder, vendor, url, redis.url)
    return report(console, talks, found)


async def demonstrate(
    console: Console, folder: Path, vendor: Upstream, database_url: str, redis_url: str
) -> tuple[list[Talk], Found]:
    """The whole run."""
    models = {name: openai_model(vendor.url) for name in ("colleague", "shared")}
    settings = {"default_model": "colleague", "warm_up": True, "database_url": database_url, "redis_url": redis_url}
    half_way = anyio.Event()
    talks = [Talk(name=f"client-{number}", half_way=half_way) for number in range(CLIENTS)]
    started = time.perf_counter()
    async with team_of(folder, models=models, settings=settings, limits=LIMITS) as team:
        await team.ready()
        console.print(
            f"[dim]3 replicas on one Postgres and one Valkey, ready after {time.perf_counter() - started:.1f} s. "
            f"The vendor is a server of the tests that answers after {VENDOR_SECONDS:g} s.[/]"
        )
        begun = time.perf_counter()
        async with anyio.create_task_group() as group:
            for talk in talks:
                group.start_soon(converse, team, talk)
            group.start_soon(kill_in_the_middle, console, team, half_way)
        seconds = time.perf_counter() - begun
        await team.start(KILLED)
        shared = await ask_together(team)
        admitted = await use_up_a_limit(team)
    return talks, Found(
        seconds=seconds,
        shared_answers=shared,
        shared_requests=len(vendor.asked("shared")),
        admitted=admitted,
        stored=stored_turns(database_url),
    )


async def converse(team: Team, talk: Talk) -> None:
    """One client's thread, turn by turn; each turn goes to the replica whose turn it is."""
    async with team.member() as client:
        for number in range(1, TURNS + 1):
            prompt = f"{talk.name}, turn {number}"
            thread = {"continuation_id": talk.thread} if talk.thread else {}
            begun = time.perf_counter()
            answer = await called(client, "chat", {"prompt": prompt, **thread})
            talk.seconds.append(time.perf_counter() - begun)
            if number == TURNS // 2:
                talk.half_way.set()
            talk.errors = client.errors
            if answer.get("text") != f"Heard: {prompt}":
                talk.wrong.append(f"{prompt}: {answer}")
                continue
            talk.thread = answer["continuation_id"]
            talk.acknowledged.append(prompt)
            talk.replicas.append(client.replicas[-1])


async def kill_in_the_middle(console: Console, team: Team, half_way: anyio.Event) -> None:
    """`kill -9` for one replica once a client has half of its answers."""
    await half_way.wait()
    await team.kill(KILLED)
    console.print(f"[dim]Replica {KILLED} was killed (-9) with calls under way.[/]")


async def ask_together(team: Team) -> int:
    """Three clients ask the same at once, each on another replica; how many were answered."""
    answers: list[str] = []

    async def ask() -> None:
        async with team.member() as client:
            answers.append(
                (await called(client, "chat", {"prompt": SHARED, "model": "shared", "cache": "use"}))["text"]
            )

    async with anyio.create_task_group() as group:
        for _ in team.served:
            group.start_soon(ask)
    return len(answers)


async def use_up_a_limit(team: Team) -> int:
    """How many calls of a limited tool were let through, wherever they landed."""
    async with team.member() as client:
        return sum([not (await client.call("version", {})).is_error for _ in range(VERSIONS_TRIED)])


async def called(client: TeamClient, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The structured content of a call's result."""
    return (await client.call(tool, arguments)).structured_content or {}


def stored_turns(database_url: str) -> dict[str, list[str]]:
    """The texts of every thread in the database."""
    found: dict[str, list[str]] = {}
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT thread_id, text FROM turns ORDER BY thread_id, number").fetchall()
    for thread, text in rows:
        found.setdefault(thread, []).append(text)
    return found


def report(console: Console, talks: list[Talk], found: Found) -> int:
    """What came of it, as a table; 1 when anything was lost."""
    acknowledged = [(talk.thread, text) for talk in talks for text in talk.acknowledged]
    lost = [text for thread, text in acknowledged if not {text, f"Heard: {text}"} <= set(found.stored.get(thread, []))]
    wrong = [one for talk in talks for one in talk.wrong]
    errors = [one for talk in talks for one in talk.errors]
    moved = sum(len(set(talk.replicas)) > 1 for talk in talks)
    times = sorted(second for talk in talks for second in talk.seconds)
    asked_twice = sum(len(texts) for texts in found.stored.values()) // 2 - len(acknowledged) - found.shared_answers
    checks = [
        ("calls", f"{len(times)} by {CLIENTS} clients in {found.seconds:.1f} s", True),
        ("answered", f"{len(acknowledged)} of {CLIENTS * TURNS}", len(acknowledged) == CLIENTS * TURNS and not wrong),
        ("errors seen by clients", f"{len(errors)}, each answered when it was called again", True),
        # Where a call lands is up to the proxy: by chance a thread may meet the same replica every time.
        ("threads that went on on another replica", f"{moved} of {CLIENTS}", moved > CLIENTS // 2),
        ("turns acknowledged and found", f"{len(acknowledged) - len(lost)} of {len(acknowledged)}", not lost),
        ("stored, but the client had to ask again", str(asked_twice), asked_twice >= 0),
        (
            "the same question on three replicas at once",
            f"{found.shared_answers} answers, {found.shared_requests} request to the vendor",
            (found.shared_answers, found.shared_requests) == (3, 1),
        ),
        (
            f"a limit of {VERSIONS_PER_HOUR} calls per hour",
            f"{found.admitted} of {VERSIONS_TRIED} let through",
            found.admitted == VERSIONS_PER_HOUR,
        ),
        ("p50, p95", f"{statistics.median(times):.2f} s, {times[int(len(times) * 0.95)]:.2f} s", True),
    ]
    table = Table(box=None, show_header=False)
    for what, figure, fine in checks:
        table.add_row(what, figure, "[green]ok[/]" if fine else "[red]wrong[/]")
    console.print(table)
    for one in (*wrong, *(f"lost: {text}" for text in lost)):
        console.print(f"[red]{one}[/]")
    ok = all(fine for *_, fine in checks)
    console.print("[bold]Nothing was lost.[/]" if ok else "[bold red]Something went wrong.[/]")
    return 0 if ok else 1


if __name__ == "__main__":
    raise SystemExit(main())
