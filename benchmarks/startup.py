"""How soon the server is there: spawn to `tools/list`, and to the first answer of a model."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from tests.support.server import ServerFolder

from benchmarks.figures import Figure
from benchmarks.process import Measured
from benchmarks.upstream import bench_folder, upstream

CHILDREN = Path(__file__).resolve().parent / "children"
RUNS = 9


def startup(folder: Path) -> list[Figure]:
    """Four servers, started in turns."""
    with upstream() as url:
        zen = bench_folder(folder, url)
        zen.write()
        commands: dict[str, list[str]] = {
            "bare": [sys.executable, str(CHILDREN / "bare_loop.py")],
            "empty": [sys.executable, str(CHILDREN / "empty_server.py")],
            "zen": zen.command("serve"),
            "plain": zen.command("serve", "--no-prelude"),
        }
        record_snapshot(zen, commands["zen"])
        cpu: dict[str, list[float]] = {name: [] for name in commands}
        memory: list[float] = []
        for _ in range(RUNS):
            for name, command in commands.items():
                with Measured(command, environment=zen.environ(), folder=zen.work) as server:
                    server.shake_hands()
                    cpu[name].append(server.cpu_milliseconds)
                    if name == "zen":
                        memory.append(server.resident_megabytes)
        bare, empty, with_prelude, plain = (median(cpu[name]) for name in ("bare", "empty", "zen", "plain"))
        first, imports = first_call(zen, commands["zen"])
    sdk = "empty SDK server"
    return [
        Figure(
            what="spawn → tools/list, CPU", value=with_prelude, unit="ms",
            against=bare, against_what="bare JSON loop", most=3,
        ),
        Figure(what="", value=with_prelude, unit="ms", against=empty, against_what=sdk, most=0.1),
        Figure(what="the same without prelude", value=plain, unit="ms", against=empty, against_what=sdk, most=1.15),
        Figure(
            what="first tools/call answered, wall", value=first, unit="ms",
            against=imports, against_what="SDK + litellm import", most=1.2,
        ),
        Figure(what="resident memory after tools/list", value=median(memory), unit="MB", most=80),
    ]  # fmt: skip


def record_snapshot(zen: ServerFolder, command: Sequence[str]) -> None:
    """Run once, until the snapshot is written."""
    with Measured(command, environment=zen.environ(), folder=zen.work) as server:
        server.shake_hands()
        deadline = time.monotonic() + 60
        while not list((zen.path / "cache").rglob("snapshots/*.json")):
            if time.monotonic() > deadline:
                raise RuntimeError("no snapshot was written")
            server.request("ping")


def first_call(zen: ServerFolder, command: Sequence[str]) -> tuple[float, float]:
    """Milliseconds from spawn to a first chat's answer, and those of the imports alone; in turns."""
    chats: list[float] = []
    imports: list[float] = []
    for _ in range(5):
        with Measured(command, environment=zen.environ(), folder=zen.work) as server:
            server.shake_hands()
            answer = server.request("tools/call", {"name": "chat", "arguments": {"prompt": "hello"}})
            chats.append((time.perf_counter() - server.started) * 1000)
            if answer["result"]["isError"]:
                raise RuntimeError(str(answer))
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, str(CHILDREN / "imports.py")], env=zen.environ(), check=True, capture_output=True
        )
        imports.append((time.perf_counter() - started) * 1000)
    return median(chats), median(imports)
