"""What the chains cost around a call, with the counters of limits in memory, in SQLite and on Redis."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.redis import RedisServer

from benchmarks.figures import Figure
from benchmarks.startup import CHILDREN
from benchmarks.upstream import ROOT

BARE = "without the chain"
MOST_MEMORY_MS = 0.5
MOST_REDIS_MS = 1.5


def limits(folder: Path) -> list[Figure]:
    """One process in which all variants take turns: a tool call and a model request that cost nothing themselves."""
    folder.mkdir()
    with RedisServer(folder) as redis:
        command = [sys.executable, str(CHILDREN / "limits.py"), str(folder), redis.url]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    cpu, redis_draw = found["cpu"], found["redis"]
    bare: float = cpu["bare"]
    return [
        _against(cpu, "default", "whole chain without limits, CPU per call"),
        Figure(what="what it adds", value=cpu["default"] - bare, unit="ms", most=MOST_MEMORY_MS),
        _against(cpu, "memory", "six limits, two budgets in memory"),
        Figure(what="what it adds", value=cpu["memory"] - bare, unit="ms", most=MOST_MEMORY_MS),
        _against(cpu, "database", "the same in SQLite"),
        Figure(what="what it adds", value=cpu["database"] - bare, unit="ms"),
        _against(cpu, "redis", "the same on Redis"),
        Figure(what="what it adds", value=cpu["redis"] - bare, unit="ms", most=MOST_REDIS_MS),
        Figure(what="six limits in memory, one decision", value=found["draw_microseconds"], unit="µs", most=50),
        Figure(what="six limits on Redis, one decision, CPU", value=redis_draw["cpu"], unit="ms"),
        Figure(what="six limits on Redis, one decision, wall", value=redis_draw["wall"], unit="ms"),
        Figure(what="round trips of one decision", value=redis_draw["trips"], unit="", most=1),
    ]


def _against(cpu: dict[str, float], name: str, what: str) -> Figure:
    return Figure(what=what, value=cpu[name], unit="ms", against=cpu["bare"], against_what=BARE)
