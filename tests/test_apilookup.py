"""The apilookup tool through an MCP client: packages of the workspace's own environment, none of them imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from tests.support.results import data_of, error_of, text_of
from tests.support.server import ServerFolder, connect

pytestmark = pytest.mark.anyio

SETTINGS = {"tools": "full"}
MODELS: dict[str, Any] = {}

PYTHON = {
    "acme/__init__.py": '''
"""Acme's things."""
raise SystemExit("foreign code must not run")
from ._inner import make as make, Base
from ._inner import *
try:
    from acme.fast import quick
except ImportError:
    def quick(a): ...
__all__ = ["make", "Thing", "quick"]

class Thing(Base):
    """A thing."""
    size: int = 0

    def __init__(self, size: int, *, colour: str = "red") -> None: ...

    async def turn(self, by: float, /) -> bool:
        """Turn it."""

    def _hidden(self): ...
''',
    "acme/_inner.py": '''
from typing import overload

class Base:
    @classmethod
    def load(cls, path: str) -> "Base":
        """Load one."""

@overload
def make(kind: str) -> int: ...
@overload
def make(kind: int) -> str: ...
def make(kind):
    """Make one."""

def starred(x=1): ...
''',
    "acme/broken.py": "def (",
    "acme_tools-2.5.1.dist-info/METADATA": (
        "Metadata-Version: 2.4\nName: Acme.Tools\nVersion: 2.5.1\nSummary: Things for coyotes\n"
        "Project-URL: Documentation, https://acme.example/docs\n"
    ),
    "acme_tools-2.5.1.dist-info/top_level.txt": "acme\n",
    "plain.py": "def here(): ...\n",
}
SCRIPT = {
    "road/package.json": {
        "name": "road",
        "version": "3.1.4",
        "description": "Runs",
        "homepage": "https://road.example",
        "exports": {".": {"types": "./types/index.d.ts", "default": "./index.js"}},
    },
    "@acme/kit/package.json": {"name": "@acme/kit", "version": "0.9.0"},
    "@types/acme__kit/package.json": {"name": "@types/acme__kit", "version": "1.0.0", "types": "index.d.ts"},
    "evil/package.json": {"name": "evil", "version": "1.0.0", "types": "../../../secret.d.ts"},
}
TYPES = {
    "road/types/index.d.ts": (
        'export * from "./runner.js";\nexport { inner as outer } from "./runner";\n'
        "/**\n * Starts it.\n * @param at where\n */\n"
        "export declare function start(at: { x: number }): Promise<void>;\n"
        "export declare function start(at: string): void;\n"
    ),
    "road/types/runner.d.ts": (
        "export interface Runner {\n  speed: number;\n  run(): void;\n}\n"
        "export declare const inner: (a: number) => string;\n"
    ),
    "@types/acme__kit/index.d.ts": "export function kit(): void;\n",
}


@pytest.fixture(scope="module", autouse=True)
def packages(folder: ServerFolder) -> None:
    site = folder.work / ".venv" / "lib" / "python3.11" / "site-packages"
    modules = folder.work / "node_modules"
    texts = {site / name: text for name, text in PYTHON.items()}
    texts |= {modules / name: json.dumps(value) for name, value in SCRIPT.items()}
    texts |= {modules / name: text for name, text in TYPES.items()}
    for file, text in texts.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    (folder.path / "secret.d.ts").write_text("export function secret(): void;", encoding="utf-8")


async def look(client: Client, name: str, **more: Any) -> dict[str, Any]:
    with anyio.fail_after(60):
        return data_of(await client.call_tool("apilookup", {"name": name, **more}))


async def test_a_package_is_told_with_version_home_and_what_to_search(client: Client) -> None:
    assert await look(client, "acme-tools", topic="explosives") == {
        "package": "Acme.Tools",
        "version": "2.5.1",
        "summary": "Things for coyotes",
        "home": "https://acme.example/docs",
        "where": "work/.venv",
        "language": "python",
        "signature": "module with: Thing, make, quick",
        "document": "Acme's things.",
        "at": "acme/__init__.py",
        "search": 'Search the web for: "Acme.Tools 2.5 explosives". Begin at https://acme.example/docs. '
        "2.5.1 is installed: later pages may not apply to it.",
    }


@pytest.mark.parametrize(
    ("name", "signature", "document", "at"),
    [
        (
            "acme.Thing",
            "class Thing(Base)\n    def __init__(self, size: int, *, colour: str='red') -> None\n"
            "    size: int = 0\n    methods: turn",
            "A thing.",
            "acme/__init__.py:12",
        ),
        ("acme.Thing.turn", "async def turn(self, by: float, /) -> bool", "Turn it.", "acme/__init__.py:18"),
        ("acme.Thing.load", "@classmethod\ndef load(cls, path: str) -> 'Base'", "Load one.", "acme/_inner.py:6"),
        (
            "acme.make",
            "@overload\ndef make(kind: str) -> int\n@overload\ndef make(kind: int) -> str\ndef make(kind)",
            "Make one.",
            "acme/_inner.py:10",
        ),
        ("acme.starred", "def starred(x=1)", "", "acme/_inner.py:16"),
        ("acme.quick", "def quick(a)", "", "acme/__init__.py:9"),
    ],
)
async def test_a_name_is_followed_to_its_source(
    client: Client, name: str, signature: str, document: str, at: str
) -> None:
    data = await look(client, name)
    assert data["signature"] == signature
    assert data.get("document", "") == document
    assert data["at"] == at


async def test_what_a_package_lacks_is_said_with_the_nearest_name(client: Client) -> None:
    data = await look(client, "acme.Thingy")
    assert data["missing"] == "Acme.Tools 2.5.1 has no 'Thingy'. Did you mean 'Thing'?"


async def test_declarations_of_javascript_packages_are_found(client: Client) -> None:
    data = await look(client, "road.start")
    assert data["version"] == "3.1.4"
    assert data["signature"] == (
        "export declare function start(at: { x: number }): Promise<void>;\n"
        "export declare function start(at: string): void;"
    )
    assert data["document"] == "Starts it.\n@param at where"
    assert data["at"] == "road/types/index.d.ts:7"
    runner = (await look(client, "road.Runner"))["signature"]
    assert runner == "export interface Runner {\n  speed: number;\n  run(): void;\n}"
    assert (await look(client, "road.outer"))["at"] == "road/types/runner.d.ts:5"
    assert (await look(client, "road"))["signature"] == "exports: Runner, inner, outer, start"
    assert (await look(client, "@acme/kit.kit"))["signature"] == "export function kit(): void;"
    assert "Did you mean 'start'?" in (await look(client, "road.stat"))["missing"]


async def test_declarations_outside_of_the_package_are_not_read(client: Client) -> None:
    assert "signature" not in await look(client, "evil")


async def test_the_standard_library_is_known(client: Client) -> None:
    data = await look(client, "json.dumps")
    assert data["where"] == "Python's standard library"
    assert data["signature"].startswith("def dumps(obj, *, skipkeys=False")


async def test_what_is_not_installed_is_said_and_searched_for_without_a_version(client: Client) -> None:
    result = await client.call_tool("apilookup", {"name": "acme-tool", "language": "python"})
    assert text_of(result) == (
        "'acme-tool' is not installed in work/.venv. Did you mean 'Acme.Tools'?\n"
        'Search the web for: "acme-tool". Find the newest version of acme-tool and its date first.'
    )


async def test_a_module_without_a_package_is_read_from_its_source(client: Client) -> None:
    data = await look(client, "plain.here")
    assert data["signature"] == "def here()"
    assert data["where"] == "work/.venv, from source"


async def test_without_an_environment_the_servers_own_is_said(tmp_path: Path) -> None:
    async with connect(ServerFolder(path=tmp_path, settings=SETTINGS)) as session:
        data = await look(session, "anyio.open_process")
    assert data["where"].startswith("the server's own Python 3.")
    assert data["signature"].startswith("async def open_process(command: ")


@pytest.mark.parametrize("name", ["", " ", "a b", "\x00", "x" * 400])
async def test_odd_names_are_refused(client: Client, name: str) -> None:
    assert error_of(await client.call_tool("apilookup", {"name": name}))["kind"] == "InvalidArguments"


@pytest.mark.parametrize("name", ["../../etc.passwd", "..", "@", "/etc/passwd", "acme..make", ".acme", "acme."])
async def test_no_name_leads_out_of_the_environment(client: Client, name: str) -> None:
    data = await look(client, name)
    assert "signature" not in data or data["at"].startswith("acme/")
