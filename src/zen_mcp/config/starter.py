"""Starter files for a settings folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from zen_mcp.config.folders import DOTENV_NAME, FILE_NAMES
from zen_mcp.errors import ConfigError

_STARTERS = Path(__file__).parent / "starters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What was written, and what was there and left alone."""

    written: tuple[Path, ...]
    left_alone: tuple[Path, ...]


def write_starters(folder: Path) -> Started:
    """Write commented settings files into a folder, made if need be; nothing is overwritten.

    The `.env` file is readable to the user alone and left out of git.

    Raises:
        ConfigError: the folder cannot be made or written.
    """
    contents = {name: (_STARTERS / name).read_text(encoding="utf-8") for name in FILE_NAMES}
    contents[DOTENV_NAME] = (_STARTERS / "env").read_text(encoding="utf-8")
    contents[".gitignore"] = f"{DOTENV_NAME}\n"
    written, left_alone = list[Path](), list[Path]()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in contents.items():
            path = folder / name
            (written if _write_new(path, text, private=name == DOTENV_NAME) else left_alone).append(path)
    except OSError as exc:
        reason = exc.strerror or type(exc).__name__
        raise ConfigError(f"The folder '{folder}' cannot be written: {reason}.", "Choose another with --dir.") from exc
    return Started(written=tuple(written), left_alone=tuple(left_alone))


def _write_new(path: Path, text: str, *, private: bool) -> bool:
    """Write a file that is not there yet; False when it is."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    return True
