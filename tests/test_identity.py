"""Who may come in over HTTP, and what each may see: real tokens, a real issuer, two users."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.support.issuer import Issuer
from tests.support.results import data_of, error_of
from tests.support.server import Served, ServerFolder, rpc, serve_http, until
from tests.upstream import Behaviour

pytestmark = pytest.mark.anyio

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "gpt-one": (Behaviour(text="one: {echo}"), {"aliases": ["uno"]}),
    "gpt-two": (Behaviour(text="two"), {}),
    "claude-one": (Behaviour(text="claude"), {}),
    "broken": (Behaviour(status=500, text="boom"), {}),
}
AUDIENCE = "https://zen.example.com/mcp"
SETTINGS: dict[str, Any] = {"default_model": "claude-one", "provider": "direct", "cache": {"enabled": True}}
PROVIDERS: dict[str, Any] = {"providers": {"fallback_chain": ["claude-one"], "retry_after_seconds": 0.01}}


def create(folder: ServerFolder, name: str, *options: str) -> str:
    """A token of `zen token create`."""
    done = folder.run("token", "create", name, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def issuer() -> Generator[Issuer]:
    """An identity provider for the tests of this file."""
    with Issuer() as running:
        yield running


@pytest.fixture(scope="module")
def team(folder: ServerFolder, issuer: Issuer) -> ServerFolder:
    """A folder whose server lets in tokens of both kinds, and a proxy's users."""
    return with_auth(
        folder,
        folder.path,
        auth={
            "tokens": True,
            "jwt": {"issuer": issuer.url, "team_claim": "team", "scopes": ["zen"]},
            "identity_header": "X-Client-CN",
            "grants": [
                {"users": "jo", "tools": ["chat", "version"], "models": "gpt-*"},
                {"teams": "blue*"},
            ],
            "failures_per_minute": 1000,
        },
        http={"public_url": AUDIENCE},
    )


def with_auth(folder: ServerFolder, path: Path, *, auth: Mapping[str, Any], http: Mapping[str, Any]) -> ServerFolder:
    """A folder with the same models."""
    settings = {**SETTINGS, "auth": auth, "http": http}
    return ServerFolder(path=path, models=folder.models, settings=settings, providers=PROVIDERS)


@pytest.fixture(scope="module")
async def served(team: ServerFolder) -> AsyncGenerator[Served]:
    """Its server."""
    async with serve_http(team) as running:
        yield running


@pytest.fixture(scope="module")
def token(team: ServerFolder) -> str:
    """A token that may do everything."""
    return create(team, "all", "--user", "ann")


async def post(served: Served, headers: Mapping[str, str], method: str = "tools/list") -> httpx2.Response:
    async with served.http() as http:
        return await http.post("/mcp", **rpc(method, headers=headers))


async def test_a_token_opens_the_door_and_is_kept_only_as_a_digest(
    served: Served, team: ServerFolder, token: str
) -> None:
    assert (await post(served, bearer(token))).status_code == 200
    stored = (team.path / "state" / "zen.db").read_bytes()
    assert token.encode() not in stored
    assert token not in served.log.read_text()


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({}, "Say who you are."),
        ({"Authorization": "Basic YTpi"}, "Say who you are."),
        ({"Authorization": "Bearer"}, "Say who you are."),
        (bearer("zen_wrong"), "The token is wrong, expired or revoked."),
        (bearer("not.a.jwt"), "The token is not valid."),
        (bearer("x" * 7000), "The token is not valid."),
        ({"X-Client-CN": "ann"}, "Say who you are."),
    ],
)
async def test_who_has_no_good_token_is_told_where_to_get_one(
    served: Served, headers: dict[str, str], problem: str
) -> None:
    answer = await post(served, headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["problem"] == problem
    metadata = 'resource_metadata="https://zen.example.com/.well-known/oauth-protected-resource/mcp"'
    assert metadata in answer.headers["www-authenticate"]
    assert ('error="invalid_token"' in answer.headers["www-authenticate"]) == (problem != "Say who you are.")


async def test_the_metadata_names_the_issuer_and_needs_no_token(served: Served, issuer: Issuer) -> None:
    async with served.http() as http:
        for path in ("", "/mcp"):
            told = (await http.get(f"/.well-known/oauth-protected-resource{path}")).json()
            assert told["resource"] == AUDIENCE
            assert told["authorization_servers"] == [issuer.url]
            assert told["scopes_supported"] == ["zen"]


async def test_an_expired_and_a_revoked_token_are_refused(served: Served, team: ServerFolder) -> None:
    short = create(team, "short", "--expires", "1m")
    assert (await post(served, bearer(short))).status_code == 200
    listed = json.loads(team.run("token", "list", "--json").stdout)["tokens"]
    entry = next(one for one in listed if one["name"] == "short")
    assert 0 < entry["expires_at"] - time.time() <= 60
    assert "token" not in entry
    assert team.run("token", "revoke", "short").stdout == "revoked short\n"

    async def is_refused() -> bool:
        return (await post(served, bearer(short))).status_code == 401

    await until(is_refused, seconds=30)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create"], "Which token to create?"),
        (["create", "all"], "There is a token 'all' already."),
        (["create", "x", "--expires", "soon"], "'soon' is no time. Write 30m, 12h, 90d, 8w or never."),
        (["revoke", "nobody"], "There is no token 'nobody'."),
    ],
)
@pytest.mark.usefixtures("token")
def test_a_token_that_cannot_be_made_says_why(team: ServerFolder, words: list[str], said: str) -> None:
    done = team.run("token", *words)
    assert done.returncode == 1
    assert said in done.stderr


@pytest.mark.parametrize(
    ("claims", "problem"),
    [
        ({"aud": "https://other.example.com/mcp"}, "The token is for another server."),
        ({"aud": None}, "The token lacks a claim."),
        ({"exp": 1_000}, "The token has expired."),
        ({"exp": None}, "The token lacks a claim."),
        ({"nbf": 99_999_999_999}, "The token is not valid yet."),
        ({"iss": "https://evil.example.com"}, "The token is of another issuer."),
        ({"sub": None}, "The token lacks a claim."),
        ({"scope": "email"}, "The token lacks the scope 'zen'."),
    ],
)
async def test_a_jwt_that_is_not_for_us_is_refused(
    served: Served, issuer: Issuer, claims: dict[str, Any], problem: str
) -> None:
    good: dict[str, Any] = {"aud": AUDIENCE, "scope": "openid zen"}
    assert (await post(served, bearer(issuer.token(**good)))).status_code == 200
    answer = await post(served, bearer(issuer.token(**{**good, **claims})))
    assert (answer.status_code, answer.json()["error"]["problem"]) == (401, problem)


async def test_a_jwt_with_a_forged_signature_is_refused(served: Served, issuer: Issuer) -> None:
    good: dict[str, Any] = {"aud": AUDIENCE, "scope": "zen", "iss": issuer.url, "sub": "jo", "exp": time.time() + 300}
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    forged = (
        issuer.token(**good, key=other),
        ".".join(["eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0", issuer.token(**good).split(".")[1], ""]),
        jwt.encode(good, "secret" * 8, algorithm="HS256", headers={"kid": "shared"}),
    )
    for token in forged:
        assert (await post(served, bearer(token))).status_code == 401


async def test_new_keys_of_the_issuer_are_found_and_an_issuer_that_is_away_does_not_matter(
    folder: ServerFolder, tmp_path: Path
) -> None:
    with Issuer() as mine:
        auth = {
            "jwt": {"issuer": mine.url, "audience": ["us"], "jwks_url": f"{mine.url}/keys"},
            "failures_per_minute": 9999,
        }
        async with serve_http(with_auth(folder, tmp_path, auth=auth, http={})) as running:
            mine.broken = True
            answer = await post(running, bearer(mine.token(aud="us")))
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "10"
            mine.broken = False

            async def is_open() -> bool:
                return (await post(running, bearer(mine.token(aud="us")))).status_code == 200

            await until(is_open)
            before = mine.token(aud="us")
            mine.rotate("second")
            await until(is_open)
            assert (await post(running, bearer(before))).status_code == 401
            fetches = mine.fetches
            for _ in range(5):
                assert (await post(running, bearer(before))).status_code == 401
            assert mine.fetches - fetches <= 1, "unknown keys do not make a storm"
            mine.broken = True
            assert await is_open()


async def test_wrong_tokens_in_a_row_have_to_wait_and_good_ones_go_on(folder: ServerFolder, tmp_path: Path) -> None:
    mine = with_auth(folder, tmp_path, auth={"tokens": True, "failures_per_minute": 3}, http={})
    good = create(mine, "good")
    async with serve_http(mine) as running:
        assert (await post(running, bearer(good))).status_code == 200
        statuses = [(await post(running, bearer(f"zen_{number}"))).status_code for number in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
        assert (await post(running, bearer(good))).status_code == 200
        assert "zen_0" not in running.log.read_text()


async def test_a_proxy_vouches_for_its_users_only_where_it_is_trusted(folder: ServerFolder, tmp_path: Path) -> None:
    auth = {
        "identity_header": "X-Client-CN",
        "team_header": "X-Team",
        "grants": [{"teams": "blue*", "tools": "version"}],
        "tokens": True,
        "failures_per_minute": 2,
    }
    mine = with_auth(folder, tmp_path, auth=auth, http={"trusted_proxies": ["127.0.0.0/8"]})
    async with serve_http(mine) as running:
        blue = {"X-Client-CN": "mo", "X-Team": "blue-1"}
        tools = (await post(running, blue)).json()["result"]["tools"]
        assert [tool["name"] for tool in tools] == ["version"]
        assert (await post(running, {"X-Client-CN": "mo", "X-Team": "red"})).status_code == 403
        seen = {"X-Forwarded-For": "203.0.113.7, 127.0.0.1"}
        statuses = [(await post(running, {**bearer(f"zen_{number}"), **seen})).status_code for number in range(3)]
        assert statuses == [401, 401, 429], "the address is the client's, not the proxy's"
        assert (await post(running, {**bearer("zen_x"), "X-Forwarded-For": "203.0.113.8"})).status_code == 401


async def test_a_caller_sees_and_uses_only_its_tools_and_models(served: Served, team: ServerFolder) -> None:
    limited = create(team, "limited", "--user", "kim", "--tools", "chat,listmodels,v*", "--models", "gpt-*,broken")
    async with served.connect(headers=bearer(limited)) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == {"chat", "listmodels", "version"}
        models = data_of(await client.call_tool("listmodels", {}))
        assert {entry["name"] for entry in models["models"]} == {"gpt-one", "gpt-two", "broken"}
        assert models["default"] in {"gpt-one", "gpt-two", "broken"}
        assert data_of(await client.call_tool("chat", {"prompt": "x", "model": "uno"}))["model"] == "gpt-one"
        for model in ("claude-one", "openai/gpt-4.1", "CLAUDE-ONE"):
            error = error_of(await client.call_tool("chat", {"prompt": "x", "model": model}))
            assert error["kind"] in {"NotAllowed", "UnknownModel", "ModelUnavailable"}
            assert error["kind"] == "NotAllowed"
        error = error_of(await client.call_tool("consensus", {"prompt": "x"}))
        assert (error["kind"], error["problem"]) == ("NotAllowed", "You may not use the tool 'consensus'.")
        failed = error_of(await client.call_tool("chat", {"prompt": "x", "model": "broken"}))
        assert failed["kind"] == "VendorUnavailable", "nobody steps in who is not the caller's"
        assert {prompt.name for prompt in (await client.list_prompts()).prompts}.isdisjoint({"consensus"})


async def test_who_may_come_in_changes_while_the_server_runs(folder: ServerFolder, tmp_path: Path) -> None:
    mine = with_auth(folder, tmp_path, auth={}, http={})
    async with serve_http(mine) as running:
        assert (await post(running, {})).status_code == 200
        closed = {"version": "1.0", **mine.settings, "auth": {"tokens": True}}
        (tmp_path / "config" / "server.yaml").write_text(json.dumps(closed))

        async def is_closed() -> bool:
            return (await post(running, {})).status_code == 401

        await until(is_closed, seconds=30)


async def test_metrics_are_for_this_machine_or_for_who_has_the_token(
    served: Served, folder: ServerFolder, tmp_path: Path
) -> None:
    async with served.http() as http:
        answer = await http.get("/metrics")
        assert answer.status_code == 200
        assert "# HELP " in answer.text
    guarded = with_auth(folder, tmp_path, auth={}, http={"metrics_token": "a-token-for-prometheus"})
    async with serve_http(guarded) as running, running.http() as http:
        assert (await http.get("/metrics")).status_code == 401
        assert (await http.get("/metrics", headers=bearer("a-token-for-prometheus"))).status_code == 200
