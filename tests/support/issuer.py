"""An identity provider on loopback: publishes its keys, signs tokens, changes keys, goes away."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm


class Issuer:
    """A context manager; `fetches` counts how often the keys were asked for."""

    def __init__(self) -> None:
        self.fetches = 0
        self.broken = False
        self._keys: dict[str, rsa.RSAPrivateKey] = {}
        self.rotate("first")
        issuer = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if issuer.broken:
                    self.send_error(500)
                    return
                text = json.dumps(issuer.document(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)

    @property
    def url(self) -> str:
        """What `iss` says."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Issuer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def rotate(self, key_id: str) -> None:
        """Sign with a new key from now on, and publish no other."""
        self._keys = {key_id: rsa.generate_private_key(public_exponent=65537, key_size=2048)}

    def document(self, path: str) -> dict[str, Any]:
        """What stands at a path."""
        if path.endswith("openid-configuration"):
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        self.fetches += 1
        keys = [{**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid} for kid, key in self._keys.items()]
        return {"keys": [*keys, {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}]}

    def token(self, *, key: rsa.RSAPrivateKey | None = None, **claims: Any) -> str:
        """A signed token that is good for five minutes; a claim of None is left out."""
        key_id, own = next(iter(self._keys.items()))
        said = {"iss": self.url, "sub": "jo", "exp": time.time() + 300, **claims}
        kept = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(kept, key or own, algorithm="RS256", headers={"kid": key_id})
