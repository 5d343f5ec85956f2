"""Tokens of an identity provider, checked with the keys that it publishes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import anyio
import httpx2
import jwt

from zen_mcp.config.http_schema import JwtSettings
from zen_mcp.errors import Unauthenticated, VendorUnreachable
from zen_mcp.observability.logs import EventLog

_log = EventLog()

_FETCH_SECONDS = 5.0
_LARGEST_DOCUMENT_BYTES = 512 * 1024
_FRESH_SECONDS = 600.0
"""How old keys may get before they are fetched again."""
_PAUSE_SECONDS = 10.0
"""The least time between two fetches, however many tokens with unknown keys come."""

Fetch = Callable[[str], Any]


class JwtTokens:
    """Checks tokens.

    Args:
        settings: of `auth.jwt`.
        audience: what `aud` may say; one of them has to be in it.
        clock: seconds that only grow.
    """

    def __init__(
        self, settings: JwtSettings, *, audience: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._audience = list(audience)
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = -_FRESH_SECONDS
        self._tried_at = -_PAUSE_SECONDS
        self._lock = anyio.Lock()

    async def claims(self, token: str) -> Mapping[str, Any]:
        """What a token says, once everything about it is right.

        Raises:
            Unauthenticated: it is not; never says what stands in it.
            VendorUnreachable: the keys cannot be fetched.
        """
        try:
            key_id = str(jwt.get_unverified_header(token).get("kid", ""))
            key = await self._key(key_id)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(self._settings.algorithms),
                audience=self._audience,
                issuer=self._settings.issuer,
                leeway=self._settings.leeway_seconds,
                options={"require": ["exp", "iss", "aud", self._settings.user_claim]},
            )
        except jwt.PyJWTError as exc:
            raise Unauthenticated(_reason(exc), "Sign in again.") from None
        self._check_scopes(claims)
        return claims

    def _check_scopes(self, claims: Mapping[str, Any]) -> None:
        said = claims.get("scope", claims.get("scp", ""))
        scopes = set(said.split() if isinstance(said, str) else map(str, cast("Sequence[object]", said)))
        missing = [scope for scope in self._settings.scopes if scope not in scopes]
        if missing:
            raise Unauthenticated(f"The token lacks the scope '{missing[0]}'.", "Sign in again and allow it.")

    async def _key(self, key_id: str) -> jwt.PyJWK:
        """A published key; an unknown one may be new, so the keys are fetched again."""
        async with self._lock:
            old = self._clock() - self._fetched_at >= _FRESH_SECONDS
            if (old or self._find(key_id) is None) and self._clock() - self._tried_at >= _PAUSE_SECONDS:
                self._tried_at = self._clock()
                await self._refresh()
        if not self._keys:
            raise VendorUnreachable("The issuer's keys cannot be fetched.", "Try again.", retry_after_seconds=10)
        key = self._find(key_id)
        if key is None:
            raise Unauthenticated("The token is signed with a key that its issuer does not publish.", "Sign in again.")
        return key

    def _find(self, key_id: str) -> jwt.PyJWK | None:
        if not key_id and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def _refresh(self) -> None:
        """Fetch the keys; those of before stay in use when that fails."""
        try:
            with anyio.fail_after(_FETCH_SECONDS):
                async with httpx2.AsyncClient(timeout=_FETCH_SECONDS) as client:
                    url = self._settings.jwks_url or await self._announced_url(client)
                    found = await _document(client, url)
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, TimeoutError) as exc:
            _log.warning("jwks_not_fetched", issuer=self._settings.issuer, reason=type(exc).__name__)
            return
        entries = found.get("keys")
        self._keys = dict(_usable(cast("Sequence[Any]", entries) if isinstance(entries, list) else ()))
        self._fetched_at = self._clock()

    async def _announced_url(self, client: httpx2.AsyncClient) -> str:
        issuer = self._settings.issuer.rstrip("/")
        url = (await _document(client, f"{issuer}/.well-known/openid-configuration")).get("jwks_uri")
        if not isinstance(url, str) or not url.startswith(("https://", "http://")):
            raise ValueError("no jwks_uri")
        return url


async def _document(client: httpx2.AsyncClient, url: str) -> Mapping[str, Any]:
    """A JSON object at an address; redirects are not followed."""
    text = b""
    async with client.stream("GET", url) as answer:
        answer.raise_for_status()
        async for piece in answer.aiter_bytes():
            text += piece
            if len(text) > _LARGEST_DOCUMENT_BYTES:
                raise ValueError("too long")
    found: Any = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004 - as any other document that is none
    return cast("dict[str, Any]", found)


def _usable(entries: Sequence[Any]) -> list[tuple[str, jwt.PyJWK]]:
    """The public signing keys among what is published, by their ids."""
    usable: list[tuple[str, jwt.PyJWK]] = []
    for entry in entries:
        if isinstance(entry, dict):
            one = cast("dict[str, Any]", entry)
            if one.get("use", "sig") == "sig" and one.get("kty") in {"RSA", "EC", "OKP"}:
                try:
                    usable.append((str(one.get("kid", "")), jwt.PyJWK.from_dict(one)))
                except jwt.PyJWTError:
                    _log.warning("jwks_entry_unusable", kty=str(one.get("kty"))[:20])
    return usable


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (jwt.ExpiredSignatureError, "The token has expired."),
    (jwt.ImmatureSignatureError, "The token is not valid yet."),
    (jwt.InvalidAudienceError, "The token is for another server."),
    (jwt.InvalidIssuerError, "The token is of another issuer."),
    (jwt.MissingRequiredClaimError, "The token lacks a claim."),
)


def _reason(exc: Exception) -> str:
    return next((text for kind, text in _REASONS if isinstance(exc, kind)), "The token is not valid.")
