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
_TEAM = ("--extra=postgres", "--extra=redis", "--extra=jobs", "--extra=otel", "--extra=keyring")
LOCKS: dict[str, tuple[str, ...]] = {
    "base.txt": ("pyproject.toml",),
    "local.txt": ("pyproject.toml", "--extra=local"),
    "team.txt": ("pyproject.toml", *_TEAM),
    "dev.txt": ("pyproject.toml", *_TEAM, "--extra=local", "--extra=code", "--extra=semantic", "--extra=dev"),
    "deploy.txt": ("--group=deploy",),
    "build.txt": ("--group=build",),
}
"""Each lock file and what it covers; a later one keeps the versions of those before it."""


def main() -> int:
    """Write every lock file; the exit code. Arguments go to `uv pip compile`, for example `--upgrade`."""
    constraints: list[str] = []
    for name, covered in LOCKS.items():
        target = ROOT / "requirements" / name
        command = [
            str(Path(sys.executable).with_name("uv")), "pip", "compile", *OPTIONS, *covered,
            *constraints, *sys.argv[1:], "--output-file", str(target),
        ]  # fmt: skip
        code = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL).returncode
        if code:
            return code
        constraints += ["--constraint", str(target)]
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
