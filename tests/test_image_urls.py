"""Images by address: off, from allowed hosts, through redirects, never from inside the network by a wildcard."""

from __future__ import annotations

import base64
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.support.server import ServerFolder
from tests.upstream import Behaviour, Upstream

from zen_mcp.errors import FileRefused
from zen_mcp.tools.files.image_urls import fetch_image
from zen_mcp.tools.files.images import LARGEST_IMAGE_BYTES, read_images

PICTURE = b"\x89PNG\r\n\x1a\n" + b"picture" * 10
MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "seeing": (Behaviour(text="a picture"), {"capabilities": {"vision": True}}),
}


class _Web(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """A picture, a page, something huge, a redirect."""
        if self.path == "/away":
            self.send_response(302)
            self.send_header("location", "http://169.254.169.254/latest/meta-data")
            self.end_headers()
            return
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("location", "/picture.png")
            self.end_headers()
            return
        content = {"/picture.png": PICTURE, "/page": b"<html>", "/huge": b"x" * (LARGEST_IMAGE_BYTES + 5)}.get(
            self.path
        )
        self.send_response(200 if content else 404)
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def web() -> Generator[str]:
    """The address of a web server on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Web)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


HERE = ("127.0.0.1",)


@pytest.mark.parametrize("path", ["/picture.png", "/moved"])
def test_a_picture_of_an_allowed_host_is_fetched(web: str, path: str) -> None:
    assert fetch_image(web + path, hosts=HERE, max_bytes=1000) == PICTURE


@pytest.mark.parametrize(
    ("path", "hosts", "words"),
    [
        ("/picture.png", (), "'127.0.0.1' is not allowed"),
        ("/picture.png", ("example.com", "*.org"), "'127.0.0.1' is not allowed"),
        ("/picture.png", ("*",), "is an address inside of this network"),
        ("/away", HERE, "'169.254.169.254' is not allowed"),
        ("/away", (*HERE, "*"), "is an address inside of this network"),
        ("/none", HERE, "cannot be fetched"),
        ("/huge", HERE, "has more than"),
    ],
)
def test_everything_else_is_refused_with_the_reason(web: str, path: str, hosts: tuple[str, ...], words: str) -> None:
    with pytest.raises(FileRefused, match=words):
        fetch_image(web + path, hosts=hosts, max_bytes=LARGEST_IMAGE_BYTES)


@pytest.mark.anyio
async def test_what_is_fetched_must_be_a_picture(web: str) -> None:
    with pytest.raises(FileRefused, match="is no PNG, JPEG, GIF or WebP"):
        await read_images([f"{web}/page"], roots=(), hosts=HERE)


@pytest.mark.slow
def test_a_fetched_picture_reaches_the_model(folder: ServerFolder, upstream: Upstream, web: str) -> None:
    allowing = ServerFolder(path=folder.path, models=folder.models, settings={"image_hosts": ["127.0.0.1"]})
    arguments = ["--json", "-m", "seeing", "what is it?"]
    done = allowing.run("ask", "-i", f"{web}/picture.png", *arguments)
    assert done.returncode == 0, done.stderr
    assert base64.b64encode(PICTURE).decode() in str(upstream.asked("seeing")[-1].body)
