"""The files of a question through the front door: folders, patterns, lines, texts sent along, what fits, secrets."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from tests.support.results import data_of, error_of
from tests.support.tokens import o200k_tokens
from tests.upstream import Behaviour, Upstream

from zen_mcp.errors import FileRefused, PromptTooLong
from zen_mcp.tools.files.disk import Disk
from zen_mcp.tools.files.images import read_images
from zen_mcp.tools.files.names import InlineFile
from zen_mcp.tools.files.read import FilesRead, Room, number_lines, read_files
from zen_mcp.tools.files.secrets import redact
from zen_mcp.tools.tokens import count_tokens

pytestmark = pytest.mark.anyio

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "plain": (Behaviour(text="ok"), {"context_window": 200_000}),
    "small": (Behaviour(text="ok"), {"context_window": 8_000}),
}
SETTINGS = {"default_model": "plain"}
GITHUB_TOKEN = "ghp_" + "a1B2" * 9


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def git(folder: Path, *arguments: str) -> None:
    command = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)


async def ask(client: Client, upstream: Upstream, files: list[Any], **more: Any) -> tuple[str, dict[str, Any]]:
    """One chat with files: the question as the model got it, and the result."""
    data = data_of(await client.call_tool("chat", {"prompt": "x", "files": files, **more}))
    return upstream.requests[-1].messages[-1]["content"], data


async def read(folder: Path, *names: str | InlineFile, **more: Any) -> FilesRead:
    return await read_files(names, roots=[folder], max_file_bytes=1_000_000, **more)


def paths(read: FilesRead) -> list[str]:
    return [file.path for file in read.files]


# ---- names


async def test_paths_may_be_relative_to_the_workspace(client: Client, upstream: Upstream, work: Path) -> None:
    write(work, {"names/a.py": "a = 1\n"})
    sent, _ = await ask(client, upstream, ["names/a.py", "./names/../names/a.py"])
    assert sent == '<file path="names/a.py">\na = 1\n\n</file>\n\nx'


async def test_a_folder_is_sent_without_what_nobody_wrote(client: Client, upstream: Upstream, work: Path) -> None:
    top = work / "folder"
    write(top, {"src/a.py": "a = 1\n", "src/sub/b.py": "b = 1\n", "README.md": "read\n"})
    write(top, {"node_modules/x/i.js": "no", "dist/app.js": "no", "package-lock.json": "no", "app.min.js": "no"})
    write(top, {"wide.js": "x" * 10_000, ".env": "KEY=1", "logo.svgz": ""})
    (top / "logo.png").write_bytes(b"\x89PNG\x00")
    (top / "data").write_bytes(b"\x00\x01")
    (top / "link.py").symlink_to(top / "src" / "a.py")
    sent, data = await ask(client, upstream, ["folder"])
    listed = [line.split('"')[1] for line in sent.splitlines() if line.startswith("<file")]
    assert listed == ["folder/README.md", "folder/logo.svgz", "folder/src/a.py", "folder/src/sub/b.py"]
    assert data["notes"] == [
        "Not sent: 'folder/.env' looks like a file of secrets, 'folder/wide.js' is minified.",
        "Passed over in folders: 2 generated or vendored folder, 2 binary, 1 generated, 1 lock file.",
    ]


async def test_what_git_ignores_is_passed_over_also_by_nested_rules_and_exclude(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    write(tmp_path, {".gitignore": "*.log\n/secret/\n!keep.log\n", ".git/info/exclude": "private.py\n"})
    write(tmp_path, {"sub/.gitignore": "local.py\n!important.log\n"})
    every = ["a.py", "a.log", "keep.log", "secret/s.py", "private.py", "sub/local.py", "sub/important.log", "local.py"]
    write(tmp_path, dict.fromkeys([*every, "sub/secret/x.py"], "x\n"))
    wanted = {"a.py", "keep.log", "sub/important.log", "local.py", "sub/secret/x.py"}
    assert set(paths(await read(tmp_path, "."))) - {".gitignore", "sub/.gitignore"} == wanted
    assert paths(await read(tmp_path, "sub")) == ["sub/.gitignore", "sub/important.log", "sub/secret/x.py"]
    assert paths(await read(tmp_path, "secret")) == ["secret/s.py"], "an ignored folder is sent when it is named"
    assert paths(await read(tmp_path, "a.log")) == ["a.log"], "and so is an ignored file"


async def test_exclude_is_found_from_a_worktree(tmp_path: Path) -> None:
    main, tree = tmp_path / "main", tmp_path / "tree"
    git(tmp_path, "init", "--quiet", str(main))
    git(main, "commit", "--quiet", "--allow-empty", "--message=first")
    git(main, "worktree", "add", "--quiet", str(tree))
    write(main, {".git/info/exclude": "private.py\n"})
    write(tree, {"private.py": "p\n", "a.py": "a\n"})
    assert paths(await read(tree, ".")) == ["a.py"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.py", ["a.py"]),
        ("**/*.py", ["a.py", "src/b.py", "src/deep/er/c.py"]),
        ("src/**/*.py", ["src/b.py", "src/deep/er/c.py"]),
        ("src/**", ["src/b.py", "src/b.ts", "src/deep/er/c.py", "src/deep/er/c.tsx"]),
        ("src/*.{ts,py}", ["src/b.py", "src/b.ts"]),
        ("**/[bc].*x", ["src/deep/er/c.tsx"]),
        ("src/deep/?r/c.py", ["src/deep/er/c.py"]),
        ("**/package-lock.json", ["package-lock.json"]),
        ("dist/*.js", ["dist/x.js"]),
    ],
)
async def test_patterns_mean_what_shells_mean(tmp_path: Path, pattern: str, found: list[str]) -> None:
    names = ["a.py", "src/b.py", "src/b.ts", "src/deep/er/c.py", "src/deep/er/c.tsx", "package-lock.json", "dist/x.js"]
    write(tmp_path, dict.fromkeys(names, "x\n"))
    assert paths(await read(tmp_path, pattern)) == found
    absolute = paths(await read(tmp_path, f"{tmp_path}/{pattern}"))
    assert absolute == [f"{tmp_path}/{name}" for name in found]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("*.rs", r"'\*\.rs' matches no file that can be sent\. Check the pattern"),
        ("../*.py", "is outside the allowed folders"),
        ("[z-a]*", "is no pattern"),
        ("{a,b}" * 10, "is too long a pattern"),
        ("*" * 600, "is too long a pattern"),
        ("a.py:3-2", "names no lines"),
        ("a.py:0", "names no lines"),
        ("a.py:4-9", "'a.py' has 3 lines; there is no line 4"),
        ("gone.py:1-2", "'gone.py:1-2' does not exist"),
        ("sub:1-2", "'sub' is a directory"),
        (" ", "is not a path"),
        ("a\0b", "is not a path"),
        ("x" * 5_000, "does not exist|cannot be read"),
    ],
)
async def test_a_name_that_means_nothing_is_told_so(tmp_path: Path, name: str, message: str) -> None:
    write(tmp_path, {"a.py": "1\n2\n3\n", "sub/b.py": ""})
    with pytest.raises(FileRefused, match=message):
        await read(tmp_path, "a.py", name)


async def test_names_with_colons_and_wildcards_are_files_first(tmp_path: Path) -> None:
    write(tmp_path, {"a.py:1-2": "colon\n", "a.py": "plain\n", "[x].py": "bracket\n"})
    assert [file.text for file in (await read(tmp_path, "a.py:1-2", "[x].py")).files] == ["colon\n", "bracket\n"]


async def test_lines_of_a_file_are_sent_with_their_numbers_where_wanted(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "".join(f"line {number}\n" for number in range(1, 101))})
    result = await read(tmp_path, "a.py:10-12", "a.py:50", "a.py:99-", numbered=True)
    assert [(file.path, file.text) for file in result.files] == [
        ("a.py:10-12", "10|line 10\n11|line 11\n12|line 12\n"),
        ("a.py:50-50", "50|line 50\n"),
        ("a.py:99-100", "99|line 99\n100|line 100\n"),
    ]
    assert number_lines("a\n\fb") == "1|a\n2|\fb"


async def test_some_lines_of_a_large_file_may_be_sent(tmp_path: Path) -> None:
    write(tmp_path, {"big.txt": "0123456789\n" * 200_000})
    with pytest.raises(FileRefused, match=r"has 2,200,000 bytes; at most 1,000,000 are sent\. Name the lines"):
        await read(tmp_path, "big.txt")
    assert len((await read(tmp_path, "big.txt:100000-100009")).files[0].text) == 110
    with pytest.raises(FileRefused, match=r"'big\.txt:1-200000' has 2,200,000 bytes"):
        await read(tmp_path, "big.txt:1-")


# ---- texts sent along


async def test_texts_are_taken_as_objects_and_listed_as_strings(client: Client, upstream: Upstream) -> None:
    sent, _ = await ask(client, upstream, [{"path": "app/main.go", "text": "package main\n"}])
    assert sent == '<file path="app/main.go">\npackage main\n\n</file>\n\nx'
    arguments = {"prompt": "x", "models": ["plain"], "files": [{"path": "b.py", "text": "b = 1"}]}
    data_of(await client.call_tool("consensus", arguments))
    assert '<file path="b.py">' in str(upstream.requests[-1].messages)
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert tools["chat"].input_schema["properties"]["files"]["items"] == {"type": "string"}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"path": ".env", "text": "KEY=1"}, "'.env' looks like a file of secrets"),
        ({"path": "a\nb", "text": ""}, "is no path"),
        ({"path": "big", "text": "x" * 1_100_000}, "'big' has 1,100,000 bytes; at most 1,048,576 are sent"),
        ({"path": "a.py"}, "is missing"),
        (7, "valid string"),
    ],
)
async def test_a_text_that_cannot_be_taken_is_told_so(client: Client, entry: Any, message: str) -> None:
    error = error_of(await client.call_tool("chat", {"prompt": "x", "files": [entry]}))
    assert message in error["problem"]


async def test_a_closed_disk_reads_nothing_and_takes_texts() -> None:
    closed: dict[str, Any] = {"roots": (), "max_file_bytes": 1_000}
    for name in ("/etc/passwd", "a.py", "*.py", "a.py:1-2", "."):
        with pytest.raises(
            FileRefused, match=r"The server's disk is closed\. Send \{path, text\} objects, or configure"
        ):
            await read_files([name, "other"], **closed)
    with pytest.raises(FileRefused, match=r"The server's disk is closed\. Send the image as a data: URL\."):
        await read_images(["/etc/logo.png"], roots=(), hosts=())
    result = await read_files([InlineFile(path="a.py", text="a")], **closed)
    assert paths(result) == ["a.py"]


# ---- what fits


async def test_what_does_not_fit_is_named_with_its_size_and_the_rest_is_sent(
    client: Client, upstream: Upstream, work: Path
) -> None:
    write(work, {"fit/big.py": "value = 1234567\n" * 6_000, "fit/a.py": "a = 1\n", "fit/z.py": "z = 1\n"})
    for names in (["fit"], ["fit/a.py", "fit/big.py", "fit/z.py"], ["fit/*.py"]):
        sent, data = await ask(client, upstream, names, model="small")
        assert "a = 1" in sent
        assert "z = 1" in sent
        assert "1234567" not in sent
        (note,) = data["notes"]
        assert note.startswith(("No room in 'small' for fit/big.py (about ", "No room for fit/big.py (about "))


async def test_files_of_which_none_fits_are_refused_before_anything_is_paid(
    client: Client, upstream: Upstream, work: Path
) -> None:
    write(work, {"alone.py": "value = 1234567\n" * 6_000})
    asked = len(upstream.requests)
    error = error_of(await client.call_tool("chat", {"prompt": "x", "model": "small", "files": ["alone.py"]}))
    assert error["kind"] == "PromptTooLong"
    assert "There is no room for alone.py (about " in error["problem"]
    assert "path:10-80" in error["fix"]
    assert len(upstream.requests) == asked


async def test_the_budget_counts_real_tokens(client: Client, upstream: Upstream, work: Path) -> None:
    spaced = "\n".join(" " * 40 + "x" for _ in range(500))
    assert len(spaced) / 3.5 > 5_800, "an estimate would leave it out"
    assert o200k_tokens(spaced) < 3_000
    dense = "".join(chr(0x10300 + number % 30) for number in range(1_900))
    assert o200k_tokens(dense) > 5_000, "an estimate would send it"
    write(work, {"real/spaced.txt": spaced, "real/dense.txt": dense})
    sent, data = await ask(client, upstream, ["real"], model="small")
    assert spaced in sent
    assert dense not in sent
    assert data["notes"][0].startswith("No room in 'small' for real/dense.txt (about ")


def test_tokens_are_counted_as_the_tokenizer_does_also_in_texts_that_break_it() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert abs(count_tokens(source) - o200k_tokens(source)) <= 3
    for odd in (" " * 1_000_000, "a" * 1_000_000, "\n" * 1_000_000, "<|endof" + "text|>"):
        assert count_tokens(odd) > 0


async def test_named_files_come_before_those_of_folders(tmp_path: Path) -> None:
    write(tmp_path, {f"lib/{number}.py": "x" * 400 for number in range(10)})
    write(tmp_path, {"named.py": "n" * 3_000})
    room = Room(tokens=1_800, count=lambda text: len(text) // 2, whose="m")
    result = await read(tmp_path, "lib", "named.py", room=room)
    assert paths(result)[-1] == "named.py"
    assert len(result.files) == 2
    assert "and" not in result.notes[0].partition("9.py")[2]
    with pytest.raises(PromptTooLong, match="'m' has room for about 10"):
        await read(tmp_path, "lib", room=Room(tokens=10, count=len, whose="m"))


@pytest.mark.slow
async def test_a_folder_of_ten_thousand_files_is_looked_through_in_seconds(
    client: Client, upstream: Upstream, work: Path
) -> None:
    write(work, {f"many/d{number % 100}/f{number}.py": f"n = {number}\n" * 20 for number in range(10_000)})
    started = time.monotonic()
    with anyio.fail_after(60):
        sent, data = await ask(client, upstream, ["many"])
    assert time.monotonic() - started < 60
    assert 1_000 < sent.count("<file path=") < 5_000
    notes = " ".join(data["notes"])
    assert "'many' has more than 5,000 files; the rest was not looked at." in notes
    assert "more." in notes


# ---- secrets

SECRETS = {
    "AWS access key": "AKIA" + "QWERTYUIOPASDFGH",
    "GitHub token": GITHUB_TOKEN,
    "GitLab token": "glpat-" + "x1y2z3a4b5c6d7e8f9g0",
    "Slack token": "xoxb-" + "123456789012-abcdefghijkl",
    "Google API key": "AIza" + "SyA1234567890abcdefghijklmnopqrstuv",
    "model API key": "sk-ant-" + "api03-abcdefghijklmnopqrstuvwx",
    "Stripe key": "sk_live_" + "abcdefgh12345678",
    "JSON web token": "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NSJ9" + ".abcdefghijk_lmnop",
}


@pytest.mark.parametrize("kind", SECRETS)
async def test_known_tokens_are_replaced(kind: str) -> None:
    text = f"first\nx = f({SECRETS[kind]!r})\nlast\n"
    result = redact(text)
    assert result.text == f"first\nx = f('[redacted: {kind}]')\nlast\n"
    assert result.found == {kind: 1}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('password = "hunter2-Hunter2"', 'password = "[redacted]"'),
        ("DB_PASSWORD=s3cr3t-Value!", "DB_PASSWORD=[redacted]"),
        ('"api_key": "8f14e45fceea167a5a36dedd4bea2543"', '"api_key": "[redacted]"'),
        ("client_secret: 'Zm9vYmFyYmF6cXV4MTIzNDU2'", "client_secret: '[redacted]'"),
        ("url = postgres://app:Sup3rS3cret@db/app", "url = postgres://app:[redacted]@db/app"),
    ],
)
async def test_values_with_telling_names_are_replaced(text: str, left: str) -> None:
    assert redact(text).text == left


@pytest.mark.parametrize(
    "text",
    [
        'password = "changeme123"',
        'password = os.environ["DB_PASSWORD"]',
        'api_key: "${OPENAI_API_KEY}"',
        'token = "next_page_token_2"',
        "secret: str = Field(description='x')",
        "token_count = 1234567890123456",
        'TOKEN = "your-token-goes-here-123"',
        "postgres://user:password@localhost/db",
        "class sk-loading-indicator-animation-frame",
        'error = "-----BEGIN RSA PRIVATE KEY-----\\nabc"',
        "password: string | null",
        "const token = getToken(request.headers)",
    ],
)
async def test_what_only_looks_like_a_secret_is_left(text: str) -> None:
    assert redact(text).text == text


async def test_a_private_key_is_replaced_line_by_line_so_that_numbers_stay_right() -> None:
    body = "\n".join(["MIIEowIBAAKCAQEA" * 4] * 5)
    text = f"a\n-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\nb\n"
    for sample in (text, "".join(f"+{line}\n" for line in text.splitlines())):
        result = redact(sample)
        assert "MIIE" not in result.text
        assert result.text.count("\n") == sample.count("\n")
        assert result.text.splitlines()[-1].endswith("b")
        assert result.found == {"private key": 1}


async def test_secrets_in_files_are_replaced_and_said(client: Client, upstream: Upstream, work: Path) -> None:
    write(work, {"leak.py": f'before = 1\nTOKEN = "{GITHUB_TOKEN}"\nafter = 1\n'})
    sent, data = await ask(client, upstream, ["leak.py", "leak.py:3", {"path": "x.py", "text": GITHUB_TOKEN}])
    assert GITHUB_TOKEN not in json.dumps(upstream.requests[-1].messages)
    assert 'TOKEN = "[redacted: GitHub token]"\nafter = 1\n' in sent
    assert data["notes"] == [
        "'leak.py': 1 secret (GitHub token) was replaced.",
        "'x.py': 1 secret (GitHub token) was replaced.",
    ]


async def test_the_middle_of_a_key_is_not_sent_by_its_lines(tmp_path: Path) -> None:
    body = "MIIEowIBAAKCAQEA\n" * 20
    write(tmp_path, {"k.txt": f"-----BEGIN RSA PRIVATE KEY-----\n{body}-----END RSA PRIVATE KEY-----\n"})
    result = await read(tmp_path, "k.txt:5-6")
    assert result.files[0].text == "[redacted]\n[redacted]\n"
    assert len(result.notes) == 1
    allowed = await read(tmp_path, "k.txt:5-6", allow_secret_files=True)
    assert allowed.files[0].text == "MIIEowIBAAKCAQEA\n" * 2


async def test_long_texts_without_secrets_are_searched_in_linear_time() -> None:
    started = time.monotonic()
    for text in ("a.b-c" * 200_000, "token=" * 150_000, "-----BEGIN PRIVATE KEY-----" * 20_000, "eyJ" * 300_000):
        redact(text)
    assert time.monotonic() - started < 60


# ---- the thread


async def test_a_range_is_sent_once_and_not_again_where_the_whole_file_stands(
    client: Client, upstream: Upstream, work: Path
) -> None:
    write(work, {"once.py": "".join(f"line_{number}\n" for number in range(1, 21))})
    _, data = await ask(client, upstream, ["once.py:5-6"])
    thread = {"continuation_id": data["continuation_id"]}
    again, _ = await ask(client, upstream, ["once.py:5-6"], **thread)
    assert again == '<file path="once.py:5-6">(unchanged, sent above)</file>\n\nx'
    await ask(client, upstream, ["once.py"], **thread)
    part, _ = await ask(client, upstream, ["once.py:7-8"], **thread)
    assert part == '<file path="once.py:7-8">(unchanged, part of the file sent above)</file>\n\nx'
    write(work, {"once.py": "".join(f"new_{number}\n" for number in range(1, 21))})
    changed, _ = await ask(client, upstream, ["once.py:7-8"], **thread)
    assert "new_7\nnew_8\n" in changed
    messages = json.dumps(upstream.requests[-1].messages)
    assert "line_7" in messages, "the older whole file stands, for only some newer lines are known"
    await ask(client, upstream, ["once.py"], **thread)
    assert "line_" not in json.dumps(upstream.requests[-1].messages)


# ---- the disk


async def test_a_file_that_changes_while_it_is_read_is_read_whole_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "busy.txt"
    path.write_text("A" * 400_000, encoding="utf-8")
    disk = Disk(roots=[tmp_path], max_bytes=1_000_000)
    done = threading.Event()

    def rewrite() -> None:
        for letter in itertools.cycle(b"BCDEFG"):
            if done.is_set():
                return
            path.write_bytes(bytes([letter]) * 400_000)

    writer = threading.Thread(target=rewrite)
    writer.start()
    outcomes: set[str] = set()
    try:
        for _ in range(300):
            try:
                outcomes.add("mixed" if len(set(disk.read(str(path)))) > 1 else "one version")
            except FileRefused as exc:
                outcomes.add(exc.problem.partition("' ")[2])
    finally:
        done.set()
        writer.join()
    assert outcomes <= {"one version", "changed while it was read."}


async def test_a_link_that_is_swapped_for_another_place_is_not_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    write(tmp_path, {"inside/ok/x.py": "fine\n", "outside/x.py": "plans\n"})
    (inside / "link").symlink_to(outside)
    (inside / "loop").symlink_to(inside / "loop")
    for name in ("link/x.py", "../outside/x.py", str(outside / "x.py"), "link", "link/*.py"):
        with pytest.raises(FileRefused, match="outside the allowed folders"):
            await read(inside, name)
    with pytest.raises(FileRefused, match="'loop' cannot be read"):
        await read(inside, "loop")
    assert paths(await read(inside, ".")) == ["ok/x.py"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes in its file system")
async def test_a_folder_with_a_pipe_and_an_unreadable_file_goes_on_without_them(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "a\n", "latin.txt": "x\n"})
    (tmp_path / "latin.txt").write_bytes(b"\xe9t\xe9\n")
    os.mkfifo(tmp_path / "pipe")
    result = await read(tmp_path, ".")
    assert paths(result) == ["a.py"]
    assert result.notes == ("Not sent: 'latin.txt' is not UTF-8 text.",)
