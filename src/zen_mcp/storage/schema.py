"""The schema as numbered scripts, the same for every backend."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import resources

from zen_mcp.errors import StorageError

_MIGRATIONS = "zen_mcp.storage.migrations"


@cache
def migrations() -> tuple[str, ...]:
    """The scripts in their order; a schema's version is how many of them it has seen."""
    files = [file for file in resources.files(_MIGRATIONS).iterdir() if file.name.endswith(".sql")]
    return tuple(file.read_text(encoding="utf-8") for file in sorted(files, key=lambda file: file.name))


def statements_after(version: int, *, where: str) -> Iterator[str]:
    """What brings a schema of this version up to date, statement by statement.

    Raises:
        StorageError: the schema is newer than this program.
    """
    scripts = migrations()
    if version > len(scripts):
        raise StorageError(
            f"The database '{where}' was written by a newer version (schema {version}, this one knows {len(scripts)}).",
            "Upgrade zen-mcp-server, or use another database (ZEN_STATE_DIR, database_url).",
        )
    for script in scripts[version:]:
        yield from (statement for statement in script.split(";") if statement.strip())
