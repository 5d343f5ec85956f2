"""Make .venv from the hash-locked requirements. Standard library only; run by `make setup`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import venv
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
OLDEST = (3, 11)


def main() -> int:
    """Set up, a line per step; the exit code."""
    if sys.version_info < OLDEST:
        sys.stderr.write(f"Python {OLDEST[0]}.{OLDEST[1]} or newer is needed, this is {sys.version.split()[0]}.\n")
        return 1
    bin_folder = VENV / ("Scripts" if sys.platform == "win32" else "bin")
    python, uv = str(bin_folder / "python"), str(bin_folder / "uv")
    steps: tuple[tuple[str, list[str]], ...] = (
        (
            "installer",
            [python, "-m", "pip", "install", "-q", "--require-hashes", "-r", "requirements/uv.txt"],
        ),
        (
            "packages",
            [
                uv,
                "pip",
                "sync",
                "-q",
                "--require-hashes",
                "--compile-bytecode",
                "requirements/uv.txt",
                "requirements/dev.txt",
            ],
        ),
        ("project", [uv, "pip", "install", "-q", "--no-deps", "--no-build-isolation", "-e", "."]),
    )
    if not (bin_folder / "python").exists():
        venv.create(VENV, with_pip=True)
    for number, (name, command) in enumerate(steps, start=1):
        code = run_step(command, f"{number}/{len(steps)} {name}", done=number - 1, of=len(steps))
        if code:
            return code
    (VENV / ".ready").touch()
    return 0


def run_step(command: list[str], title: str, *, done: int, of: int) -> int:
    """Run one step under a bar; what it printed is shown only when it fails."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=ROOT, env=_environment(), stdout=output, stderr=output)
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
            if sys.stderr.isatty():
                draw(title, time.monotonic() - started, done=done, of=of)
        if process.returncode:
            output.seek(0)
            words = output.read().decode(errors="replace")
            sys.stderr.write(f"\n{' '.join(command)}\nfailed:\n{words}\n")
            return process.returncode
    draw(title, time.monotonic() - started, done=done + 1, of=of)
    sys.stderr.write("\n")
    return 0


def draw(title: str, seconds: float, *, done: int, of: int) -> None:
    """One line: a bar of the steps done, the step, its seconds."""
    bar = "━" * (done * 30 // of) + "╺" * (30 - done * 30 // of)
    start = "\r" if sys.stderr.isatty() else ""
    sys.stderr.write(f"{start}set-up {bar} {title:<15} {seconds:5.1f} s")
    sys.stderr.flush()


def _environment() -> dict[str, str]:
    environment = {**os.environ, "VIRTUAL_ENV": str(VENV), "UV_PYTHON_DOWNLOADS": "never"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


if __name__ == "__main__":
    raise SystemExit(main())
