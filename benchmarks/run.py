"""Every benchmark, as a table of figures, ratios and bars to clear. `make bench`, or `python benchmarks/run.py [NAME]`.

Figures are medians of several runs that take turns, so that a busy moment hits all alike. CPU milliseconds come from
the kernel's scheduler, for all threads of a process.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.calls import calls  # noqa: E402
from benchmarks.figures import Figure  # noqa: E402
from benchmarks.governance import governance  # noqa: E402
from benchmarks.provider import provider  # noqa: E402
from benchmarks.replicas import replicas  # noqa: E402
from benchmarks.startup import startup  # noqa: E402
from benchmarks.team import team  # noqa: E402


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Some benchmarks that share their setting."""

    name: str
    run: Callable[[Path], list[Figure]]


SUITES = (
    Suite(name="startup", run=startup),
    Suite(name="calls", run=calls),
    Suite(name="provider", run=provider),
    Suite(name="governance", run=governance),
    Suite(name="team", run=team),
    Suite(name="replicas", run=replicas),
)


def main() -> int:
    """Run the suites named on the command line, or all; the exit code says whether every bar was cleared."""
    wanted = sys.argv[1:]
    console = Console(width=120 if not sys.stdout.isatty() else None)
    cleared = True
    for suite in SUITES:
        if wanted and suite.name not in wanted:
            continue
        with tempfile.TemporaryDirectory(prefix="zen-bench-") as folder:
            figures = suite.run(Path(folder))
        table = Table(title=suite.name, title_justify="left", box=None)
        for column in ("what", "figure", "compared with", "ratio", "bar", ""):
            table.add_column(column, justify="right" if column in {"figure", "ratio"} else "left")
        for figure in figures:
            table.add_row(*figure.cells())
            cleared = cleared and figure.cleared is not False
        console.print(table)
    return 0 if cleared else 1


if __name__ == "__main__":
    raise SystemExit(main())
