"""Who may come in over HTTP, and as whom: tokens of ours, tokens of an identity provider, a proxy that vouches."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from zen_mcp.config.http_schema import AuthSettings, GrantSettings, HttpSettings
from zen_mcp.errors import NotAllowed, StorageError, Unauthenticated, VendorUnreachable, ZenError
from zen_mcp.observability.logs import EventLog
from zen_mcp.server.http_guard import refusal
from zen_mcp.server.jwt_tokens import JwtTokens
from zen_mcp.storage.tokens import PREFIX, Token, Tokens, digest
from zen_mcp.types import Caller

_log = EventLog()

METADATA_PATH = "/.well-known/oauth-protected-resource"
_MOST_ADDRESSES = 10_000
_MOST_KNOWN = 10_000
_BELIEVED_SECONDS = 5.0
"""How long a token is believed without asking the database: as long as a revoked one may still work."""
_MINUTE = 60.0
_LONGEST_TOKEN = 16_384


class FailedTries:
    """Wrong tokens by address, within the last minute.

    Args:
        most: how many are put up with.
        clock: seconds that only grow.
    """

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._tries: OrderedDict[str, list[float]] = OrderedDict()

    def note(self, address: str) -> None:
        """One more."""
        recent = self._recent(address)
        recent.append(self._clock())
        self._tries[address] = recent[-self._most :]
        self._tries.move_to_end(address)
        if len(self._tries) > _MOST_ADDRESSES:
            self._tries.popitem(last=False)

    def wait_seconds(self, address: str) -> float:
        """How long an address has to wait; 0 for not at all."""
        recent = self._recent(address)
        return 0.0 if len(recent) < self._most else max(recent[0] + _MINUTE - self._clock(), 1.0)

    def _recent(self, address: str) -> list[float]:
        start = self._clock() - _MINUTE
        return [moment for moment in self._tries.get(address, ()) if moment > start]


@dataclass(frozen=True, slots=True)
class _Known:
    token: Token
    believed_until: float


class DoorKeeper:
    """Says who sent a request.

    Args:
        auth: who may come in.
        http: the proxies that are trusted.
        url: our own address, which is what tokens must be for.
        tokens: the ones of `zen token create`.
    """

    def __init__(self, auth: AuthSettings, *, http: HttpSettings, url: str, tokens: Tokens) -> None:
        self._auth = auth
        self._http = http
        self._url = url
        self._tokens = tokens
        self._tries = FailedTries(auth.failures_per_minute)
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._jwt = JwtTokens(auth.jwt, audience=auth.jwt.audience or (url,)) if auth.jwt else None
        self._proxies = [ip_network(proxy, strict=False) for proxy in http.trusted_proxies if proxy != "unix"]

    async def identify(self, scope: Scope) -> Caller | Response:
        """The caller; the answer to somebody who may not come in."""
        if not self._auth.required:
            return Caller()
        headers = Headers(scope=scope)
        peer = scope["client"][0] if scope.get("client") else ""
        trusted = self._trusts(peer)
        secret = _bearer(headers)
        try:
            if secret is None:
                return self._by_header(headers, trusted=trusted)
            return await self._by_token(secret, self._address(headers, peer, trusted=trusted))
        except Unauthenticated as exc:
            return self._challenge(exc, invalid=secret is not None)
        except NotAllowed as exc:
            return refusal(403, exc.problem, exc.fix)
        except ZenError as exc:
            status = 503 if isinstance(exc, StorageError | VendorUnreachable) else 429
            return refusal(status, exc.problem, exc.fix, Retry_After=f"{exc.retry_after_seconds or 1:.0f}")

    def metadata(self) -> Response:
        """RFC 9728: where to get a token for us."""
        issuers = [self._auth.jwt.issuer] if self._auth.jwt else []
        scopes = {"scopes_supported": list(self._auth.jwt.scopes)} if self._auth.jwt and self._auth.jwt.scopes else {}
        return JSONResponse(
            {
                "resource": self._url,
                "authorization_servers": issuers,
                "bearer_methods_supported": ["header"],
                "resource_name": "Zen",
                **scopes,
            }
        )

    async def _by_token(self, secret: str, address: str) -> Caller:
        key = digest(secret)
        wait = self._tries.wait_seconds(address)
        if wait and key not in self._known:
            raise _TooManyTries("Too many wrong tokens came from your address.", "Wait.", retry_after_seconds=wait)
        try:
            return await (self._ours(secret, key) if secret.startswith(PREFIX) else self._theirs(secret))
        except Unauthenticated:
            self._known.pop(key, None)
            self._tries.note(address)
            _log.warning("caller_refused", address=address)
            raise

    async def _ours(self, secret: str, key: str) -> Caller:
        now = time.time()
        known = self._known.get(key)
        if known is None or known.believed_until <= now:
            token = await self._tokens.find(secret) if self._auth.tokens else None
            if token is None:
                raise Unauthenticated("The token is wrong, expired or revoked.", "Ask whoever runs this server.")
            known = _Known(token, min(now + _BELIEVED_SECONDS, token.expires_at or now + _BELIEVED_SECONDS))
            self._known[key] = known
            self._known.move_to_end(key)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        token = known.token
        return Caller(user_id=token.user_id, team=token.team, tools=token.tools, models=token.models)

    async def _theirs(self, secret: str) -> Caller:
        settings = self._auth.jwt
        if self._jwt is None or settings is None:
            raise Unauthenticated("The token is wrong, expired or revoked.", "Ask whoever runs this server.")
        claims: Mapping[str, Any] = await self._jwt.claims(secret)
        team = claims.get(settings.team_claim) if settings.team_claim else None
        return self._granted(str(claims[settings.user_claim]), str(team) if team else None)

    def _by_header(self, headers: Headers, *, trusted: bool) -> Caller:
        name = self._auth.identity_header
        user = headers.get(name, "").strip() if name and trusted else ""
        if not user:
            raise Unauthenticated("Say who you are.", "Send 'Authorization: Bearer TOKEN'.")
        team = headers.get(self._auth.team_header, "").strip() if self._auth.team_header else ""
        return self._granted(user, team or None)

    def _granted(self, user: str, team: str | None) -> Caller:
        """The caller with what the first grant that fits lets him use."""
        if not self._auth.grants:
            return Caller(user_id=user, team=team)
        for grant in self._auth.grants:
            if _fits(grant, user, team):
                return Caller(user_id=user, team=team, tools=grant.tools or None, models=grant.models or None)
        raise NotAllowed("Nothing is granted to you here.", "Ask whoever runs this server.")

    def _challenge(self, exc: Unauthenticated, *, invalid: bool) -> Response:
        parts = ['error="invalid_token"'] if invalid else []
        if self._auth.jwt is not None:
            parts.append(f'resource_metadata="{metadata_url(self._url)}"')
            if self._auth.jwt.scopes:
                parts.append(f'scope="{" ".join(self._auth.jwt.scopes)}"')
        challenge = f"Bearer {', '.join(parts)}".strip()
        return refusal(401, exc.problem, exc.fix, WWW_Authenticate=challenge)

    def _trusts(self, peer: str) -> bool:
        if not peer:
            return "unix" in self._http.trusted_proxies
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self._proxies)

    def _address(self, headers: Headers, peer: str, *, trusted: bool) -> str:
        """Where a request comes from; behind trusted proxies, the last address that none of them vouches for."""
        if not trusted:
            return peer
        hops = [hop.strip() for hop in headers.get("x-forwarded-for", "").split(",") if hop.strip()]
        return next((hop for hop in reversed(hops) if not self._trusts(hop)), peer)[:64]


class _TooManyTries(ZenError):
    """An address that has to wait."""


def metadata_url(url: str) -> str:
    """Where the metadata of a resource stands."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{METADATA_PATH}{parts.path.rstrip('/')}"


def _bearer(headers: Headers) -> str | None:
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        return None
    if len(secret) > _LONGEST_TOKEN or not secret.isascii():
        return "-"
    return secret


def _fits(grant: GrantSettings, user: str, team: str | None) -> bool:
    return _matches(user, grant.users) and _matches(team or "", grant.teams)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
