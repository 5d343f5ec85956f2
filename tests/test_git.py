"""What changed in a repository, read with the real git from real repositories."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from zen_mcp.errors import FileRefused, NoChanges
from zen_mcp.tools.git.read import Change, Changes, read_changes, split_changes

pytestmark = pytest.mark.anyio

WRITTEN = "".join(f"line {number}\n" for number in range(1, 31))


def git(folder: Path, *arguments: str) -> str:
    """Run git as its user would."""
    who = {f"GIT_{role}_{field}": value for role in ("AUTHOR", "COMMITTER") for field, value in WHO.items()}
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", **who}
    command = ["git", "-c", "protocol.file.allow=always", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


WHO = {"NAME": "Ada", "EMAIL": "ada@example.com"}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit: a.py, doomed.py, moved.py, picture.bin."""
    top = tmp_path.resolve() / "repository"
    top.mkdir()
    git(top, "init", "--quiet", "--initial-branch=main")
    write(top, {"a.py": WRITTEN, "doomed.py": "gone = 1\n", "moved.py": WRITTEN + "moved\n"})
    (top / "picture.bin").write_bytes(b"\x00\x01\x02")
    git(top, "add", "--all")
    git(top, "commit", "--quiet", "--message=first")
    return top


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


async def read(top: Path, what: str = "all", **more: bool) -> Changes:
    return await read_changes(top, what=what, roots=[top], **more)


def by_path(changes: Changes) -> dict[str, Change]:
    return {change.path: change for change in changes.changes}


async def test_everything_that_is_not_committed_is_read_with_what_happened_to_it(repository: Path) -> None:
    write(repository, {"a.py": WRITTEN.replace("line 3\n", "line three\n"), "new.py": "n = 1\nm = 2\n"})
    (repository / "doomed.py").unlink()
    git(repository, "mv", "moved.py", "sub dir.py")
    (repository / "picture.bin").write_bytes(b"\x00\x03")
    write(repository, {"staged.py": "s = 1\n"})
    git(repository, "add", "staged.py")
    changes = await read(repository)
    assert {path: (change.status, change.binary) for path, change in by_path(changes).items()} == {
        "a.py": ("modified", False),
        "doomed.py": ("deleted", False),
        "sub dir.py": ("renamed", False),
        "picture.bin": ("modified", True),
        "staged.py": ("added", False),
        "new.py": ("untracked", False),
    }
    found = by_path(changes)
    assert found["sub dir.py"].old_path == "moved.py"
    assert (found["a.py"].added_lines, found["a.py"].removed_lines) == (1, 1)
    assert "-line 3\n+line three\n" in found["a.py"].patch
    assert found["new.py"].patch.endswith("--- /dev/null\n+++ b/new.py\n@@ -0,0 +1,2 @@\n+n = 1\n+m = 2\n")
    assert found["picture.bin"].patch == ""
    assert changes.summary == "uncommitted changes: 6 files, +4 -2"
    assert changes.folder == repository
    assert changes.left_out == ()


async def test_staged_and_unstaged_are_told_apart(repository: Path) -> None:
    write(repository, {"a.py": "staged\n"})
    git(repository, "add", "a.py")
    write(repository, {"a.py": "unstaged\n"})
    staged, unstaged = await read(repository, "staged"), await read(repository, "unstaged")
    assert "+staged\n" in staged.text
    assert "unstaged" not in staged.text
    assert "-staged\n+unstaged\n" in unstaged.text


async def test_a_commit_a_range_and_a_branch_are_read(repository: Path) -> None:
    git(repository, "checkout", "--quiet", "-b", "feature")
    write(repository, {"feature.py": "f = 1\n"})
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message=second")
    git(repository, "checkout", "--quiet", "main")
    write(repository, {"a.py": "main went on\n"})
    git(repository, "commit", "--quiet", "--all", "--message=third")
    git(repository, "checkout", "--quiet", "feature")
    for what in ("main...HEAD", "main...", "branch", "branch:main", "HEAD", "HEAD~1..HEAD", "feature"):
        changes = await read(repository, what)
        assert changes.paths == ("feature.py",), what
    assert set((await read(repository, "main..HEAD")).paths) == {"feature.py", "a.py"}
    first = git(repository, "rev-list", "--max-parents=0", "HEAD")
    assert set((await read(repository, first)).paths) == {"a.py", "doomed.py", "moved.py", "picture.bin"}
    assert (await read(repository, "branch")).title == "changes of 'feature' since 'main'"


async def test_a_repository_without_commits_shows_what_is_there(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    write(tmp_path, {"staged.py": "s = 1\n", "new.py": "n = 1\n"})
    git(tmp_path, "add", "staged.py")
    assert {change.path: change.status for change in (await read(tmp_path)).changes} == {
        "staged.py": "added",
        "new.py": "untracked",
    }
    assert (await read(tmp_path, "staged")).paths == ("staged.py",)
    with pytest.raises(NoChanges, match=r"There is no 'HEAD'.*no commit yet"):
        await read(tmp_path, "HEAD")


async def test_names_with_odd_letters_come_through_as_they_are(repository: Path) -> None:
    names = ["with space.py", "ümlaut.py", 'quote".py', "tab\there.py", "line\nbreak.py", "-dash.py", "::colon.py"]
    write(repository, dict.fromkeys(names, "odd = 1\n"))
    assert set((await read(repository)).paths) == set(names)
    git(repository, "add", "--all")
    staged = await read(repository, "staged")
    assert set(staged.paths) == set(names)
    assert all(change.patch.count("+odd = 1\n") == 1 for change in staged.changes)


async def test_a_file_that_became_a_link_keeps_its_neighbours_patches_in_place(repository: Path) -> None:
    (repository / "a.py").unlink()
    (repository / "a.py").symlink_to("/etc/passwd")
    write(repository, {"doomed.py": "gone = 2\n"})
    found = by_path(await read(repository))
    assert "+gone = 2\n" in found["doomed.py"].patch
    assert "new file mode 120000" in found["a.py"].patch
    assert "root:" not in found["a.py"].patch
    (repository / "link.py").symlink_to("/etc/passwd")
    assert by_path(await read(repository))["link.py"].note == "a link; not followed"


async def test_a_merge_conflict_is_shown_as_one(repository: Path) -> None:
    git(repository, "checkout", "--quiet", "-b", "other")
    write(repository, {"a.py": "theirs\n"})
    git(repository, "commit", "--quiet", "--all", "--message=theirs")
    git(repository, "checkout", "--quiet", "main")
    write(repository, {"a.py": "ours\n"})
    git(repository, "commit", "--quiet", "--all", "--message=ours")
    with pytest.raises(subprocess.CalledProcessError):
        git(repository, "merge", "other")
    write(repository, {"doomed.py": "gone = 2\n"})
    unstaged = by_path(await read(repository, "unstaged"))
    assert unstaged["a.py"].status == "unmerged"
    assert "+<<<<<<<" in unstaged["a.py"].patch
    assert "+gone = 2\n" in unstaged["doomed.py"].patch
    assert by_path(await read(repository, "staged"))["a.py"].note == "has a merge conflict"


async def test_a_worktree_and_a_submodule_are_read(repository: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    git(repository, "worktree", "add", "--quiet", "-b", "wt", str(tree))
    write(tree, {"a.py": "in the worktree\n"})
    changes = await read_changes(tree, roots=[tree])
    assert changes.folder == tree.resolve()
    assert "+in the worktree\n" in changes.text
    git(tree, "submodule", "add", "--quiet", str(repository), "module")
    found = by_path(await read_changes(tree, what="staged", roots=[tree]))
    assert "+Subproject commit" in found["module"].patch


async def test_only_what_lies_below_the_roots_is_read(repository: Path) -> None:
    write(repository, {"inside/x.py": "x = 1\n", "outside.py": "plans\n", "a.py": "plans\n"})
    changes = await read_changes(repository / "inside", roots=[repository / "inside"])
    assert changes.paths == ("inside/x.py",)
    with pytest.raises(FileRefused, match="outside the allowed folders"):
        await read_changes(repository, roots=[repository / "inside"])
    with pytest.raises(FileRefused, match="disk is closed"):
        await read_changes(repository, roots=[])


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nonsense", "There is no 'nonsense' in the repository"),
        ("main..nonsense", "There is no 'nonsense' in the repository"),
        ("--output=/tmp/x", "'--output=/tmp/x' names no changes"),
        ("main..--output=x", "'--output=x' is no name of a commit"),
        ("branch:-x", "'-x' is no name of a commit"),
        ("a\nb", "names no changes"),
        ("a b", "'a b' is no name of a commit"),
        ("x" * 1_000, "names no changes"),
        ("branch", "No base of the branch 'main' was found. Name it: branch:BASE."),
        ("all", "There are no uncommitted changes in .* Ask for a commit"),
        ("staged", "There are no staged changes in .* Ask for 'all'"),
        ("main...main", "There are no changes in main...main"),
    ],
)
async def test_what_cannot_be_read_is_told_with_what_to_do(repository: Path, what: str, message: str) -> None:
    with pytest.raises(NoChanges, match=message):
        await read(repository, what)


async def test_a_folder_without_a_repository_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoChanges, match="is in no git repository"):
        await read(tmp_path)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(FileRefused, match="is not a folder"):
        await read_changes(tmp_path / "file", roots=[tmp_path])
    with pytest.raises(FileRefused, match="does not exist"):
        await read_changes(tmp_path / "gone", roots=[tmp_path])
    git(tmp_path, "init", "--quiet", "--bare", "bare.git")
    with pytest.raises(NoChanges, match="is in no git repository"):
        await read_changes(tmp_path / "bare.git", roots=[tmp_path])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoChanges, match="'git' is not installed"):
        await read(tmp_path)


async def test_unrelated_histories_have_no_common_start(repository: Path) -> None:
    git(repository, "checkout", "--quiet", "--orphan", "other")
    git(repository, "commit", "--quiet", "--message=other")
    with pytest.raises(NoChanges, match=r"'main' and 'HEAD' have no commit in common.*main\.\.HEAD"):
        await read(repository, "main...HEAD")


def _external(top: Path, program: str) -> None:
    git(top, "config", "diff.external", program)


def _textconv(top: Path, program: str) -> None:
    git(top, "config", "diff.evil.textconv", program)
    git(top, "config", "diff.evil.command", program)
    write(top, {".gitattributes": "*.py diff=evil\n"})


def _filters(top: Path, program: str) -> None:
    git(top, "config", "filter.evil=x.clean", program)
    git(top, "config", "filter.evil=x.process", program)
    git(top, "config", "filter.evil=x.required", "true")
    write(top, {".gitattributes": "*.py filter=evil=x\n"})


def _monitor(top: Path, program: str) -> None:
    git(top, "config", "core.fsmonitor", program)
    git(top, "config", "core.pager", program)
    git(top, "config", "core.hooksPath", str(Path(program).parent))


@pytest.mark.parametrize("attack", [_external, _textconv, _filters, _monitor])
async def test_nothing_that_a_repository_brings_along_is_run(
    repository: Path, tmp_path: Path, attack: Callable[[Path, str], None]
) -> None:
    proof, program = tmp_path / "it-ran", tmp_path / "hooks" / "post-index-change"
    write(tmp_path, {"hooks/post-index-change": f"#!/bin/sh\ntouch {proof}\ncat\n"})
    program.chmod(0o755)
    write(repository, {"a.py": "changed = 1\n", "new.py": "n = 1\n"})
    attack(repository, str(program))
    proof.unlink(missing_ok=True)
    changes = await read(repository)
    assert "+changed = 1\n" in by_path(changes)["a.py"].patch
    assert not proof.exists()


async def test_secrets_and_generated_files_are_not_shown_and_said(repository: Path) -> None:
    token = "ghp_" + "a1B2" * 9
    write(repository, {".env": "KEY=hunter2hunter2\n", "package-lock.json": "{}\n", "code.py": f'T = "{token}"\n'})
    git(repository, "add", "--all")
    for what in ("staged", "all"):
        changes = await read(repository, what)
        found = by_path(changes)
        assert "hunter2" not in changes.text
        assert token not in changes.text
        assert found["code.py"].patch.endswith('+T = "[redacted: GitHub token]"\n')
        assert found[".env"].note == "looks like a file of secrets; its content is not shown"
        assert found["package-lock.json"].note == "a lock file; its content is not shown"
        assert set(changes.left_out) == {
            ".env: looks like a file of secrets; its content is not shown.",
            "package-lock.json: a lock file; its content is not shown.",
            "code.py: 1 secret (GitHub token) was replaced.",
        }
    shown = await read(repository, "staged", allow_secret_files=True)
    assert "hunter2" in shown.text
    assert token in shown.text


async def test_an_untracked_file_that_cannot_be_shown_is_listed(repository: Path) -> None:
    (repository / "program").write_bytes(b"\x7fELF\x00")
    write(repository, {"big.txt": "x" * 2_000_000, "inner/x.py": "x = 1\n"})
    git(repository / "inner", "init", "--quiet")
    notes = {change.path: (change.binary, change.note) for change in (await read(repository)).changes}
    assert notes == {
        "program": (True, "is a binary file"),
        "big.txt": (False, "has 2,000,000 bytes; at most 1,048,576 are sent"),
        "inner/": (False, "a repository of its own; not read"),
    }


@pytest.mark.slow
async def test_a_repository_of_ten_thousand_files_is_read_in_seconds(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    write(tmp_path, {f"d{number % 100}/f{number}.py": f"n = {number}\n" for number in range(10_000)})
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message=many")
    write(tmp_path, {"d1/f1.py": "n = -1\n", **{f"new/{number}.py": "" for number in range(1_000)}})
    started = time.monotonic()
    changes = await read(tmp_path)
    assert time.monotonic() - started < 30
    assert len(changes.changes) == 301
    assert "and 690 more: too many untracked files; not read." in changes.left_out[0]
    assert len((await read(tmp_path, "HEAD")).changes) == 10_000


async def test_a_diff_past_the_limit_is_read_as_far_as_it_goes_and_the_rest_is_named(repository: Path) -> None:
    line = "x" * 99 + "\n"
    write(repository, {f"{name}.txt": line * 100_000 for name in "abc"})
    git(repository, "add", "--all")
    changes = await read(repository, "staged")
    assert changes.paths == ("a.txt",)
    assert changes.left_out == ("b.txt, c.txt: the whole diff is too large; not read.",)


async def test_a_large_set_of_changes_is_split_by_file_and_a_large_file_by_hunk(repository: Path) -> None:
    write(repository, {f"small{number}.py": "s = 1\n" * 60 for number in range(6)})
    write(repository, {"large.py": "".join(f"value_{number} = {number}\n" for number in range(3_000))})
    git(repository, "add", "--all")
    changes = await read(repository, "staged")
    parts = split_changes(changes, budget_tokens=2_000)
    assert len(parts) > 5
    assert all(part.tokens <= 2_000 for part in parts)
    assert parts[0].title == f"staged changes (part 1 of {len(parts)})"
    assert [path for part in parts for path in part.paths if path != "large.py"] == [f"small{n}.py" for n in range(6)]
    added = [line for part in parts for line in part.text.splitlines() if line.startswith("+value")]
    assert added == [f"+value_{number} = {number}" for number in range(3_000)]
    assert sum(change.added_lines for part in parts for change in part.changes) == 3_360
    assert split_changes(changes, budget_tokens=1_000_000) == (changes,)


async def test_the_parts_of_a_large_file_apply_one_after_the_other(repository: Path) -> None:
    old = [f"value {number}\n" for number in range(2_000)]
    write(repository, {"long.py": "".join(old)})
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message=long")
    new = "".join(f"changed {number}\n" if number % 3 else line for number, line in enumerate(old))
    write(repository, {"long.py": new})
    parts = split_changes(await read(repository), budget_tokens=1_500)
    git(repository, "checkout", "--quiet", "long.py")
    for part in reversed(parts):
        (repository.parent / "part.patch").write_text(part.text, encoding="utf-8")
        git(repository, "apply", "--unidiff-zero", str(repository.parent / "part.patch"))
    assert (repository / "long.py").read_text(encoding="utf-8") == new


async def test_a_line_longer_than_the_budget_is_cut_and_says_so(repository: Path) -> None:
    write(repository, {"wide.txt": "w" * 100_000 + "\nnext\n"})
    parts = split_changes(await read(repository), budget_tokens=1_000)
    assert all(part.tokens <= 1_000 for part in parts)
    text = "".join(part.text for part in parts)
    assert "more characters]" in text
    assert "+next\n" in text
