"""A measured figure, beside what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the table.

    `against` is the other program's figure in the same unit. `most`: the bar, for the ratio when `against` is given,
    else for the value; None where there is none.
    """

    what: str
    value: float
    unit: str
    against: float | None = None
    against_what: str = ""
    most: float | None = None

    @property
    def ratio(self) -> float | None:
        """Value over `against`."""
        return self.value / self.against if self.against else None

    @property
    def cleared(self) -> bool | None:
        """Whether the bar was cleared; None without a bar."""
        if self.most is None:
            return None
        measured = self.ratio if self.ratio is not None else self.value
        return measured <= self.most

    def cells(self) -> tuple[str, ...]:
        """The row's texts."""
        compared = f"{self.against_what} {self.against:.1f} {self.unit}" if self.against else self.against_what
        ratio = f"{self.ratio:.3f}" if self.ratio is not None else ""
        bar = "" if self.most is None else f"≤ {self.most:g}{'' if self.against else ' ' + self.unit}"
        verdict = {None: "", True: "[green]ok[/]", False: "[red]over[/]"}[self.cleared]
        return self.what, f"{self.value:.1f} {self.unit}", compared, ratio, bar, verdict
