"""`zen token`: make, list and revoke the tokens that let callers in over HTTP."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime

import anyio

from zen_mcp.cli.session import open_app
from zen_mcp.errors import InvalidArguments
from zen_mcp.storage.tokens import Token, Tokens

_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_NEVER = "never"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen token` takes."""
    parser.add_argument("action", nargs="?", choices=["list", "create", "revoke"], default="list")
    parser.add_argument("name", nargs="?", help="what the token is called")
    parser.add_argument("--user", metavar="NAME", help="whose threads, limits and budgets it uses; default: its name")
    parser.add_argument("--team", metavar="NAME", help="the team that shares its budgets")
    parser.add_argument("--tools", metavar="PATTERNS", help="the tools it may use, 'chat,consensus'; default: all")
    parser.add_argument("--models", metavar="PATTERNS", help="the models it may use, 'gpt-*'; default: all")
    parser.add_argument("--expires", metavar="TIME", default="90d", help="30m, 12h, 90d, 8w or never; default 90d")
    parser.add_argument("--config", metavar="DIR", help="a settings folder above all others")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do one of the three."""
    if arguments.action != "list" and not arguments.name:
        raise InvalidArguments(f"Which token to {arguments.action}?", f"zen token {arguments.action} NAME")
    sys.stdout.write(anyio.run(_run, arguments) + "\n")
    return 0


async def _run(arguments: argparse.Namespace) -> str:
    async with open_app(arguments.config) as app:
        tokens = Tokens(app.ground.database)
        if arguments.action == "create":
            note = (
                "" if app.config.server.auth.tokens else "server.yaml does not let tokens in: set auth.tokens to true"
            )
            return await _create(tokens, arguments, note)
        if arguments.action == "revoke":
            if not await tokens.revoke(arguments.name):
                raise InvalidArguments(f"There is no token '{arguments.name}'.", "zen token list shows them.")
            return json.dumps({"revoked": arguments.name}) if arguments.json else f"revoked {arguments.name}"
        found = await tokens.list()
    if arguments.json:
        return json.dumps({"tokens": [asdict(token) for token in found]}, ensure_ascii=False, indent=2)
    return "\n".join(_line(token) for token in found) or "No tokens yet: zen token create NAME makes one."


async def _create(tokens: Tokens, arguments: argparse.Namespace, note: str) -> str:
    token = Token(
        name=arguments.name,
        user_id=arguments.user or arguments.name,
        team=arguments.team,
        tools=_patterns(arguments.tools),
        models=_patterns(arguments.models),
        expires_at=_expiry(arguments.expires),
    )
    secret = await tokens.create(token)
    if note:
        sys.stderr.write(f"zen token: {note}\n")
    if arguments.json:
        return json.dumps({**asdict(token), "token": secret}, ensure_ascii=False, indent=2)
    sys.stderr.write(f"{_line(token)}\nShown once; keep it where secrets are kept:\n")
    return secret


def _patterns(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return tuple(part for part in (piece.strip() for piece in text.split(",")) if part)


def _expiry(text: str) -> float | None:
    if text == _NEVER:
        return None
    match = re.fullmatch(r"([1-9]\d{0,5})([mhdw])", text)
    if match is None:
        raise InvalidArguments(f"'{text}' is no time.", "Write 30m, 12h, 90d, 8w or never.")
    return time.time() + int(match[1]) * _UNITS[match[2]]


def _line(token: Token) -> str:
    end = _NEVER if token.expires_at is None else f"{datetime.fromtimestamp(token.expires_at, tz=UTC):%Y-%m-%d %H:%M}"
    over = " (expired)" if token.expires_at is not None and token.expires_at <= time.time() else ""
    team = f" of {token.team}" if token.team else ""
    tools, models = (",".join(some) if some is not None else "all" for some in (token.tools, token.models))
    return f"{token.name}: {token.user_id}{team} · tools {tools} · models {models} · until {end}{over}"
