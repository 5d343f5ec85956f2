"""What the `batch` tool needs: prompts from a list or a file, and the words for what a batch would take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio

from zen_mcp.jobs.batch import BatchStatus, Plan, broken, deadline, summary
from zen_mcp.jobs.batch_lines import Lines, Prompt, read_file, read_values
from zen_mcp.storage.batches import Batch
from zen_mcp.tools.files.disk import Disk

__all__ = ["Batch", "BatchStatus", "Lines", "Plan", "Prompt", "broken", "deadline", "prompts_of", "summary"]

_LARGEST_FILE_BYTES = 200 * 1024 * 1024
"""OpenAI takes no larger file."""


async def prompts_of(
    values: Sequence[object], file: str | None, *, roots: Sequence[Path], allow_secret_files: bool = False
) -> Lines:
    """The prompts of a call: those given, or the lines of a file that may be read.

    Raises:
        FileRefused: the file is missing, outside of the roots, or too large.
    """
    if file is None:
        return read_values(values)
    disk = Disk(roots=roots, max_bytes=_LARGEST_FILE_BYTES, allow_secret_files=allow_secret_files)
    return await anyio.to_thread.run_sync(lambda: read_file(disk.read(file)))
