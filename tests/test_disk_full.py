"""A disk without room: the answer comes all the same, says that it was not stored, and nothing that was is lost."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest
from tests.support.results import data_of, text_of
from tests.support.server import ServerFolder, serve_http
from tests.upstream import Behaviour

pytestmark = pytest.mark.anyio

MODELS: dict[str, tuple[Behaviour, dict[str, Any]]] = {"fine": (Behaviour(text="An answer."), {})}
SETTINGS = {"default_model": "fine"}
LONG = "a long question " * 20_000


async def test_an_answer_that_finds_no_room_is_given_and_what_is_stored_stays(
    tmp_path: Path, models: dict[str, dict[str, Any]]
) -> None:
    folder = ServerFolder(path=tmp_path, models=models, settings=SETTINGS)
    async with serve_http(folder) as served, served.connect() as client:
        first = data_of(await client.call_tool("chat", {"prompt": "before"}))
        thread = first["continuation_id"]
        assert (tmp_path / "state" / "zen.db").exists()
        # No file of this process may grow any further: what a full disk does to SQLite, without a disk to fill.
        _, most = resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (8192, most))
        full = await client.call_tool("chat", {"prompt": LONG, "continuation_id": thread})
        assert data_of(full)["text"] == "An answer."
        assert "not stored, so it cannot be continued" in text_of(full)
        assert "continuation_id" not in data_of(full)
        resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (most, most))
        after = data_of(await client.call_tool("chat", {"prompt": "after", "continuation_id": thread}))
        assert after["continuation_id"] == thread
        told = text_of(await client.call_tool("threads", {"action": "read", "continuation_id": thread}))
    assert [word in told for word in ("before", "after", "a long question")] == [True, True, False]
