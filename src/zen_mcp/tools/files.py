"""Reading the files and images that a caller names: only what is allowed, and never in silence."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import os
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio

from zen_mcp.errors import FileRefused
from zen_mcp.tools.image_urls import fetch_image
from zen_mcp.types import Image

LARGEST_IMAGE_BYTES = 5 * 1024 * 1024
_NAMED = 10

Read = TypeVar("Read")

SECRET_NAMES = (
    ".env", ".env.*", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".netrc", "_netrc", ".npmrc", ".pypirc", ".pgpass", ".htpasswd",
    ".git-credentials", "credentials", "credentials.*", "*.tfstate", "secrets.*", "service-account*.json",
)  # fmt: skip
SECRET_FOLDERS = (".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", "gcloud")
_HARMLESS_NAMES = (".env.example", ".env.sample", ".env.template", "*.pub")
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
        guard = _Guard(roots=roots, max_bytes=max_file_bytes, allow_secret_files=allow_secret_files)
        return tuple(_all(list(dict.fromkeys(paths)), guard.text))

    return await anyio.to_thread.run_sync(read) if paths else ()


async def read_images(images: Sequence[str], *, roots: Sequence[Path], hosts: Sequence[str]) -> tuple[Image, ...]:
    """Read every image, given as an absolute path, a `data:` URL or an address at one of `hosts`, or none.

    Raises:
        FileRefused: names each refused image, the reason and what to do.
    """

    def read() -> tuple[Image, ...]:
        guard = _Guard(roots=roots, max_bytes=LARGEST_IMAGE_BYTES, allow_secret_files=False, hosts=hosts)
        return tuple(_all(list(images), guard.image))

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Guard:
    """What may be read. Roots are folders; a file must lie in one of them, links followed."""

    roots: Sequence[Path]
    max_bytes: int
    allow_secret_files: bool
    hosts: Sequence[str] = ()

    def text(self, name: str) -> FileContent:
        """One text file."""
        raw = self._bytes(name)
        if b"\x00" in raw[:8192]:
            raise FileRefused(f"'{_shown(name)}' is a binary file.", "Only text files can be sent.")
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise FileRefused(f"'{_shown(name)}' is not UTF-8 text.", "Convert it, or leave it out.") from None
        if not self.allow_secret_files and _PRIVATE_KEY.search(text):
            raise FileRefused(f"'{_shown(name)}' contains a private key.", "Leave it out.")
        return FileContent(path=name, text=text, sha256=hashlib.sha256(text.encode()).hexdigest())

    def image(self, name: str) -> Image:
        """One image; its type is told by its first bytes."""
        if name.startswith(("http://", "https://")):
            raw = fetch_image(name, hosts=self.hosts, max_bytes=self.max_bytes)
        else:
            raw = _from_data_url(name) if name.startswith("data:") else self._bytes(name)
        mime_type = next((mime for magic, mime in _MAGIC if raw.startswith(magic)), None)
        if mime_type is None and raw[:4] == b"RIFF" and raw[8:12] == b"WEBP":
            mime_type = "image/webp"
        if mime_type is None:
            raise FileRefused(f"'{_shown(name)}' is no PNG, JPEG, GIF or WebP image.", "Convert it, or leave it out.")
        return Image(mime_type=mime_type, data_base64=base64.b64encode(raw).decode())

    def _bytes(self, name: str) -> bytes:
        path = self._allowed(name)
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            descriptor = os.open(path, flags)
        except OSError as exc:
            raise FileRefused(f"'{_shown(name)}' cannot be read: {exc.strerror}.", "Check its permissions.") from exc
        try:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                raise FileRefused(f"'{_shown(name)}' is a directory.", "Name the files in it that matter.")
            if not stat.S_ISREG(status.st_mode):
                raise FileRefused(f"'{_shown(name)}' is not a regular file.", "Leave it out.")
            if status.st_size > self.max_bytes:
                raise FileRefused(
                    f"'{_shown(name)}' has {status.st_size:,} bytes; at most {self.max_bytes:,} are sent.",
                    "Send an extract of it, or raise max_file_bytes in server.yaml.",
                )
            if path.resolve() != path:
                raise FileRefused(f"'{_shown(name)}' changed while it was opened.", "Try again.")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(self.max_bytes)
        finally:
            os.close(descriptor)

    def _allowed(self, name: str) -> Path:
        """The real path of a file that may be read."""
        if "\x00" in name or not name.strip():
            raise FileRefused(f"'{_shown(name)}' is not a path.", "Give an absolute path.")
        if not Path(name).is_absolute():
            raise FileRefused(
                f"'{_shown(name)}' is a relative path.", f"Give an absolute one: '{self.roots[0] / name}'?"
            )
        try:
            path = Path(name).resolve(strict=True)
        except FileNotFoundError:
            raise FileRefused(f"'{_shown(name)}' does not exist.", "Check the path.") from None
        except OSError as exc:
            raise FileRefused(f"'{_shown(name)}' cannot be read: {exc.strerror}.", "Check the path.") from None
        if not any(path.is_relative_to(root.resolve()) for root in self.roots):
            allowed = ", ".join(f"'{root}'" for root in self.roots)
            raise FileRefused(
                f"'{_shown(name)}' is outside the allowed folders ({allowed}).",
                "Add its folder to roots in server.yaml.",
            )
        if not self.allow_secret_files and any(is_secret(candidate) for candidate in (path, Path(name))):
            raise FileRefused(
                f"'{_shown(name)}' looks like a file of secrets.",
                "Leave it out, or set allow_secret_files in server.yaml.",
            )
        return path


def is_secret(path: Path) -> bool:
    """Whether a file's name or folder says that it holds secrets."""
    name = path.name.lower()
    if any(fnmatch.fnmatch(name, pattern) for pattern in _HARMLESS_NAMES):
        return False
    if any(folder in SECRET_FOLDERS for folder in path.parts[:-1]):
        return True
    return any(fnmatch.fnmatch(name, pattern) for pattern in SECRET_NAMES)


def _from_data_url(url: str) -> bytes:
    head, _, body = url.partition(",")
    try:
        raw = base64.b64decode(body, validate=True) if head.endswith(";base64") else b""
    except binascii.Error:
        raw = b""
    if not raw:
        raise FileRefused(f"'{_shown(url)}' is not a base64 data URL.", "Write data:image/png;base64,….")
    if len(raw) > LARGEST_IMAGE_BYTES:
        raise FileRefused(f"'{_shown(url)}' has {len(raw):,} bytes; at most {LARGEST_IMAGE_BYTES:,} are sent.")
    return raw


def _shown(name: str) -> str:
    return name if len(name) <= 200 else f"{name[:60]}…"
