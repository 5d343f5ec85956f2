"""Counters of limits: one suite for memory, SQLite, Postgres and Redis, beside a reference that counts by hand."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from tests.support.postgres import PostgresServer
from tests.support.redis import RedisServer

from zen_mcp.storage.counters import Correction, Counter, CounterStore, Draw, wait_seconds
from zen_mcp.storage.memory_counters import MemoryCounters
from zen_mcp.storage.postgres import PostgresDatabase
from zen_mcp.storage.redis import Redis
from zen_mcp.storage.redis_counters import RedisCounters
from zen_mcp.storage.sql_counters import SQLCounters
from zen_mcp.storage.sqlite import SQLiteDatabase

pytestmark = pytest.mark.anyio


@dataclass(slots=True)
class Clock:
    """A clock that stands where it is put."""

    now: float = 6_000_000.0

    def __call__(self) -> float:
        return self.now


Made = tuple[CounterStore, Clock]


@pytest.fixture(params=["memory", "sqlite", "postgres", "redis"])
async def made(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Made]:
    """A store and its clock, which begins with a minute."""
    clock = Clock()
    if request.param == "memory":
        yield MemoryCounters(clock=clock), clock
    elif request.param == "redis":
        with RedisServer(tmp_path) as server:
            redis = Redis(server.url, tell=print)
            yield RedisCounters(redis, clock=clock), clock
            await redis.aclose()
    else:
        database = (
            PostgresDatabase(request.getfixturevalue("postgres").database())
            if request.param == "postgres"
            else SQLiteDatabase(tmp_path / "zen.db")
        )
        yield SQLCounters(database, clock=clock), clock
        await database.aclose()


def minute(most: float, *, amount: float = 1, key: str = "m") -> Draw:
    return Draw(key=key, amount=amount, most=most, seconds=60)


async def granted(store: CounterStore, *draws: Draw) -> bool:
    return (await store.draw(draws)).granted


async def used(store: CounterStore, draw: Draw) -> float:
    return (await store.draw([Draw(key=draw.key, amount=0, seconds=draw.seconds, period=draw.period)])).levels[0].used


async def test_a_limit_lets_through_what_it_says_and_tells_when_there_is_room(made: Made) -> None:
    store, clock = made
    draw = minute(3)
    assert [await granted(store, draw) for _ in range(4)] == [True, True, True, False]
    assert await used(store, draw) == 3
    clock.now += 59
    assert not await granted(store, draw)
    drawn = await store.draw([draw])
    wait = wait_seconds(drawn.levels[0], draw, clock.now)
    # A third of the three must be over: twenty seconds into the next minute.
    assert wait == pytest.approx(21)
    clock.now += 20.9
    assert not await granted(store, draw)
    clock.now += 0.2
    assert await granted(store, draw)
    assert not await granted(store, draw)
    clock.now += 3600
    assert [await granted(store, draw) for _ in range(4)] == [True, True, True, False]


async def test_a_refusal_by_the_last_takes_nothing_from_the_first(made: Made) -> None:
    store, _ = made
    wide = [minute(100, key=f"wide{number}") for number in range(3)]
    narrow = minute(2, key="narrow")
    results = [await granted(store, *wide, narrow) for _ in range(5)]
    assert results == [True, True, False, False, False]
    assert [await used(store, draw) for draw in (*wide, narrow)] == [2, 2, 2, 2]
    drawn = await store.draw([*wide, narrow])
    assert [level.used for level in drawn.levels] == [2, 2, 2, 2], "a refusal tells every level"


async def test_what_was_reserved_is_settled_in_its_own_period(made: Made) -> None:
    store, clock = made
    tokens = minute(1000, amount=600, key="tokens")
    drawn = await store.draw([tokens])
    period = drawn.levels[0].counter.period
    assert not await granted(store, tokens)
    await store.settle([Correction(key="tokens", amount=-500, period=period)])
    assert await used(store, tokens) == 100
    assert await granted(store, tokens)
    await store.settle([Correction(key="tokens", amount=900, period=period)])
    assert await used(store, tokens) == 1600, "an overrun is counted, not forgotten"
    clock.now += 90
    assert await used(store, tokens) == pytest.approx(800), "half of the minute before still counts"
    await store.settle([Correction(key="tokens", amount=-1000, period=period)])
    assert await used(store, tokens) == pytest.approx(300)
    await store.settle([Correction(key="tokens", amount=-9999, period=period)])
    assert await used(store, tokens) == 0
    clock.now += 3600
    await store.draw([tokens])
    await store.settle([Correction(key="tokens", amount=-300, period=period)])
    assert await used(store, tokens) == 600, "a period long over is let be"
    await store.settle([Correction(key="never drawn", amount=5, period=period)])
    assert "never drawn" not in await store.all()


async def test_a_draw_of_nothing_only_looks(made: Made) -> None:
    store, _ = made
    assert await granted(store, minute(2, amount=2))
    assert not await granted(store, minute(2))
    assert await granted(store, minute(2, amount=0))
    assert await granted(store, minute(math.inf, amount=5)), "what only counts is never refused"
    assert await used(store, minute(2)) == 7


async def test_a_calendar_period_forgets_the_one_before_and_total_never_ends(made: Made) -> None:
    store, clock = made

    def day(number: int) -> Draw:
        return Draw(key="day", amount=0.6, most=1, seconds=86_400, period=number)

    total = Draw(key="total", amount=0.6, most=1.25, seconds=math.inf, period=0)
    assert await granted(store, day(1), total)
    assert not await granted(store, day(1), total)
    clock.now += 86_400
    assert await granted(store, day(2), total)
    clock.now += 864_000
    assert not await granted(store, day(12), total)
    assert await used(store, total) == pytest.approx(1.2)
    assert await used(store, day(12)) == 0


@pytest.mark.parametrize("back_seconds", [5, 61, 600, 86_400])
async def test_a_clock_that_goes_back_neither_grants_anew_nor_closes_for_ever(made: Made, back_seconds: int) -> None:
    store, clock = made
    draw = minute(5)
    clock.now += 30
    assert [await granted(store, draw) for _ in range(6)] == [True] * 5 + [False]
    clock.now -= back_seconds
    assert not await granted(store, draw), "nothing anew"
    clock.now += 180
    assert await granted(store, draw), "open again after two periods and a bit"


async def test_a_clock_that_jumps_back_and_forth_by_little_does_not_leak(made: Made) -> None:
    store, clock = made
    draw = minute(5)
    clock.now += 59.9
    count = 0
    for step in range(40):
        clock.now += 0.3 if step % 2 else -0.3
        count += await granted(store, draw)
    assert count == 5


async def test_every_store_decides_as_counting_by_hand_does(made: Made) -> None:
    """Random draws and waits, beside a list of every draw that was ever granted."""
    store, clock = made
    chance = random.Random(7)
    log: list[tuple[str, int, float]] = []
    limits = [("a", 60.0, 7.0), ("b", 60.0, 40.0), ("c", 600.0, 25.0)]
    for _ in range(150):
        clock.now += chance.choice([0.0, 0.5, 7.3, 31.0, 61.0])
        amount = chance.choice([1.0, 2.0, 5.0])
        draws = [Draw(key=key, amount=amount, most=most, seconds=seconds) for key, seconds, most in limits]
        expected = all(_by_hand(log, draw, clock.now) + amount <= draw.most + 1e-9 for draw in draws)
        drawn = await store.draw(draws)
        for level, draw in zip(drawn.levels, draws, strict=True):
            assert level.used == pytest.approx(_by_hand(log, draw, clock.now))
        assert drawn.granted == expected
        if expected:
            log += [(draw.key, int(clock.now // draw.seconds), amount) for draw in draws]
    for _, seconds, most in limits[:1]:
        for period in {period for key, period, _ in log if key == "a"}:
            assert sum(amount for key, at, amount in log if key == "a" and at == period) <= most, seconds


def _by_hand(log: list[tuple[str, int, float]], draw: Draw, now: float) -> float:
    period, gone = divmod(now, draw.seconds)
    here = sum(amount for key, at, amount in log if key == draw.key and at == int(period))
    before = sum(amount for key, at, amount in log if key == draw.key and at == int(period) - 1)
    return here + before * (1 - gone / draw.seconds)


async def test_the_wait_that_is_told_is_the_wait_that_is_needed(made: Made) -> None:
    store, clock = made
    chance = random.Random(3)
    for number in range(12):
        key = f"k{number}"
        for _ in range(chance.randint(3, 9)):
            clock.now += chance.uniform(0, 40)
            await store.draw([minute(10, amount=chance.randint(1, 6), key=key)])
        wanted = minute(10, amount=chance.randint(5, 10), key=key)
        drawn = await store.draw([wanted])
        if drawn.granted:
            continue
        wait = wait_seconds(drawn.levels[0], wanted, clock.now)
        assert wait is not None
        assert 0 < wait <= 120
        clock.now += wait - 0.01
        assert not await granted(store, wanted)
        clock.now += 0.02
        assert await granted(store, wanted)
    never = minute(10, amount=11)
    assert wait_seconds((await store.draw([never])).levels[0], never, clock.now) is None


async def test_all_counters_can_be_read(made: Made) -> None:
    store, clock = made
    await store.draw([minute(5, key="one|x"), minute(5, amount=2, key="two|y")])
    period = int(clock.now // 60)
    assert dict(await store.all()) == {
        "one|x": Counter(period=period, used=1),
        "two|y": Counter(period=period, used=2),
    }


async def test_many_at_once_never_pass_the_limit(made: Made) -> None:
    store, _ = made
    results: list[bool] = []

    async def hammer() -> None:
        for _ in range(10):
            results.append(await granted(store, minute(25, key="a"), minute(1000, key="b")))  # noqa: PERF401

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(hammer)
    assert sum(results) == 25
    assert await used(store, minute(25, key="b")) == 25


HAMMER = """
import json, sys, anyio
from pathlib import Path
from zen_mcp.storage.counters import Draw
from zen_mcp.storage.redis import Redis
from zen_mcp.storage.redis_counters import RedisCounters
from zen_mcp.storage.sql_counters import SQLCounters
from zen_mcp.storage.sqlite import SQLiteDatabase

async def main(where):
    if where.startswith("redis:"):
        held = Redis(where, tell=print)
        store = RedisCounters(held)
    elif where.startswith("postgres"):
        from zen_mcp.storage.postgres import PostgresDatabase
        held = PostgresDatabase(where)
        store = SQLCounters(held)
    else:
        held = SQLiteDatabase(Path(where))
        store = SQLCounters(held)
    sys.stdout.write("ready\\n"); sys.stdout.flush()
    sys.stdin.readline()
    taken = 0
    month, other = 2_592_000, 3_600
    for _ in range(100):
        drawn = await store.draw([
            Draw(key="shared", amount=1, most=150, seconds=month, period=1),
            Draw(key="other", amount=1, most=100_000, seconds=month, period=1),
        ])
        taken += drawn.granted
    sys.stdout.write(json.dumps(taken) + "\\n")
    await held.aclose()

anyio.run(main, sys.argv[1])
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "redis"])
def test_four_processes_that_hammer_one_limit_get_exactly_what_it_says(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """Each wants 100 of 150."""
    server = RedisServer(tmp_path)
    if kind == "redis":
        server.start()
        where = server.url
    elif kind == "postgres":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        where = postgres.database()
    else:
        where = str(tmp_path / "zen.db")
    command = [sys.executable, "-c", HAMMER, where]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        taken = [int(json.loads(process.communicate("go\n", timeout=90)[0])) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
        server.stop()
    assert sum(taken) == 150
