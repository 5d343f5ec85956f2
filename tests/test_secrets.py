"""Keys that stand in no settings file: in a file, told by a command, in the keyring."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.results import data_of
from tests.support.server import ServerFolder, connect
from tests.upstream import Upstream

pytestmark = pytest.mark.anyio

KEYRING = """
import keyring.backend

class Memory(keyring.backend.KeyringBackend):
    priority = 1

    def get_password(self, service, username):
        return "key-of-the-keyring" if (service, username) == ("openai", "me") else None

    def set_password(self, service, username, password):
        raise NotImplementedError

    def delete_password(self, service, username):
        raise NotImplementedError
"""


def model(upstream: Upstream, key: str) -> dict[str, Any]:
    return {"provider": "custom", "base_url": upstream.url, "api_key": key}


@pytest.mark.parametrize(
    ("notation", "sent"),
    [
        ("${OURS}", "key-of-the-file"),
        ("${cmd:%s -c 'print(\"key-of-the-command\")'}" % sys.executable, "key-of-the-command"),  # noqa: UP031 - braces
        ("${keyring:openai/me}", "key-of-the-keyring"),
    ],
)
async def test_a_key_from_elsewhere_reaches_the_vendor_and_nothing_else(
    tmp_path: Path, upstream: Upstream, notation: str, sent: str
) -> None:
    (tmp_path / "key").write_text("key-of-the-file\n")
    (tmp_path / "memory_keyring.py").write_text(KEYRING)
    environment = {
        "OURS_FILE": str(tmp_path / "key"),
        "PYTHON_KEYRING_BACKEND": "memory_keyring.Memory",
        "PYTHONPATH": str(tmp_path),
    }
    folder = ServerFolder(path=tmp_path / "server", models={"fine": model(upstream, notation)}, environment=environment)
    async with connect(folder) as client:
        assert data_of(await client.call_tool("chat", {"prompt": "x", "model": "fine"}))["text"] == "ok"
    assert upstream.asked("fine")[-1].headers["authorization"] == f"Bearer {sent}"
    assert sent.encode() not in (folder.path / "state" / "zen.db").read_bytes()
    assert sent not in (folder.path / "stderr.log").read_text()


@pytest.mark.parametrize("notation", ["${NO_SUCH_KEY}", "${cmd:false}", "${cmd:/no/such/program}", "${keyring:a/b}"])
def test_a_key_that_cannot_be_had_makes_its_model_unavailable(tmp_path: Path, notation: str) -> None:
    nowhere = {
        "NO_SUCH_KEY_FILE": str(tmp_path / "nowhere"),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }
    mine = {"provider": "custom", "base_url": "http://127.0.0.1:9/v1", "api_key": notation}
    folder = ServerFolder(path=tmp_path, models={"mine": mine}, environment=nowhere)
    lines = folder.run("models", "--all", timeout_seconds=90).stdout.splitlines()
    found = [line for line in lines if "mine" in line.split()]
    assert len(found) == 1
    assert "is not set" in found[0]


def test_a_checkout_can_neither_run_commands_nor_name_files_to_be_sent_as_keys(tmp_path: Path) -> None:
    folder = ServerFolder(path=tmp_path)
    folder.write()
    checkout = folder.work / ".zen"
    checkout.mkdir()
    target = tmp_path / "ran"
    entry = {"provider": "custom", "base_url": "http://127.0.0.1:9/v1", "api_key": f"${{cmd:touch {target}}}"}
    (checkout / "models.yaml").write_text(json.dumps({"models": {"evil": entry}}))
    done = folder.run("config", "check")
    assert done.returncode == 1
    assert "works in your own settings only, not in a checkout's '.zen'" in done.stdout
    assert not target.exists()
    (tmp_path / "private").write_text("a-private-file")
    (checkout / ".env").write_text(f"STOLEN_FILE={tmp_path / 'private'}\n")
    entry["api_key"] = "${STOLEN}"
    (checkout / "models.yaml").write_text(json.dumps({"models": {"evil": entry}}))
    listed = folder.run("models", "--all").stdout
    assert "STOLEN is not set" in listed


WRITTEN_DOWN: dict[str, dict[str, Any]] = {
    "metrics_token": {"http": {"metrics_token": "a-token-for-prometheus"}},
    "state_key": {"http": {"state_key": ["k" * 32]}},
    "database_url": {"database_url": "postgresql://zen:a-password@127.0.0.1:9/zen"},
    "database_url-query": {"database_url": "postgresql://127.0.0.1:9/zen?user=zen&password=x"},
    "redis_url": {"redis_url": "redis://:a-password@127.0.0.1:9/0"},
    "push_url": {"metrics": {"push_url": "http://zen:a-password@127.0.0.1:9091"}},
    "headers": {"telemetry": {"headers": {"authorization": "Bearer x"}}},
}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
@pytest.mark.parametrize("settings", WRITTEN_DOWN.values(), ids=WRITTEN_DOWN)
def test_a_secret_written_into_a_file_that_others_can_read_is_warned_of(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    folder = ServerFolder(path=tmp_path, settings=settings)
    folder.write()
    file = tmp_path / "config" / "server.yaml"
    warning = f"warning: {file} holds keys or passwords and others can read it. chmod 600 '{file}' mends it."
    file.chmod(0o640)
    done = folder.run("config", "check")
    assert warning in done.stdout.splitlines(), done.stdout
    assert "a-password" not in done.stdout + done.stderr
    file.chmod(0o600)
    done = folder.run("config", "check")
    assert done.returncode == 0, done.stdout
    assert "others can read" not in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_keys_of_models_and_channels_count_and_variables_do_not(tmp_path: Path) -> None:
    key = "sk-0123456789abcdef"
    way = {"name": "one", "base_url": "http://127.0.0.1:9/v1", "api_key": key}
    mine = {"provider": "custom", "base_url": "http://127.0.0.1:9/v1", "deployments": [way]}
    config = tmp_path / "config"
    literal = ServerFolder(path=tmp_path, models={"mine": mine}, settings={"redis_url": "redis://127.0.0.1:9/0"})
    literal.write()
    hook = {"version": "1.0", "channels": {"ops": {"kind": "webhook", "url": "https://hooks.invalid/secret"}}}
    (config / "alerts.yaml").write_text(json.dumps(hook), encoding="utf-8")
    for file in config.iterdir():
        file.chmod(0o644)
    said = literal.run("config", "check").stdout
    assert [file.name for file in sorted(config.iterdir()) if f"{file} holds keys" in said] == [
        "alerts.yaml",
        "models.yaml",
    ]
    settings = {"redis_url": "redis://:${PASSWORD}@127.0.0.1:9/0", "http": {"state_key": "${KEY}"}}
    variables = {"PASSWORD": "p", "KEY": "k" * 32}
    named = ServerFolder(path=tmp_path / "named", settings=settings, environment=variables)
    assert "others can read" not in named.run("config", "check").stdout
