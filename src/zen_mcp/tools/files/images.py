"""Reading the images that a caller names."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio

from zen_mcp.errors import FileRefused
from zen_mcp.tools.files.disk import Disk, all_or_none, shown
from zen_mcp.tools.files.image_urls import fetch_image
from zen_mcp.types import Image

LARGEST_IMAGE_BYTES = 5 * 1024 * 1024
_MAGIC = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))


async def read_images(images: Sequence[str], *, roots: Sequence[Path], hosts: Sequence[str]) -> tuple[Image, ...]:
    """Read every image, given as a path, a `data:` URL or an address at one of `hosts`, or none.

    Raises:
        FileRefused: names each refused image, the reason and what to do.
    """

    def read() -> tuple[Image, ...]:
        disk = Disk(roots=roots, max_bytes=LARGEST_IMAGE_BYTES)
        return tuple(all_or_none(images, partial(_image, disk, hosts)))

    return await anyio.to_thread.run_sync(read) if images else ()


def _image(disk: Disk, hosts: Sequence[str], name: str) -> Image:
    """One image; its type is told by its first bytes."""
    if name.startswith(("http://", "https://")):
        raw = fetch_image(name, hosts=hosts, max_bytes=disk.max_bytes)
    elif name.startswith("data:"):
        raw = _from_data_url(name)
    elif not disk.roots:
        raise FileRefused("The server's disk is closed.", "Send the image as a data: URL.")
    else:
        raw = disk.read(name)
    mime_type = next((mime for magic, mime in _MAGIC if raw.startswith(magic)), None)
    if mime_type is None and raw[:4] == b"RIFF" and raw[8:12] == b"WEBP":
        mime_type = "image/webp"
    if mime_type is None:
        raise FileRefused(f"'{shown(name)}' is no PNG, JPEG, GIF or WebP image.", "Convert it, or leave it out.")
    return Image(mime_type=mime_type, data_base64=base64.b64encode(raw).decode())


def _from_data_url(url: str) -> bytes:
    head, _, body = url.partition(",")
    try:
        raw = base64.b64decode(body, validate=True) if head.endswith(";base64") else b""
    except binascii.Error:
        raw = b""
    if not raw:
        raise FileRefused(f"'{shown(url)}' is not a base64 data URL.", "Write data:image/png;base64,….")
    if len(raw) > LARGEST_IMAGE_BYTES:
        raise FileRefused(f"'{shown(url)}' has {len(raw):,} bytes; at most {LARGEST_IMAGE_BYTES:,} are sent.")
    return raw
