"""What `.gitignore` says, in every folder from the repository's top down, and `.git/info/exclude`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_LARGEST_BYTES = 262_144


@dataclass(frozen=True)
class Ignored:
    """The rules that hold in one folder: its own, and those of the folders above it.

    Attributes:
        folder: a real path.
        above: the rules of its parent; None at the repository's top.
        own: files of rules that hold here.
    """

    folder: Path
    above: Ignored | None
    own: tuple[Path, ...]

    @classmethod
    def at(cls, folder: Path) -> Ignored:
        """The rules for a folder that somebody named; those that ignore the folder itself are forgotten."""
        top = next((place for place in (folder, *folder.parents) if (place / ".git").exists()), None)
        if top is None or top == folder:
            return cls(folder, None, _rules_of(folder))
        rules = cls(top, None, _rules_of(top))
        for place in [*reversed([p for p in folder.parents if p != top and p.is_relative_to(top)]), folder]:
            if rules.skips(place.name, is_folder=True):
                return cls(folder, None, (folder / ".gitignore",))
            rules = rules.below(place.name)
        return rules

    def below(self, name: str) -> Ignored:
        """The rules for a folder in this one."""
        folder = self.folder / name
        return Ignored(folder, self, _rules_of(folder) if (folder / ".git").exists() else (folder / ".gitignore",))

    def skips(self, name: str, *, is_folder: bool) -> bool:
        """Whether an entry of this folder is ignored: the nearest rule that speaks of it decides."""
        path = f"{name}/" if is_folder else name
        rules: Ignored | None = self
        while rules is not None:
            verdict = rules._spec.check_file(path).include if rules._spec is not None else None  # noqa: SLF001 - our own
            if verdict is not None:
                return verdict
            path = f"{rules.folder.name}/{path}"
            rules = rules.above
        return False

    @cached_property
    def _spec(self) -> GitIgnoreSpec | None:
        lines = [line for file in self.own for line in _lines(file)]
        if not lines:
            return None
        from pathspec import GitIgnoreSpec  # noqa: PLC0415 - the server starts sooner without it

        return GitIgnoreSpec.from_lines(lines)


def _rules_of(top: Path) -> tuple[Path, ...]:
    """The rules at a repository's top, the weaker ones first."""
    return (*_exclude_files(top / ".git"), top / ".gitignore")


def _exclude_files(dot_git: Path) -> Iterator[Path]:
    """`info/exclude`; in a worktree and a submodule `.git` is a file that says where it is."""
    if dot_git.is_dir():
        yield dot_git / "info" / "exclude"
        return
    pointer = next(iter(_lines(dot_git)), "")
    if pointer.startswith("gitdir: "):
        folder = dot_git.parent / pointer.removeprefix("gitdir: ").strip()
        common = next(iter(_lines(folder / "commondir")), ".").strip()
        yield folder / common / "info" / "exclude"


def _lines(file: Path) -> list[str]:
    try:
        if not file.is_file() or file.stat().st_size > _LARGEST_BYTES:
            return []
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
