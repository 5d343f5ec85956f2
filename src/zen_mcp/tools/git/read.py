"""What changed in a repository, read with the real `git`: staged, unstaged, a commit, a range, a branch."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio

from zen_mcp.errors import FileRefused, NoChanges
from zen_mcp.tools.files.disk import Disk, decoded
from zen_mcp.tools.files.generated import why_generated
from zen_mcp.tools.files.secrets import is_secret, redact
from zen_mcp.tools.git.changes import Change, Changes, ChangeStatus, parse_diff, patch_of_new_file, split_changes
from zen_mcp.tools.git.process import Git, GitAnswer, without_filters

__all__ = ["Change", "ChangeStatus", "Changes", "read_changes", "split_changes"]

_DIFF = (
    "diff",
    "--raw",
    "-z",
    "--patch",
    "--unified=3",
    "--find-copies",
    "-l400",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--no-relative",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--submodule=short",
    "--ignore-submodules=dirty",
)
_MOST_UNTRACKED = 300
_NAMED = 10
_LONGEST_WHAT_CHARACTERS = 300
_REFERENCE = re.compile(r"[^-\x00-\x20\x7f][^\x00-\x20\x7f]*")
_BASES = ("main", "master", "refs/remotes/origin/HEAD", "origin/main", "origin/master")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Repository:
    """An open repository: git at its top, and the folders in it that may be read (empty: all)."""

    git: Git
    top: Path
    below: tuple[str, ...]
    disk: Disk
    has_commits: bool

    async def diff(self, *arguments: str) -> GitAnswer:
        """`git diff`.

        Raises:
            NoChanges: git refused.
        """
        limit = ("--", *self.below) if self.below else ("--",)
        return _or_raise(await self.git.run(*_DIFF, *arguments, *limit), "git diff")

    async def commit(self, reference: str) -> str:
        """The id of the commit that a reference names.

        Raises:
            NoChanges: there is none.
        """
        if not _REFERENCE.fullmatch(reference):
            raise NoChanges(f"'{reference[:80]}' is no name of a commit.", "Give a branch, a tag or a commit's id.")
        answer = await self.git.run("rev-parse", "--verify", "--quiet", f"{reference}^{{commit}}")
        if answer.code:
            fix = "Give a branch, a tag or a commit's id; 'git branch --all' and 'git log --oneline' list them."
            if not self.has_commits:
                fix = "The repository has no commit yet; ask for 'staged' or 'all'."
            raise NoChanges(f"There is no '{reference[:80]}' in the repository '{self.top}'.", fix)
        return answer.line

    async def merge_base(self, one: str, other: str) -> str:
        """The commit from which two have grown.

        Raises:
            NoChanges: there is none.
        """
        answer = await self.git.run("merge-base", await self.commit(one), await self.commit(other))
        if answer.code:
            raise NoChanges(
                f"'{one}' and '{other}' have no commit in common.",
                f"Ask for '{one}..{other}', or fetch more history if the clone is shallow.",
            )
        return answer.line.splitlines()[0]

    async def empty_tree(self) -> str:
        """The id of a tree without files."""
        return _or_raise(await self.git.run("hash-object", "-t", "tree", os.devnull), "git hash-object").line


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """Which diff to read, and whether files that git does not know belong to it."""

    title: str
    arguments: tuple[str, ...]
    untracked: bool = False


async def read_changes(
    folder: Path,
    *,
    what: str = "all",
    roots: Sequence[Path],
    max_file_bytes: int = 1_048_576,
    allow_secret_files: bool = False,
) -> Changes:
    """Read changes with git, without running anything that the repository brings along.

    Args:
        folder: any folder of the repository.
        what: "staged", "unstaged", "all" (both, and untracked files), a commit ("HEAD~1": what it changed), a range
            ("A..B", "A...B": since they parted), "branch" or "branch:BASE" (the branch since it left its base).
        roots: the folders that may be read; what lies outside of them is not part of the changes.
        max_file_bytes: a larger untracked file is not shown.
        allow_secret_files: whether secrets are shown.

    Raises:
        FileRefused: the folder is missing or outside of the roots.
        NoChanges: no git, no repository, an unknown reference, or nothing changed.
    """
    disk = Disk(roots=roots, max_bytes=max_file_bytes, allow_secret_files=allow_secret_files)
    place = await anyio.to_thread.run_sync(disk.folder, str(folder))
    repository = await _open(place, disk)
    wanted = await _wanted(repository, what.strip() or "all")
    answer = await repository.diff(*wanted.arguments)
    changes, missing = await anyio.to_thread.run_sync(partial(parse_diff, answer.output, cut=answer.cut))
    left_out = [_many(missing, "the whole diff is too large; not read")] if missing else []
    if wanted.untracked:
        new, skipped = await _untracked(repository)
        changes, left_out = (*changes, *new), [*left_out, *skipped]
    shown, notes = await anyio.to_thread.run_sync(_presentable, changes, allow_secret_files)
    if not shown and not left_out:
        raise NoChanges(f"There are no {wanted.title} in '{repository.top}'.", _other_choice(what))
    return Changes(folder=repository.top, title=wanted.title, changes=shown, left_out=(*left_out, *notes))


async def _open(folder: Path, disk: Disk) -> _Repository:
    """The repository that a folder belongs to.

    Raises:
        NoChanges: it belongs to none, or git does not trust it.
    """
    answer = await Git(folder=folder).run("rev-parse", "--show-toplevel")
    if "dubious ownership" in answer.error:
        raise NoChanges(
            f"The repository of '{folder}' belongs to another user, so git does not read it.",
            f"Run: git config --global --add safe.directory '{folder}'",
        )
    if answer.code or not answer.line:
        raise NoChanges(
            f"'{folder}' is in no git repository with a working tree.",
            "Give a folder of one, run 'git init', or name files.",
        )
    top = await anyio.to_thread.run_sync(Path(answer.line).resolve)
    below = () if disk.covers(top) else disk.roots_below(top)
    if not disk.covers(top) and not below:
        raise FileRefused(f"The repository '{top}' is outside the allowed folders.", "Add it to roots in server.yaml.")
    git = await without_filters(Git(folder=top))
    head = await git.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    return _Repository(git=git, top=top, below=below, disk=disk, has_commits=head.code == 0)


async def _wanted(repository: _Repository, what: str) -> _Wanted:
    """What the caller's word means.

    Raises:
        NoChanges: it names something unknown.
    """
    if len(what) > _LONGEST_WHAT_CHARACTERS or what.startswith("-") or any(ord(letter) < 32 for letter in what):
        fix = "Give staged, unstaged, all, branch, a commit, or a range like main...HEAD."
        raise NoChanges(f"'{what[:60]}' names no changes.", fix)
    word, colon, base = what.partition(":")
    if what in _WORDS:
        return await _WORDS[what](repository)
    if word == "branch" and colon and base:
        return await _branch(repository, base)
    for dots in ("...", ".."):
        one, found, other = what.partition(dots)
        if found:
            return await _range(repository, one or "HEAD", dots, other or "HEAD")
    return await _commit(repository, what)


async def _staged(_: _Repository) -> _Wanted:
    return _Wanted(title="staged changes", arguments=("--cached",))


async def _unstaged(_: _Repository) -> _Wanted:
    # `--ours` shows a file with a merge conflict against our side of it.
    return _Wanted(title="unstaged changes", arguments=("--ours",))


async def _all(repository: _Repository) -> _Wanted:
    base = "HEAD" if repository.has_commits else await repository.empty_tree()
    return _Wanted(title="uncommitted changes", arguments=(base,), untracked=True)


async def _own_branch(repository: _Repository) -> _Wanted:
    current = (await repository.git.run("symbolic-ref", "--quiet", "--short", "HEAD")).line
    for base in _BASES:
        found = await repository.git.run("rev-parse", "--verify", "--quiet", f"{base}^{{commit}}")
        if found.code == 0 and base != current:
            return await _branch(repository, base)
    raise NoChanges(f"No base of the branch '{current or 'HEAD'}' was found.", "Name it: branch:BASE.")


async def _branch(repository: _Repository, base: str) -> _Wanted:
    start = await repository.merge_base(base, "HEAD")
    name = (await repository.git.run("symbolic-ref", "--quiet", "--short", "HEAD")).line or "HEAD"
    shown = base.removeprefix("refs/remotes/")
    return _Wanted(title=f"changes of '{name}' since '{shown}'", arguments=(start, await repository.commit("HEAD")))


async def _range(repository: _Repository, one: str, dots: str, other: str) -> _Wanted:
    start = await (repository.commit(one) if dots == ".." else repository.merge_base(one, other))
    return _Wanted(title=f"changes in {one}{dots}{other}", arguments=(start, await repository.commit(other)))


async def _commit(repository: _Repository, reference: str) -> _Wanted:
    commit = await repository.commit(reference)
    parent = await repository.git.run("rev-parse", "--verify", "--quiet", f"{commit}^1")
    start = parent.line if parent.code == 0 else await repository.empty_tree()
    name = reference if commit.startswith(reference) else f"{reference} ({commit[:10]})"
    return _Wanted(title=f"changes of commit {name}", arguments=(start, commit))


_WORDS: Mapping[str, Callable[[_Repository], Awaitable[_Wanted]]] = {
    "staged": _staged,
    "unstaged": _unstaged,
    "all": _all,
    "branch": _own_branch,
}


async def _untracked(repository: _Repository) -> tuple[tuple[Change, ...], list[str]]:
    """Files that git does not know and does not ignore, as files that are added; and what of them was left out."""
    answer = _or_raise(
        await repository.git.run("ls-files", "--others", "--exclude-standard", "-z", "--", *repository.below),
        "git ls-files",
    )
    names = [name for name in answer.output.decode("utf-8", "surrogateescape").split("\0") if name]
    left_out = [_many(names[_MOST_UNTRACKED:], "too many untracked files; not read")] if names[_MOST_UNTRACKED:] else []

    def read() -> tuple[Change, ...]:
        return tuple(_new_file(repository, name) for name in names[:_MOST_UNTRACKED])

    return await anyio.to_thread.run_sync(read), left_out


def _new_file(repository: _Repository, name: str) -> Change:
    shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    bare = Change(path=shown, status="untracked", patch="")
    if name.endswith("/"):
        return replace(bare, note="a repository of its own; not read")
    if (repository.top / name).is_symlink():
        return replace(bare, note="a link; not followed")
    try:
        text = decoded(name, repository.disk.read(str(repository.top / name)))
    except FileRefused as exc:
        return replace(bare, binary="is a binary file" in exc.problem, note=exc.problem.partition("' ")[2].rstrip("."))
    patch = patch_of_new_file(shown, text)
    return replace(bare, patch=patch, added_lines=text.count("\n") + (not text.endswith("\n") and text != ""))


def _presentable(changes: Sequence[Change], allow_secrets: bool) -> tuple[tuple[Change, ...], list[str]]:
    """The changes without secrets and without patches of generated files; and what was done, in words."""
    shown: list[Change] = []
    notes: list[str] = []
    for change in changes:
        note = change.note or _why_hidden(change, allow_secrets)
        if note:
            shown.append(replace(change, patch="", note=note))
            notes.append(f"{change.path}: {note}.")
            continue
        redacted = None if allow_secrets else redact(change.patch)
        if redacted is not None and redacted.found:
            notes.append(f"{change.path}: {redacted.in_words()}.")
            shown.append(replace(change, patch=redacted.text, note=redacted.in_words()))
        else:
            shown.append(change)
    return tuple(shown), notes


def _why_hidden(change: Change, allow_secrets: bool) -> str:
    names = [Path(name) for name in (change.path, change.old_path) if name]
    if not allow_secrets and any(is_secret(name) for name in names):
        return "looks like a file of secrets; its content is not shown"
    reason = why_generated(change.path)
    return f"{reason}; its content is not shown" if reason else ""


def _other_choice(what: str) -> str:
    if what in {"", "all"}:
        return "Ask for a commit ('HEAD'), a range ('main...HEAD') or 'branch' to see what is committed."
    return "Ask for 'all' (everything that is not committed), a commit ('HEAD'), a range or 'branch'."


def _many(paths: Sequence[str], why: str) -> str:
    more = f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else ""
    return f"{', '.join(paths[:_NAMED])}{more}: {why}."


def _or_raise(answer: GitAnswer, command: str) -> GitAnswer:
    if answer.code:
        reason = answer.error.splitlines()[0][:300] if answer.error else f"exit code {answer.code}"
        raise NoChanges(f"'{command}' failed: {reason}", "Check the repository with 'git status'.")
    return answer
