"""Programs of Debian's packages, unpacked into a cache and never installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from filelock import FileLock

_FETCH_SECONDS = 300


def cache_of(name: str) -> Path:
    """Where what is unpacked under a name lies."""
    return Path(sys.prefix) / ".cache" / name


def programs_of(name: str, *, packages: Sequence[str], programs: Mapping[str, str]) -> Mapping[str, Path]:
    """The installed programs, else those of Debian's packages.

    Args:
        name: of the cache's folder.
        packages: what to fetch.
        programs: each with the folder of its package where it lies.

    Raises:
        RuntimeError: there are none, and they cannot be fetched.
    """
    installed = {program: Path(path) for program in programs if (path := shutil.which(program))}
    if len(installed) == len(programs):
        return installed
    cache = cache_of(name)
    cache.mkdir(parents=True, exist_ok=True)
    unpacked = {program: cache / folder / program for program, folder in programs.items()}
    with FileLock(cache / "lock", timeout=_FETCH_SECONDS):
        if not all(path.exists() for path in unpacked.values()):
            _fetch(cache, packages)
    return unpacked


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _fetch(cache: Path, packages: Sequence[str]) -> None:
    what = " and ".join(packages)
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise RuntimeError(f"{what}: not installed, and this is no Debian to fetch them from.")
    done = _run(["apt-get", "download", *packages], cache)
    if done.returncode and os.geteuid() == 0:
        _run(["apt-get", "update"], cache)
        done = _run(["apt-get", "download", *packages], cache)
    if done.returncode:
        raise RuntimeError(f"{what}: cannot be fetched from Debian:\n{done.stdout}")
    for package in cache.glob("*.deb"):
        done = _run(["dpkg-deb", "-x", str(package), "."], cache)
        package.unlink()
        if done.returncode:
            raise RuntimeError(f"'{package.name}' cannot be unpacked:\n{done.stdout}")


def _run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_FETCH_SECONDS,
        check=False,
    )
