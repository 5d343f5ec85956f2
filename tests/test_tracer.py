"""The tracer through an MCP client: call paths and dependencies of real code in each language."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from tests.support.results import data_of, error_of, text_of
from tests.support.server import ServerFolder
from tests.upstream import Behaviour, Upstream

pytestmark = pytest.mark.anyio

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {"fine": (Behaviour(text="It saves."), {})}
SETTINGS = {"tools": "full", "default_model": "fine"}
ANSWER_SECONDS = 100.0

FILES = {
    "shop/__init__.py": "",
    "shop/store.py": """
from __future__ import annotations
from shop.log import Log, emit

class Store:
    def __init__(self, log: Log) -> None:
        self._log = log

    @property
    def log(self) -> Log:
        return self._log

    def save(self, text: str) -> None:
        self._log.write(check(text))
        later(self.again, self.log)

    def again(self) -> None:
        self.save("again")

class BigStore(Store):
    def save(self, text: str) -> None:
        super().save(text)
        emit(text)

def check(text: str) -> str:
    return text.strip()

def later(what, log): ...
""",
    "shop/log.py": """
class Log:
    def write(self, line: str) -> None:
        emit(line)

def emit(line: str) -> None:
    print(line)
""",
    "shop/app.py": """
import json
from .store import Store as Shop
from . import log as logs

def main() -> None:
    shop = Shop(logs.Log())
    shop.save(json.dumps(1))
    unknown().rarely_named()

class Odd:
    def rarely_named(self): ...
""",
    "shop/broken.py": "def main(:\n",
    "web/store.ts": """
export interface Saver { save(text: string): void }
export class Store implements Saver {
  constructor(private log: Logger) {}
  save(text: string): void { this.log.write(tidy(text)); }
}
export class Logger { write(line: string): void { sent(line); } }
export function tidy(text: string): string { return text; }
const sent = (line: string) => { console.log(line); };
""",
    "web/page.tsx": """
import { Store as Shop, Logger } from "./store.js";
export function Page() {
  const store = new Shop(new Logger());
  store.save("x");
}
""",
    "web/old.js": 'const { tidy } = require("./store");\nfunction old() { return tidy("z"); }\n',
    "go/store/store.go": """package store
type Log struct{}
func (l *Log) Write(s string) { emit(s) }
type Store struct { log *Log }
func New() *Store { return &Store{} }
func (s *Store) Keep(t string) { s.log.Write(t) }
""",
    "go/store/emit.go": "package store\nfunc emit(s string) { println(s) }\n",
    "go/main.go": 'package main\nimport "acme.org/go/store"\nfunc main() { s := store.New(); s.Keep("x") }\n',
    "java/acme/Vault.java": """package acme;
public class Vault {
  private Log log;
  void keep(String t) { log.write(checked(t)); }
  String checked(String t) { return t; }
}
""",
    "java/acme/Log.java": "package acme;\npublic class Log { void write(String s) { System.out.println(s); } }\n",
    "java/acme/App.java": "package acme;\nclass App { void go() { Vault v = new Vault(); v.keep(null); } }\n",
    "rust/src/chest.rs": """
pub trait Keeper { fn keep(&self, t: &str); }
pub struct Log {}
impl Log { pub fn write(&self, t: &str) { emit(t); } }
pub struct Chest { log: Log }
impl Chest { pub fn new() -> Chest { Chest { log: Log {} } } }
impl Keeper for Chest { fn keep(&self, t: &str) { self.log.write(t); } }
fn emit(t: &str) { println!("{}", t); }
""",
    "rust/src/main.rs": """mod chest;
use crate::chest::{Chest as Box2, Keeper};
fn main() { let c = Box2::new(); c.keep("x"); }
""",
    "node_modules/dep/index.js": "function save() {}\n",
    "ignored/save.py": "def check(): ...\n",
    ".gitignore": "ignored/\n",
}


@pytest.fixture(scope="module", autouse=True)
def code(folder: ServerFolder) -> None:
    for name, text in FILES.items():
        file = folder.work / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


async def traced(client: Client, target: str, **more: Any) -> str:
    with anyio.fail_after(ANSWER_SECONDS):
        result = await client.call_tool("tracer", {"target": target, **more})
    data_of(result)
    return text_of(result)


async def test_a_method_is_traced_to_its_callers_and_to_what_it_calls(client: Client) -> None:
    assert await traced(client, "Store.save", files=["shop"]) == (
        "Store.save shop/store.py:13\n"
        "called by:\n"
        "  main shop/app.py:8\n"
        "  Store.again shop/store.py:18\n"
        "    Store.save shop/store.py:15 (passed on) (see above)\n"
        "  BigStore.save shop/store.py:22\n"
        "    main shop/app.py:8 (see above)\n"
        "    Store.again shop/store.py:18 (see above)\n"
        "calls:\n"
        "  Log.write shop/log.py:3\n"
        "    emit shop/log.py:6\n"
        "  check shop/store.py:25\n"
        "  later shop/store.py:28\n"
        "  Store.again shop/store.py:17 (passed on) (see above)\n"
        "note: shop/broken.py is left out: not valid Python (SyntaxError)"
    )


async def test_nodes_and_edges_are_given_as_data_on_request(client: Client) -> None:
    arguments = {"target": "shop/log.py:emit", "depth": 1, "files": ["shop"], "graph": True}
    data = data_of(await client.call_tool("tracer", arguments))
    assert data["edges"] == [
        {"from": "Log.write", "to": "emit", "at": "shop/log.py:4", "kind": "calls"},
        {"from": "BigStore.save", "to": "emit", "at": "shop/store.py:23", "kind": "calls"},
    ]
    assert {"name": "emit", "at": "shop/log.py:6"} in data["nodes"]


async def test_a_call_known_by_its_name_alone_is_marked(client: Client) -> None:
    text = await traced(client, "rarely_named", files=["shop/app.py"])
    assert "main shop/app.py:9 ?" in text
    assert "?: guessed by the name alone" in text


@pytest.mark.parametrize(
    ("target", "caller", "deepest"),
    [
        ("web/store.ts:Store.save", "Page web/page.tsx:5", "sent web/store.ts:9"),
        ("Store.Keep", "main go/main.go:3", "emit go/store/emit.go:2"),
        ("Vault.keep", "App.go java/acme/App.java:2", "Log.write java/acme/Log.java:2"),
        ("Chest::keep", "main rust/src/main.rs:3", "emit rust/src/chest.rs:8"),
    ],
)
async def test_other_languages_are_traced_too(client: Client, target: str, caller: str, deepest: str) -> None:
    lines = [line.strip() for line in (await traced(client, target)).splitlines()]
    assert lines.index(caller) < lines.index("calls:") < lines.index(deepest)


async def test_scripts_that_require_are_found_across_javascript_and_typescript(client: Client) -> None:
    assert "old web/old.js:2" in await traced(client, "tidy")


async def test_a_module_is_shown_with_what_it_imports_and_who_imports_it(client: Client) -> None:
    assert await traced(client, "shop.store", mode="dependencies", depth=1) == (
        "shop/store.py\n"
        "imports:\n"
        "  shop/log.py\n"
        "imported by:\n"
        "  shop/app.py:3\n"
        "note: shop/broken.py is left out: not valid Python (SyntaxError)"
    )
    assert "web/page.tsx:2" in await traced(client, "web/store.ts", mode="dependencies")


async def test_a_class_is_shown_with_bases_subclasses_and_users(client: Client) -> None:
    lines = (await traced(client, "shop.store.Store", mode="dependencies")).splitlines()
    assert lines[:3] == ["Store shop/store.py:5", "derived by:", "  BigStore shop/store.py:20"]
    assert "  shop/app.py:7" in lines
    assert "derives from Saver web/store.ts:2" in await traced(client, "store.ts:Store", mode="dependencies")


async def test_a_name_with_several_meanings_lists_them(client: Client) -> None:
    result = await client.call_tool("tracer", {"target": "save"})
    data = data_of(result)
    assert "Store.save shop/store.py:13" in data["candidates"]
    assert "BigStore.save shop/store.py:21" in data["candidates"]
    assert text_of(result).startswith("'save' may mean several; call again with one of them as path:name:\n")


async def test_ignored_and_vendored_files_are_not_looked_at(client: Client) -> None:
    assert await traced(client, "check", depth=1)  # not ambiguous: ignored/save.py has one, too


async def test_an_unknown_name_gets_the_nearest(client: Client) -> None:
    error = error_of(await client.call_tool("tracer", {"target": "tidied"}))
    assert error["problem"].startswith("There is no 'tidied' in the 16 source files looked at")
    assert error["fix"] == "Did you mean 'tidy'?"


@pytest.mark.parametrize("target", ["", "   ", ":", "..", "a" * 5_000, "\x00", "x:y:z"])
async def test_no_target_is_too_odd(client: Client, target: str) -> None:
    assert error_of(await client.call_tool("tracer", {"target": target}))["kind"] == "InvalidArguments"


async def test_folders_outside_are_refused(client: Client) -> None:
    error = error_of(await client.call_tool("tracer", {"target": "check", "files": ["/etc"]}))
    assert error["kind"] == "FileRefused"


async def test_a_long_result_is_paged_and_loses_nothing(client: Client, work: Path) -> None:
    many = "".join(f"def caller_with_a_long_name_{number}():\n    popular()\n\n" for number in range(300))
    (work / "many.py").write_text(f"def popular(): ...\n\n{many}", encoding="utf-8")
    result = await client.call_tool("tracer", {"target": "popular", "files": ["many.py"]})
    data = data_of(result)
    assert len(text_of(result)) < 8_500
    more = {"continuation_id": data["continuation_id"], "turn": data["turn"], "offset": data["next_offset"]}
    rest = data_of(await client.call_tool("threads", more))["text"]
    assert "caller_with_a_long_name_299" in rest
    (work / "many.py").unlink()


async def test_ten_thousand_files_are_the_limit(client: Client, work: Path) -> None:
    folder = work / "huge"
    await anyio.to_thread.run_sync(_write_many, folder)
    text = await traced(client, "huge/m0.py:target", files=["huge"])
    assert "caller huge/m9999.py:3" in text or "only 10,000 files were looked at" in text
    assert "only 10,000 files were looked at; 5 more were not" in text
    await anyio.to_thread.run_sync(lambda: subprocess.run(["rm", "-rf", str(folder)], check=True))


def _write_many(folder: Path) -> None:
    folder.mkdir()
    (folder / "m0.py").write_text("def target(): ...\n", encoding="utf-8")
    for number in range(1, 10_005):
        (folder / f"m{number}.py").write_text("x = 1\n", encoding="utf-8")
    (folder / "m9.py").write_text("from m0 import target\ndef caller():\n    target()\n", encoding="utf-8")


async def test_a_model_explains_the_path_with_the_code_before_it(client: Client, upstream: Upstream) -> None:
    arguments = {"target": "Store.save", "files": ["shop"], "explain": True}
    data = data_of(await client.call_tool("tracer", arguments))
    sent = upstream.asked("fine")[-1].messages[-1]["content"]
    assert data["text"] == "It saves."
    assert data["continuation_id"]
    assert "Store.save shop/store.py:13\ncalled by:" in sent
    assert "### shop/store.py:13\n```\n    def save(self, text: str) -> None:" in sent


async def test_without_the_grammars_python_still_works(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def one():\n    two()\n\ndef two(): ...\n", encoding="utf-8")
    (tmp_path / "b.js").write_text("function two() {}\n", encoding="utf-8")
    program = (
        "import sys; sys.modules['tree_sitter'] = None\n"
        "from pathlib import Path\n"
        "from zen_mcp.plugins.tracer.trace import TraceRequest, trace\n"
        f"root = Path({str(tmp_path)!r}).resolve()\n"
        "found = trace(TraceRequest(target='two', mode='precision', roots=(root,), folders=(root,), files=(), depth=2,"
        " seconds=30))\n"
        "print(found.text); print(*found.notes, sep='\\n')"
    )
    with anyio.fail_after(ANSWER_SECONDS):
        done = await anyio.run_process([ServerFolder(path=tmp_path).command()[0], "-c", program])
    out = done.stdout.decode()
    assert "one a.py:2" in out
    assert "its grammar is not installed (pip install 'zen-mcp-server[code]')" in out
