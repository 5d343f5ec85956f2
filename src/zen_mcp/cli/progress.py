"""A bar on the terminal."""

from __future__ import annotations

import shutil
import sys

_WIDTH = 30


def bar(done: int | None, total: int | None, words: str) -> None:
    """Draw `█████░░░░░ words` over the last one, on a terminal only; None clears it."""
    if not sys.stderr.isatty():
        return
    columns = shutil.get_terminal_size().columns - 1
    if done is None or not total:
        line = ""
    else:
        filled = _WIDTH * done // total
        line = f"{'█' * filled}{'░' * (_WIDTH - filled)} {words}"
    sys.stderr.write(f"\r\033[K{line[:columns]}")
    sys.stderr.flush()
