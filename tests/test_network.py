"""The network as companies have it: proxies from the environment, a certificate authority of one's own."""

from __future__ import annotations

import shutil
import socketserver
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.support.server import ServerFolder, openai_model
from tests.upstream import Behaviour, Upstream

pytestmark = pytest.mark.slow


class Proxy(socketserver.ThreadingMixIn, HTTPServer):
    """A plain HTTP proxy that sends every request to one server, and counts."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.target = target
        self.asked: list[str] = []


class _Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Pass a request on."""
        proxy: Any = self.server
        proxy.asked.append(self.path)
        body = self.rfile.read(int(self.headers["content-length"]))
        request = urllib.request.Request(proxy.target + "/chat/completions", data=body, method="POST")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            content = answer.read()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(server: HTTPServer) -> Generator[int]:
    """Run a server in a thread; its port."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("provider", ["litellm", "direct"])
def test_a_proxy_of_the_environment_is_used_and_no_proxy_is_obeyed(
    tmp_path: Path, upstream: Upstream, provider: str
) -> None:
    upstream.behave("far", Behaviour(text="from far away"))
    upstream.behave("near", Behaviour(text="from near by"))
    models = {"far": openai_model("http://vendor.invalid/v1"), "near": openai_model(upstream.url)}
    proxy = Proxy(upstream.url)
    with serving(proxy) as port:
        folder = ServerFolder(
            path=tmp_path,
            models=models,
            settings={"provider": provider},
            environment={"HTTP_PROXY": f"http://127.0.0.1:{port}", "NO_PROXY": "127.0.0.1"},
        )
        done = folder.run("ask", "-m", "far", "hello")
        assert done.stdout == "from far away\n", done.stderr
        assert folder.run("ask", "-m", "near", "hello").stdout == "from near by\n"
    assert proxy.asked == ["http://vendor.invalid/v1/chat/completions"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
@pytest.mark.parametrize("provider", ["litellm", "direct"])
def test_a_certificate_authority_of_ones_own(tmp_path: Path, upstream: Upstream, provider: str) -> None:
    upstream.behave("inside", Behaviour(text="from inside"))
    certificate, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    extensions = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *extensions, *files], check=True, capture_output=True, timeout=30)
    server = Proxy(upstream.url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server) as port:
        models = {"inside": openai_model(f"https://localhost:{port}/v1", timeout_seconds=10)}
        settings = {"provider": provider}
        folder = ServerFolder(path=tmp_path, models=models, settings=settings)
        refused = folder.run("ask", "-m", "inside", "hello")
        assert refused.returncode == 1
        assert "cannot be reached" in refused.stderr
        trusting = ServerFolder(
            path=tmp_path, models=models, settings=settings, environment={"SSL_CERT_FILE": str(certificate)}
        )
        done = trusting.run("ask", "-m", "inside", "hello")
        assert done.stdout == "from inside\n", done.stderr
