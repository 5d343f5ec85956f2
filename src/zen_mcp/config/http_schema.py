"""The parts of server.yaml that are about serving over HTTP, and about who may come in."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from zen_mcp.config.values import Count, Flag, Names, Seconds, Settings, Wait

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""How a JWT may be signed: with a private key that this server does not have."""


LEAST_KEY_CHARACTERS = 32


def _keys(value: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse keys that can be guessed, or that stand there twice."""
    if any(len(key) < LEAST_KEY_CHARACTERS for key in value):
        raise PydanticCustomError("state_key", "must have 32 characters or more; `openssl rand -hex 32` prints some")
    if len(set(value)) < len(value):
        raise PydanticCustomError("state_key", "the same key stands there twice")
    return value


def _port(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isdigit() else value


class HttpSettings(Settings):
    """`zen serve --http`: where it listens and what it puts up with."""

    host: str = Field(default="127.0.0.1", min_length=1, description="The address to listen at; by default this host.")
    port: Annotated[int, BeforeValidator(_port), Field(ge=0, le=65535)] = Field(
        default=8765, description="The port; 0 takes a free one and says which."
    )
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/]+(/[^\s?#]*)?$",
        description="The address that clients use (`https://zen.example.com/mcp`), where a proxy stands in between.",
    )
    allowed_hosts: Names = Field(
        default=(), description="Host headers that are answered (`zen.example.com`, `*.example.com`, `host:8443`)."
    )
    allowed_origins: Names = Field(
        default=(), description="Web pages (`https://app.example.com`) that may call; others are refused."
    )
    trusted_proxies: Names = Field(
        default=(), description="Addresses (`10.0.0.0/8`, `unix`) whose X-Forwarded-For and identity headers count."
    )
    max_body_bytes: Count = Field(default=4_194_304, description="A longer request is refused with 413.")
    max_response_bytes: Count = Field(default=16_777_216, description="A longer answer is replaced by an error.")
    max_requests: Count = Field(default=1000, description="Requests at the same time; more are told to come back.")
    max_connections: Count = Field(
        default=4000, description="Open connections; beyond, those that say nothing are closed, the oldest first."
    )
    header_seconds: Seconds = Field(default=10.0, description="How long a client may take to send its headers.")
    body_seconds: Seconds = Field(default=30.0, description="How long it may take to send the rest of a request.")
    write_seconds: Seconds = Field(default=30.0, description="How long it may let an answer wait.")
    keep_alive_seconds: Seconds = Field(default=75.0, description="How long a connection stays open between requests.")
    drain_seconds: Wait = Field(default=30.0, description="How long calls may go on after SIGTERM.")
    sessions: Flag = Field(
        default=False,
        description="Keep a session per client, so that tools can ask old clients something; for one process.",
    )
    state_key: Annotated[Names, AfterValidator(_keys)] = Field(
        default=(),
        description="A secret of all replicas, so that one can finish what another began to ask; the first of several "
        "seals, all of them open.",
    )
    workers: Count = Field(default=1, description="Processes that serve together.")
    metrics_token: str | None = Field(
        default=None, min_length=16, description="A bearer token for /metrics; without it, only this host is answered."
    )


class JwtSettings(Settings):
    """Signed tokens of an identity provider (OAuth 2.1, OpenID Connect)."""

    issuer: str = Field(pattern=r"^https?://\S+$", description="Who issues the tokens: the `iss` claim, a URL.")
    audience: Names = Field(default=(), description="The `aud` claims that are for us; by default our own address.")
    jwks_url: str | None = Field(
        default=None, pattern=r"^https?://\S+$", description="Where the keys are; by default as the issuer says."
    )
    algorithms: tuple[Algorithm, ...] = Field(
        default=("RS256", "ES256"), min_length=1, description="The signatures that are accepted."
    )
    user_claim: str = Field(default="sub", min_length=1, description="The claim that names the user.")
    team_claim: str | None = Field(default=None, min_length=1, description="The claim that names the team.")
    scopes: Names = Field(default=(), description="Scopes that a token must have.")
    leeway_seconds: Wait = Field(default=30.0, description="How far clocks may differ.")


class GrantSettings(Settings):
    """What some users or teams may use."""

    users: Names = Field(default=(), description="Patterns of user names; empty: all.")
    teams: Names = Field(default=(), description="Patterns of team names; empty: all.")
    tools: Names = Field(default=(), description="Patterns of the tools they may use; empty: all.")
    models: Names = Field(default=(), description="Patterns of the models they may use; empty: all.")


class AuthSettings(Settings):
    """Who may come in over HTTP. With nothing here, everybody who reaches the server is the local user."""

    tokens: Flag = Field(default=False, description="Let in who has a token of `zen token create`.")
    jwt: JwtSettings | None = Field(default=None, description="Let in who has a token of an identity provider.")
    identity_header: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9-]+$",
        description="A header in which a trusted proxy names the user, after mTLS for example.",
    )
    team_header: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9-]+$", description="A header in which it names the team."
    )
    grants: tuple[GrantSettings, ...] = Field(
        default=(), description="What the users of `jwt` and `identity_header` may use; the first that fits counts."
    )
    failures_per_minute: Count = Field(default=10, description="Wrong tokens from one address before it has to wait.")

    @property
    def required(self) -> bool:
        """Whether a caller must say who he is."""
        return self.tokens or self.jwt is not None or self.identity_header is not None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.team_header and not self.identity_header:
            raise PydanticCustomError("auth", "'team_header' needs an 'identity_header'")
        return self
