"""The upstream of the benchmarks, a process of its own, and a server folder that points to it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.support.server import ServerFolder, openai_model

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def upstream() -> Generator[str]:
    """The address of a test upstream that answers at once, or after 200 ms for the model `slow`."""
    command = [sys.executable, "-m", "tests.upstream", "--port", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def bench_folder(folder: Path, url: str) -> ServerFolder:
    """A server with models at the upstream: `bench`, `slow`, and `long`, which answers in 200 words."""
    models = {
        name: openai_model(url, input_cost_per_token=1e-6, output_cost_per_token=2e-6)
        for name in ("bench", "slow", "long")
    }
    settings = {"default_model": "bench", "warm_up": True, "log": {"level": "WARNING"}}
    return ServerFolder(path=folder, models=models, settings=settings)
