"""Make .venv from the hash-locked requirements. Standard library only; run by `make setup`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import venv
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
                "install",
                "-q",
                "--require-hashes",
                "--compile-bytecode",
                "-r",
                "requirements/dev.txt",
            ],
        ),
        ("project", [uv, "pip", "install", "-q", "--no-deps", "--no-build-isolation", "-e", "."]),
    )
    if not (bin_folder / "python").exists():
        venv.create(VENV, with_pip=True)
    for number, (name, command) in enumerate(steps, start=1):
        sys.stderr.write(f"\rset-up {number}/{len(steps)} {name:<12}")
        sys.stderr.flush()
        started = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            sys.stderr.write(f"\n{' '.join(command)}\nfailed:\n{done.stdout}{done.stderr}\n")
            return done.returncode
        sys.stderr.write(f"\rset-up {number}/{len(steps)} {name:<12} {time.monotonic() - started:5.1f} s\n")
    (VENV / ".ready").touch()
    return 0


def _environment() -> dict[str, str]:
    environment = {**os.environ, "VIRTUAL_ENV": str(VENV), "UV_PYTHON_DOWNLOADS": "never"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


if __name__ == "__main__":
    raise SystemExit(main())
