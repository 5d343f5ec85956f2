"""Resolve the requirements anew, with hashes and without registry addresses. `make lock`, then `make setup`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = (
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--no-annotate",
    "--no-header",
    "--no-emit-index-url",
    "--quiet",
)
LOCKS: dict[str, tuple[str, ...]] = {
    "base.txt": (),
    "local.txt": ("--extra=local",),
    "dev.txt": ("--all-extras",),
}
"""Each lock file and the extras it covers; a later one keeps the versions of those before it."""


def main() -> int:
    """Write every lock file; the exit code. Arguments go to `uv pip compile`, for example `--upgrade`."""
    constraints: list[str] = []
    for name, extras in LOCKS.items():
        target = ROOT / "requirements" / name
        command = [
            str(Path(sys.executable).with_name("uv")), "pip", "compile", "pyproject.toml", *OPTIONS, *extras,
            *constraints, *sys.argv[1:], "--output-file", str(target),
        ]  # fmt: skip
        code = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL).returncode
        if code:
            return code
        constraints = ["--constraint", str(target)]
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
