"""The command line as a user types it: every command, its JSON, its errors and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import KEY
from tests.support.server import ServerFolder
from tests.upstream import Behaviour, Upstream

from zen_mcp import __version__
from zen_mcp.cli.main import COMMANDS

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "fine": (Behaviour(text="An answer."), {"aliases": ["nice"]}),
    "other": (Behaviour(text="Another."), {}),
    "priced": (Behaviour(text="Dear."), {"input_cost_per_token": 1e-3, "output_cost_per_token": 1e-2}),
    "locked": (Behaviour(status=401, text="no such key {key}"), {}),
}
SETTINGS = {"default_model": "fine", "provider": "direct", "default_panel": ["fine", "other"]}


def test_the_version_is_told_without_importing_anything_heavy(folder: ServerFolder) -> None:
    done = folder.run("--version")
    assert done.stdout == f"zen {__version__}\n"


def test_without_a_command_the_help_lists_every_command(folder: ServerFolder) -> None:
    done = folder.run()
    assert done.returncode == 0
    assert all(name in done.stdout for name, _ in COMMANDS)


@pytest.mark.parametrize("name", [name for name, _ in COMMANDS])
def test_every_command_has_help(folder: ServerFolder, name: str) -> None:
    done = folder.run(name, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: zen {name}")


def test_an_unknown_command_names_the_nearest(folder: ServerFolder) -> None:
    done = folder.run("aks", "hello")
    assert done.returncode == 2
    assert done.stderr == "zen: unknown command 'aks'. Did you mean 'ask'? See zen --help.\n"


def test_ask_prints_the_answer_alone_on_standard_output(folder: ServerFolder) -> None:
    done = folder.run("ask", "What", "is it?")
    assert done.returncode == 0
    assert done.stdout == "An answer.\n"
    assert "fine (custom)" in done.stderr
    assert "continuation_id t-" in done.stderr


@pytest.mark.slow
def test_ask_reads_standard_input_and_a_file_from_anywhere(
    folder: ServerFolder, upstream: Upstream, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("remember the milk", encoding="utf-8")
    done = folder.run("ask", "-m", "nice", "-f", str(tmp_path / "notes.txt"), "-", input="from a pipe")
    assert done.returncode == 0, done.stderr
    content = upstream.asked("fine")[-1].messages[-1]["content"]
    assert "from a pipe" in content
    assert "remember the milk" in content


@pytest.mark.slow
def test_a_thread_goes_on_across_commands(folder: ServerFolder, upstream: Upstream) -> None:
    first = json.loads(folder.run("ask", "--json", "first").stdout)
    folder.run("ask", "-c", first["continuation_id"], "second")
    assert [message["content"] for message in upstream.asked("fine")[-1].messages[1:]] == [
        "first",
        "An answer.",
        "second",
    ]


@pytest.mark.slow
def test_consensus_shows_every_answer_and_a_row_for_each_model(folder: ServerFolder) -> None:
    done = folder.run("consensus", "Which?", "-m", "fine:for", "-m", "other", "-m", "locked")
    assert done.returncode == 0, done.stderr
    assert "An answer." in done.stdout
    assert "Another." in done.stdout
    assert "2 of 3 answered." in done.stdout
    assert "fine" in done.stderr
    assert "VendorAuthFailed" in done.stderr
    assert KEY not in done.stdout + done.stderr


@pytest.mark.slow
def test_consensus_as_json_is_the_tools_result(folder: ServerFolder) -> None:
    result = json.loads(folder.run("consensus", "--json", "Which?").stdout)
    assert [answer["model"] for answer in result["answers"]] == ["fine", "other"]


@pytest.mark.slow
def test_a_foreseen_failure_is_one_line_and_exit_code_one(folder: ServerFolder) -> None:
    done = folder.run("ask", "-m", "locked", "hello")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.strip().startswith("zen: 'locked' (custom) does not accept the key: no such key")
    assert KEY not in done.stderr
    as_json = folder.run("ask", "--json", "-m", "locked", "hello")
    assert as_json.returncode == 1
    assert json.loads(as_json.stdout)["error"]["kind"] == "VendorAuthFailed"


@pytest.mark.slow
def test_threads_are_listed_shown_and_deleted(folder: ServerFolder) -> None:
    thread = json.loads(folder.run("ask", "--json", "A question to remember").stdout)["continuation_id"]
    assert f"{thread}  " in folder.run("threads").stdout
    listed = json.loads(folder.run("threads", "list", "--json").stdout)
    assert listed["threads"][0]["id"] == thread
    assert listed["threads"][0]["spent"]["unpriced"] == 1, "the price of this model is not known"
    assert "A question to remember" in folder.run("threads", "show", thread).stdout
    shown = json.loads(folder.run("threads", "show", thread, "--json").stdout)
    assert [turn["text"] for turn in shown["turns"]] == ["A question to remember", "An answer."]
    assert folder.run("threads", "delete", thread).stdout == f"deleted {thread}\n"
    gone = folder.run("threads", "show", thread)
    assert gone.returncode == 1
    assert f"There is no thread '{thread}'" in gone.stderr
    assert folder.run("threads", "delete").returncode == 1


@pytest.mark.slow
def test_what_was_spent_is_summed_by_thread_and_day(folder: ServerFolder) -> None:
    first = json.loads(folder.run("ask", "-m", "priced", "--json", "one two three").stdout)
    thread = first["continuation_id"]
    second = json.loads(folder.run("ask", "-m", "priced", "-c", thread, "--json", "and more").stdout)
    cost = first["cost_dollars"] + second["cost_dollars"]
    tokens = sum(one[name] for one in (first, second) for name in ("input_tokens", "output_tokens"))
    listed = json.loads(folder.run("threads", "--json").stdout)
    spent = next(one["spent"] for one in listed["threads"] if one["id"] == thread)
    assert spent == {"tokens": tokens, "cost_dollars": pytest.approx(cost), "unpriced": 0}
    assert listed["today"]["cost_dollars"] >= cost
    shown = folder.run("threads").stdout
    assert f"{tokens:,} tokens, $" in shown
    assert shown.splitlines()[-1].startswith("today: ")


def test_models_lists_what_can_be_asked_and_what_the_others_need(folder: ServerFolder) -> None:
    text = folder.run("models").stdout
    assert "default fine · panel fine, other" in text
    assert "claude" not in text
    everything = json.loads(folder.run("models", "--all", "--json", "opus").stdout)
    opus = everything["models"][0]
    assert opus["unavailable"] == "ANTHROPIC_API_KEY is not set"
    assert opus["context_window"] > 100_000
    assert opus["input_dollars_per_million"] > 0


@pytest.mark.slow
def test_models_are_checked_by_asking_each_once(folder: ServerFolder, upstream: Upstream) -> None:
    before = len(upstream.requests)
    done = folder.run("models", "custom", "--check")
    assert done.returncode == 1, "one of them does not answer"
    lines = {line.split()[0]: line for line in done.stdout.splitlines()[1:]}
    assert lines["fine"].endswith("answers")
    assert "does not accept the key" in lines["locked"]
    assert KEY not in done.stdout
    assert len(upstream.requests) - before == len(lines)
    checks = json.loads(folder.run("models", "fine", "--check", "--json").stdout)["models"]
    assert [(check["name"], check["error"]) for check in checks] == [("fine", None)]
    assert 0 < checks[0]["seconds"] < 30


@pytest.mark.slow
def test_doctor_says_what_answers_and_how_to_mend_what_does_not(folder: ServerFolder) -> None:
    folder = ServerFolder(
        path=folder.path,
        models=folder.models,
        settings={"default_model": "fine", "default_panel": ["fine", "locked"]},
        environment={"OPENAI_API_KEY": "sk-doctor-0123456789"},
    )
    done = folder.run("doctor", "--json")
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 1, "something is at fault"
    assert any(what.startswith("fine (custom) answers in") for what in findings)
    fault = next(finding for finding in findings.values() if finding["state"] == "fault")
    assert fault["what"].startswith("locked does not answer: 'locked' (custom) does not accept the key")
    assert fault["mend"]
    assert "OPENAI_API_KEY is set (environment): openai" in findings
    assert any("ANTHROPIC_API_KEY (anthropic)" in what and what.startswith("not set:") for what in findings)
    assert "sk-doctor" not in done.stdout
    assert folder.run("doctor", "--no-ask").returncode == 0


def test_config_init_check_and_schema(tmp_path: Path) -> None:
    folder = ServerFolder(path=tmp_path)
    folder.write()
    made = folder.run("config", "init")
    assert made.returncode == 0, made.stderr
    assert (folder.work / ".zen" / "models.yaml").is_file()
    assert folder.run("config", "check").returncode == 0
    schema = json.loads(folder.run("config", "schema", "models").stdout)
    assert "models" in schema["properties"]
    (folder.work / ".zen" / "models.yaml").write_text("models:\n  mine:\n    aliasse: [x]\n", encoding="utf-8")
    wrong = folder.run("config", "check")
    assert wrong.returncode == 1
    assert "models.yaml:3: models.mine.aliasse: unknown key 'aliasse'. Did you mean 'aliases'?" in wrong.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_is_a_script_that_knows_the_commands(folder: ServerFolder, shell: str) -> None:
    done = folder.run("completion", shell)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name, _ in COMMANDS)


def test_serve_with_a_wrong_option_or_broken_settings_says_so(folder: ServerFolder, tmp_path: Path) -> None:
    wrong = folder.run("serve", "--prelud", input="")
    assert wrong.returncode == 2
    assert "Unknown option '--prelud'. Did you mean" in wrong.stderr
    (tmp_path / "server.yaml").write_text("default_model: [", encoding="utf-8")
    broken = folder.run("serve", "--config", str(tmp_path), input="")
    assert broken.returncode == 2
    assert "server.yaml" in broken.stderr
    assert broken.stdout == ""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGPIPE there")
def test_a_reader_that_leaves_early_is_no_error(folder: ServerFolder) -> None:
    folder.write()
    command = folder.command("models", "--all", "--json")
    with subprocess.Popen(
        command, env=folder.environ(), cwd=folder.work, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(30) == 0
    assert errors == b""
