"""`zen models discover`: model servers on this machine, as entries for models.yaml."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import anyio

from zen_mcp.catalog import Catalog
from zen_mcp.config.additions import add_models, entry_yaml
from zen_mcp.config.folders import user_config_path
from zen_mcp.config.load import load_config
from zen_mcp.errors import InvalidArguments
from zen_mcp.ground import load_tuned
from zen_mcp.providers.self_hosted import USUAL_PLACES, FoundModel, FoundServer, find_servers
from zen_mcp.types import JSONObject

_PREFIXES = {"ollama": "ollama_chat"}
Entries = dict[str, tuple[Mapping[str, object], str]]


def run(arguments: argparse.Namespace) -> int:
    """Look, print, and add to the user's models.yaml where that is wished; 1 when no server answered."""
    places = [_checked(url) for url in arguments.at or USUAL_PLACES]
    servers = anyio.run(find_servers, places)
    config = load_config(Path(arguments.config) if arguments.config else None, environ=os.environ)
    catalog = Catalog.from_config(load_tuned(config, environ=os.environ))
    entries, known = _entries(servers, catalog)
    path = Path(arguments.config or user_config_path(os.environ)) / "models.yaml"
    if arguments.write and entries:
        add_models(path, entries)
    if arguments.json:
        _print_json(servers, entries)
    else:
        _print(places, servers, entries, known, written=path if arguments.write and entries else None)
    return 0 if servers else 1


def _checked(url: str) -> str:
    """An address as it was given, with http:// where that was left out.

    Raises:
        InvalidArguments: it is none.
    """
    whole = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(whole)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fine = False
    if not fine:
        raise InvalidArguments(f"'{url}' is no address of a server.", "Write --at http://HOST:PORT.")
    return whole


def _entries(servers: Sequence[FoundServer], catalog: Catalog) -> tuple[Entries, list[str]]:
    """The new models as entries by name, and the names of those that are configured already."""
    entries: Entries = {}
    known = list[str]()
    taken = {word.lower(): one for one in catalog.models for word in (one.name, *one.aliases)}
    there = {(one.litellm_model, (one.base_url or "").rstrip("/")): one.name for one in catalog.models}
    for server in servers:
        for model in server.models:
            settings = _settings(server, model)
            place = (str(settings["litellm_model"]), str(settings["base_url"]))
            if place in there:
                known.append(there[place])
                continue
            entries[_name(server, model, {*taken, *(name.lower() for name in entries)})] = (
                settings,
                _comment(server, model),
            )
    return entries, known


def _settings(server: FoundServer, model: FoundModel) -> dict[str, object]:
    base = server.url if server.vendor == "ollama" else f"{server.url}/v1"
    able = {name: True for name in ("vision", "function_calling", "reasoning") if getattr(model, name)}
    free = {} if server.vendor in {"ollama", "lm_studio"} else {"input_cost_per_token": 0, "output_cost_per_token": 0}
    return {
        "provider": server.vendor,
        "litellm_model": f"{_PREFIXES.get(server.vendor, 'hosted_vllm')}/{model.name}",
        "base_url": base,
        **({"context_window": model.context_window} if model.context_window else {}),
        **({"max_parallel": server.max_parallel} if server.max_parallel else {}),
        **free,
        **({"capabilities": able} if able else {}),
    }


def _comment(server: FoundServer, model: FoundModel) -> str:
    return f"{server.program}{f'; {model.note}' if model.note else ''}"


def _name(server: FoundServer, model: FoundModel, taken: set[str]) -> str:
    """A short name that no other model has."""
    short = model.name.removesuffix(":latest").rpartition("/")[2].removesuffix(".gguf")
    host = urlsplit(server.url).netloc
    program = server.program.lower().replace(" ", "-")
    wished = (short, f"{program}-{short}", f"{program}-{short}@{host}")
    return next((name for name in wished if name.lower() not in taken), f"{wished[-1]}#{len(taken)}")


def _print(
    places: Sequence[str],
    servers: Sequence[FoundServer],
    entries: Entries,
    known: Sequence[str],
    *,
    written: Path | None,
) -> None:
    say = sys.stderr.write
    for server in servers:
        say(f"{server.program} at {server.url}: {server.problem or f'{len(server.models)} models'}\n")
    if not servers:
        say(f"No model server answers at {', '.join(places)}. Start one, or name its address: --at http://HOST:PORT\n")
    if known:
        say(f"already in your settings: {', '.join(known)}\n")
    if written is not None:
        say(f"added to {written}: {', '.join(entries)}\n")
    elif entries:
        text = "".join(entry_yaml(name, settings, comment=comment) for name, (settings, comment) in entries.items())
        sys.stdout.write(f"models:\n{text}")
        say("These lines belong in models.yaml; zen models discover --write adds them.\n")


def _print_json(servers: Sequence[FoundServer], entries: Entries) -> None:
    whole: JSONObject = {
        "servers": [asdict(server) for server in servers],
        "entries": {name: dict(settings) for name, (settings, _) in entries.items()},  # pyright: ignore[reportAssignmentType]
    }
    sys.stdout.write(json.dumps(whole, ensure_ascii=False, indent=2) + "\n")
