"""The network as companies have it: proxies from the environment, a certificate authority of one's own."""

from __future__ import annotations

import json
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
from typing import Any, cast

import anyio
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamEnded
from tests.support.server import ServerFolder, openai_model
from tests.upstream import Behaviour, Upstream

from zen_mcp.catalog.model import Model
from zen_mcp.providers.direct_provider import DirectProvider
from zen_mcp.types import Message, ModelRequest

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
def serving(server: socketserver.BaseServer) -> Generator[int]:
    """Run a server in a thread; its port."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(cast("Any", server.server_address)[1])
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


def certified(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS with a fresh certificate for localhost, and the certificate's file."""
    certificate, key = folder / "ca.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    extensions = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *extensions, *files], check=True, capture_output=True, timeout=30)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
@pytest.mark.parametrize("provider", ["litellm", "direct"])
def test_a_certificate_authority_of_ones_own(tmp_path: Path, upstream: Upstream, provider: str) -> None:
    upstream.behave("inside", Behaviour(text="from inside"))
    context, certificate = certified(tmp_path)
    server = Proxy(upstream.url)
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


class Http2Vendor(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A vendor that speaks nothing but HTTP/2, behind TLS."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Http2Connection)
        context.set_alpn_protocols(["h2"])
        self._context = context
        self.connections = 0
        self.paths: list[str] = []

    def get_request(self) -> tuple[ssl.SSLSocket, Any]:
        """Accept one connection."""
        plain, address = self.socket.accept()
        self.connections += 1
        return self._context.wrap_socket(plain, server_side=True), address


class _Http2Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        """Answer every stream of the connection until the client leaves."""
        vendor: Any = self.server
        assert self.request.selected_alpn_protocol() == "h2"
        connection = H2Connection(config=H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        self.request.sendall(connection.data_to_send())
        while received := self.request.recv(65536):
            for event in connection.receive_data(received):
                if isinstance(event, RequestReceived):
                    headers = cast("list[tuple[str, str]]", event.headers)
                    vendor.paths.append(dict(headers)[":path"])
                if isinstance(event, StreamEnded):
                    body = json.dumps(_COMPLETION).encode()
                    head = [(":status", "200"), ("content-type", "application/json")]
                    connection.send_headers(event.stream_id, head)
                    connection.send_data(event.stream_id, body, end_stream=True)
            self.request.sendall(connection.data_to_send())


_COMPLETION = {
    "id": "c-1",
    "object": "chat.completion",
    "created": 1,
    "model": "two",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "over HTTP/2"}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}


@pytest.mark.anyio
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
async def test_http2_is_spoken_where_it_is_offered_and_a_burst_shares_one_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, certificate = certified(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    vendor = Http2Vendor(context)
    with serving(vendor) as port:
        base_url = f"https://localhost:{port}/v1"
        model = Model(name="two", vendor="custom", litellm_model="hosted_vllm/two", base_url=base_url, api_key="k")
        provider = DirectProvider(secrets=lambda: ())
        request = ModelRequest(request_id="c", model="two", messages=(Message(role="user", text="hello"),))
        answers = [(await provider.generate(request, model)).text]

        async def ask() -> None:
            answers.append((await provider.generate(request, model)).text)

        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(ask)
        await provider.aclose()
    assert answers == ["over HTTP/2"] * 9
    assert vendor.paths == ["/v1/chat/completions"] * 9
    assert vendor.connections == 1
