"""Reading the files and images that a caller names: only what is allowed, and never in silence."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio

from zen_mcp.errors import FileRefused
from zen_mcp.tools.disk import Disk, decoded, shown
from zen_mcp.tools.image_urls import fetch_image
from zen_mcp.types import Image

LARGEST_IMAGE_BYTES = 5 * 1024 * 1024
_NAMED = 10

Read = TypeVar("Read")

_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_MAGIC = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FileContent:
    """A file's text as it was read; `sha256` is of the text in UTF-8."""

    path: str
    text: str
    sha256: str


async def read_files(
    paths: Sequence[str], *, roots: Sequence[Path], max_file_bytes: int, allow_secret_files: bool
) -> tuple[FileContent, ...]:
    """Read every file, or none: one that cannot be sent fails the call before any model is paid.

    A path named twice is read once.

    Raises:
        FileRefused: names each refused file, the reason and what to do.
    """

    def read() -> tuple[FileContent, ...]:
        disk = Disk(roots=roots, max_bytes=max_file_bytes, allow_secret_files=allow_secret_files)
        return tuple(_all(list(dict.fromkeys(paths)), partial(_text, disk)))

    return await anyio.to_thread.run_sync(read) if paths else ()


async def read_images(images: Sequence[str], *, roots: Sequence[Path], hosts: Sequence[str]) -> tuple[Image, ...]:
    """Read every image, given as an absolute path, a `data:` URL or an address at one of `hosts`, or none.

    Raises:
        FileRefused: names each refused image, the reason and what to do.
    """

    def read() -> tuple[Image, ...]:
        disk = Disk(roots=roots, max_bytes=LARGEST_IMAGE_BYTES)
        return tuple(_all(list(images), partial(_image, disk, hosts)))

    return await anyio.to_thread.run_sync(read) if images else ()


def _all(names: Sequence[str], read: Callable[[str], Read]) -> list[Read]:
    """Read each; all refusals in one error."""
    done: list[Read] = []
    refused: list[FileRefused] = []
    for name in names:
        try:
            done.append(read(name))
        except FileRefused as exc:
            refused.append(exc)
    if len(refused) == 1:
        raise refused[0]
    if refused:
        more = f" And {len(refused) - _NAMED} more." if len(refused) > _NAMED else ""
        raise FileRefused(" ".join(str(exc) for exc in refused[:_NAMED]) + more)
    return done


def _text(disk: Disk, name: str) -> FileContent:
    """One text file."""
    text = decoded(name, disk.read(name))
    if not disk.allow_secret_files and _PRIVATE_KEY.search(text):
        raise FileRefused(f"'{shown(name)}' contains a private key.", "Leave it out.")
    return FileContent(path=name, text=text, sha256=hashlib.sha256(text.encode()).hexdigest())


def _image(disk: Disk, hosts: Sequence[str], name: str) -> Image:
    """One image; its type is told by its first bytes."""
    if name.startswith(("http://", "https://")):
        raw = fetch_image(name, hosts=hosts, max_bytes=disk.max_bytes)
    else:
        raw = _from_data_url(name) if name.startswith("data:") else disk.read(name)
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
