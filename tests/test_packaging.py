"""The wheel, installed as uvx and pipx would: a fresh environment, the locked default install, nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.results import data_of, error_of
from tests.support.server import ServerFolder, connect, openai_model
from tests.upstream import Behaviour, Upstream

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parent.parent
BIN = "Scripts" if sys.platform == "win32" else "bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledFolder(ServerFolder):
    """A server's folder whose `zen` is the one of another environment."""

    program: str

    def command(self, *arguments: str) -> list[str]:
        """The installed command."""
        return [self.program, *arguments]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """`zen` in an environment of its own, without the local runtime."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(home, with_pip=False)
    python = str(home / BIN / "python")
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--python", python]
    lock = str(ROOT / "requirements" / "base.txt")
    for rest in (["--require-hashes", "--compile-bytecode", "-r", lock], ["--no-deps", str(wheel)]):
        subprocess.run(
            [*uv, *rest], check=True, capture_output=True, env={**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
        )
    return str(home / BIN / "zen")


@pytest.fixture
def installed(program: str, upstream: Upstream, tmp_path: Path) -> InstalledFolder:
    """A folder with a model at the upstream."""
    upstream.behave("fine", Behaviour(text="An answer."))
    return InstalledFolder(path=tmp_path, models={"fine": openai_model(upstream.url)}, program=program)


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"zen_mcp"}
    for needed in (
        "zen_mcp/py.typed",
        "zen_mcp/config/defaults/models.yaml",
        "zen_mcp/plugins/consensus/prompt.md",
        "zen_mcp/providers/weights/smollm2-135m.txt",
        "zen_mcp/storage/migrations/0001_threads.sql",
    ):
        assert needed in names


def test_the_commands_of_the_readme_work(installed: InstalledFolder) -> None:
    assert installed.run("--version").stdout.startswith("zen ")
    assert installed.run("ask", "Hello?").stdout == "An answer.\n"
    assert "1 of 1 answered" in installed.run("consensus", "-m", "fine", "Hello?").stdout
    assert "fine" in installed.run("models").stdout
    doctor = installed.run("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "the local runtime is not installed" in doctor.stdout


async def test_serve_works_and_says_what_the_local_panel_lacks(installed: InstalledFolder) -> None:
    async with connect(installed) as client:
        answer = data_of(await client.call_tool("chat", {"prompt": "Hello?"}))
        weights = installed.path / "cache" / "weights"
        weights.mkdir(parents=True)
        (weights / "smollm2-135m.gguf").write_bytes(b"GGUF")
        error = error_of(await client.call_tool("chat", {"prompt": "x", "model": "local-smol"}))
    assert answer["text"] == "An answer."
    assert error["problem"] == "The local runtime is not installed."
    assert error["fix"] == "Install the extra: pip install 'zen-mcp-server[local]'"


def test_the_default_install_stays_lean(program: str) -> None:
    listed = subprocess.run(
        [str(Path(sys.executable).with_name("uv")), "pip", "list", "--python", str(Path(program).with_name("python"))],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.lower()
    for heavy in ("xllamacpp", "redis", "psycopg", "pytest", "torch", "fastapi"):
        assert f"\n{heavy} " not in listed
