"""`zen models`: which models can be asked, and what is missing for the others."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio

from zen_mcp.app import App
from zen_mcp.catalog import Catalog, Model
from zen_mcp.cli import discover
from zen_mcp.cli.session import open_app
from zen_mcp.cli.table import aligned
from zen_mcp.config.load import load_config
from zen_mcp.errors import ModelUnavailable, ZenError
from zen_mcp.ground import load_tuned
from zen_mcp.types import JSONObject, Message, ModelRequest

_CHECKS_AT_ONCE = 16
_CHECK_SECONDS = 30.0
_CHECK_TOKENS = 64
"""Enough for a reasoning model to say anything at all."""
_HEADER = ("NAME", "VENDOR", "ALIASES", "CONTEXT", "$/M IN", "$/M OUT", "STATUS")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen models` takes."""
    parser.add_argument(
        "filter",
        nargs="?",
        default="",
        help="part of a name, alias or vendor; or discover: find Ollama, vLLM and others",
    )
    parser.add_argument("--all", action="store_true", help="also those that cannot be asked now, with what to set")
    parser.add_argument("--check", action="store_true", help="ask each of them once: seconds, or what is wrong")
    parser.add_argument("--at", metavar="URL", action="append", help="with discover: where to look; may be repeated")
    parser.add_argument("--write", action="store_true", help="with discover: add what is found to your models.yaml")
    parser.add_argument("--config", metavar="DIR", help="a settings folder above all others")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the models."""
    if arguments.filter == "discover":
        return discover.run(arguments)
    if arguments.check:
        return _check(arguments)
    config = load_config(Path(arguments.config) if arguments.config else None, environ=os.environ)
    catalog = Catalog.from_config(load_tuned(config, environ=os.environ))
    fitting = [model for model in catalog.models if _fits(model, arguments.filter.strip().lower())]
    shown = [model for model in fitting if arguments.all or model.unavailable is None]
    default, panel = _chosen(catalog)
    if arguments.json:
        entries = [_entry(model) for model in shown]
        text = json.dumps({"default": default, "panel": panel, "models": entries}, ensure_ascii=False, indent=2)
    else:
        text = _text(shown, hidden=len(fitting) - len(shown), default=default, panel=panel)
    sys.stdout.write(text + "\n")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    """Ask every model that fits once, all at the same time; 1 when one did not answer."""
    checks = anyio.run(_ask_all, arguments.config, arguments.filter.strip().lower())
    if arguments.json:
        sys.stdout.write(
            json.dumps({"models": [asdict(check) for check in checks]}, ensure_ascii=False, indent=2) + "\n"
        )
    elif not checks:
        sys.stdout.write("No model can be asked; zen models --all shows what each of them needs.\n")
    else:
        rows = [(one.name, one.vendor, f"{one.seconds:.2f} s", one.error or "answers") for one in checks]
        sys.stdout.write(aligned([("NAME", "VENDOR", "TIME", "STATUS"), *rows]) + "\n")
    return 1 if any(check.error for check in checks) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What became of one short question; `error` is None for an answer."""

    name: str
    vendor: str
    seconds: float
    error: str | None = None


async def _ask_all(config: str | None, wanted: str) -> list[Check]:
    found: dict[str, Check] = {}
    async with open_app(config) as app:
        models = [one for one in app.catalog.available() if _fits(one, wanted) and not one.members]
        room = anyio.CapacityLimiter(_CHECKS_AT_ONCE)

        async def one(model: Model) -> None:
            async with room:
                found[model.name] = await _ask_one(app, model)

        async with anyio.create_task_group() as group:
            for model in models:
                group.start_soon(one, model)
    return [found[model.name] for model in models]


async def _ask_one(app: App, model: Model) -> Check:
    started = time.perf_counter()
    request = ModelRequest(
        request_id=f"c-{secrets.token_hex(6)}",
        model=model.name,
        messages=(Message(role="user", text="Say ok."),),
        max_output_tokens=_CHECK_TOKENS,
        timeout_seconds=_CHECK_SECONDS,
        fallbacks=False,
    )
    error = None
    try:
        await app.gateway.ask(request)
    except ZenError as exc:
        error = str(exc)
    return Check(name=model.name, vendor=model.vendor, seconds=round(time.perf_counter() - started, 2), error=error)


def _fits(model: Model, wanted: str) -> bool:
    return any(wanted in word.lower() for word in (model.name, model.vendor, *model.aliases))


def _chosen(catalog: Catalog) -> tuple[str | None, list[str]]:
    """The default model and panel; None and empty when no model can be asked."""
    try:
        return catalog.default_model().name, [model.name for model in catalog.default_panel()]
    except ModelUnavailable:
        return None, []


def _text(shown: list[Model], *, hidden: int, default: str | None, panel: list[str]) -> str:
    lines = [aligned([_HEADER, *(_row(model) for model in shown)])] if shown else ["No model fits."]
    lines.append("")
    if default:
        lines.append(f"default {default} · panel {', '.join(panel)}")
    if hidden:
        lines.append(f"{hidden} more cannot be asked now: zen models --all shows what each of them needs")
    return "\n".join(lines).rstrip()


def _row(model: Model) -> tuple[str, ...]:
    return (
        model.name,
        model.vendor,
        ", ".join(model.aliases) or "-",
        _tokens(model.context_window),
        _price(model.price.input_dollars_per_token),
        _price(model.price.output_dollars_per_token),
        model.unavailable or "available",
    )


def _tokens(count: int | None) -> str:
    if count is None:
        return "?"
    return f"{count / 1_000_000:.3g}M" if count >= 1_000_000 else f"{count // 1000}k"


def _price(dollars_per_token: float | None) -> str:
    return "?" if dollars_per_token is None else f"{_per_million(dollars_per_token):g}"


def _per_million(dollars_per_token: float) -> float:
    return round(dollars_per_token * 1_000_000, 6)


def _entry(model: Model) -> JSONObject:
    """One model as data; null is unknown."""
    price_in, price_out = model.price.input_dollars_per_token, model.price.output_dollars_per_token
    return {
        "name": model.name,
        "vendor": model.vendor,
        "litellm_model": model.litellm_model,
        "aliases": list(model.aliases),
        "description": model.description,
        "context_window": model.context_window,
        "max_output": model.max_output,
        "input_dollars_per_million": None if price_in is None else _per_million(price_in),
        "output_dollars_per_million": None if price_out is None else _per_million(price_out),
        "available": model.unavailable is None,
        "unavailable": model.unavailable,
        "key_variable": model.key_variable,
    }
