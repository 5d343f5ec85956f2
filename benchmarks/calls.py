"""What a call costs: chat at an upstream that answers at once, beside LiteLLM's router and a raw HTTP client."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure
from benchmarks.process import Measured
from benchmarks.startup import CHILDREN
from benchmarks.upstream import bench_folder, upstream

CALLS = 200
ROUNDS = 3
BURST = 20


def calls(folder: Path) -> list[Figure]:
    """Sequential chats for CPU, then twenty at once for the wall clock."""
    with upstream() as url:
        zen = bench_folder(folder, url)
        zen.write()
        behave(url, "slow", {"text": "done", "delay_seconds": 0.2})
        chats: list[float] = []
        routers: list[float] = []
        raws: list[float] = []
        with Measured(zen.command("serve"), environment=zen.environ(), folder=zen.work) as server:
            server.shake_hands()
            for number in range(30):
                chat(server, number)
            for _ in range(ROUNDS):
                before = server.cpu_milliseconds
                for number in range(CALLS):
                    chat(server, number)
                chats.append((server.cpu_milliseconds - before) / CALLS)
                routers.append(child("router_alone.py", url))
                raws.append(child("raw_http.py", url))
            burst, ping = burst_of_chats(server)
            memory = server.resident_megabytes
    ours, router, raw = median(chats), median(routers), median(raws)
    return [
        Figure(what="chat, CPU per call", value=ours, unit="ms", against=router, against_what="litellm.Router alone"),
        Figure(what="", value=ours, unit="ms", against=raw, against_what="raw HTTP client"),
        Figure(what="chat over litellm.Router alone", value=ours - router, unit="ms", most=1.5),
        Figure(what=f"{BURST} chats of 200 ms at once, wall", value=burst, unit="ms", most=450),
        Figure(what="ping during the burst, wall", value=ping, unit="ms", most=50),
        Figure(what="resident memory after all", value=memory, unit="MB"),
    ]


def chat(server: Measured, identity: int, model: str = "bench") -> None:
    """One chat; a failure ends the benchmark."""
    arguments = {"name": "chat", "arguments": {"prompt": "hello", "model": model}}
    answer = server.request("tools/call", arguments, identity=identity)
    if answer.get("result", {}).get("isError", True):
        raise RuntimeError(str(answer))


def burst_of_chats(server: Measured) -> tuple[float, float]:
    """Milliseconds until all of a burst are answered, and the slowest of three pings meanwhile; medians of three."""
    bursts: list[float] = []
    pings: list[float] = []
    chat(server, 1, "slow")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for number in range(BURST):
            arguments = {"name": "chat", "arguments": {"prompt": "hello", "model": "slow"}}
            server.send({"id": number, "method": "tools/call", "params": arguments})
        received = 0
        asked = time.perf_counter()
        server.send({"id": 1000, "method": "ping"})
        while server.receive()["id"] != 1000:
            received += 1
        pings.append((time.perf_counter() - asked) * 1000)
        for _ in range(BURST - received):
            server.receive()
        bursts.append((time.perf_counter() - started) * 1000)
    return median(bursts), median(pings)


def child(program: str, url: str) -> float:
    """The figure that a compared program prints."""
    command = [sys.executable, str(CHILDREN / program), url, str(CALLS)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def behave(url: str, model: str, answer: dict[str, object]) -> None:
    """Tell the upstream how a model answers."""
    body = json.dumps({"model": model, "behaviours": [answer]}).encode()
    request = urllib.request.Request(url.removesuffix("/v1") + "/behaviours", data=body, method="POST")  # noqa: S310
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
