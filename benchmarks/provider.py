"""What a model request costs below the tools: the gateway beside LiteLLM's router, the OpenAI SDK, a raw client."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.calls import behave
from benchmarks.figures import Figure
from benchmarks.startup import CHILDREN
from benchmarks.upstream import ROOT, bench_folder, upstream

WATCHED_CALLS = 10_000


def provider(folder: Path) -> list[Figure]:
    """One process in which all of them take turns."""
    with upstream() as url:
        zen = bench_folder(folder, url)
        zen.write()
        behave(url, "long", {"text": " ".join(map(str, range(200)))})
        command = [sys.executable, str(CHILDREN / "provider.py"), url, str(folder), str(WATCHED_CALLS)]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    cpu, first, chunk = found["cpu"], found["first"], found["chunk"]
    rows = [
        Figure(what="gateway, CPU per call", value=cpu["ours"], unit="ms", against=cpu["router"], against_what=ROUTER),
        Figure(what="", value=cpu["ours"], unit="ms", against=cpu["raw"], against_what="raw HTTP client"),
        Figure(what="gateway over litellm.Router alone", value=cpu["ours"] - cpu["router"], unit="ms", most=1),
        Figure(
            what="direct provider, CPU per call",
            value=cpu["direct"],
            unit="ms",
            against=cpu["ours"],
            against_what="ours",
        ),
        Figure(what="cache hit, CPU", value=cpu["hit"], unit="ms", most=1),
    ]
    for at_once, wall in found["concurrent"].items():
        what = f"{at_once} at once, wall per call"
        rows.append(Figure(what=what, value=wall["ours"], unit="ms", against=wall["router"], against_what=ROUTER))
    return [
        *rows,
        Figure(what="first piece of a stream later by", value=first["ours"] - first["router"], unit="ms", most=2),
        Figure(
            what="stream, CPU per piece", value=chunk["ours"], unit="ms", against=chunk["router"], against_what=ROUTER
        ),
        Figure(what="", value=chunk["ours"], unit="ms", against=chunk["direct"], against_what="direct provider"),
        Figure(what=f"memory gained over {WATCHED_CALLS:,} calls", value=found["memory_mb"], unit="MB", most=5),
        Figure(what="sockets gained", value=found["sockets"], unit="", most=0),
    ]


ROUTER = "litellm.Router alone"
