"""What it costs to watch over calls."""

from __future__ import annotations

from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.ledger import ledger
from benchmarks.limits import limits


def governance(folder: Path) -> list[Figure]:
    """All of it."""
    return [*ledger(folder), *limits(folder / "limits")]
