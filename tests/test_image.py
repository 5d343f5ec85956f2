"""The image's steps, made without an engine, and the server that it runs: no rights, a read-only root."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import anyio
import httpx2
import pytest
from tests.support.debian import free_port
from tests.support.image import Image, begun, stages, steps_of
from tests.support.server import until

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Made step by step, as the file says."""
    build, final = stages(steps_of((ROOT / "deploy" / "docker" / "Dockerfile").read_text(encoding="utf-8")))
    made = begun(tmp_path_factory.mktemp("image") / "root", ROOT)
    for step in build:
        made.run(step)
    made.environment.clear()
    for step in final:
        made.run(step)
    return made


def run(image: Image, *words: str) -> subprocess.CompletedProcess[str]:
    """A command in the finished image."""
    command = image.command(*words, read_only=True)
    return subprocess.run(command, env=image.environ(), capture_output=True, text=True, timeout=120, check=False)


def test_it_holds_the_server_and_nothing_to_build_with(image: Image) -> None:
    done = run(image, *image.words("ENTRYPOINT"), "--version")
    assert done.returncode == 0, done.stderr
    assert run(image, "/opt/zen/bin/python", "-c", "import dbos, litellm, psycopg, redis").returncode == 0
    for module in ("pip", "hatchling", "pytest"):
        assert run(image, "/opt/zen/bin/python", "-c", f"import {module}").returncode == 1, module
    assert "zen:x:10001:" in (image.folder / "etc" / "passwd").read_text(encoding="utf-8")


def test_it_has_no_rights_and_nothing_to_write_to_but_its_own_folder(image: Image) -> None:
    told = run(image, "sh", "-c", "id -u; for d in / /opt/zen /etc /usr /var/lib/zen; do touch $d/x && echo $d; done")
    assert told.stdout.split()[1:] == ["/var/lib/zen"], told.stderr


async def test_its_server_is_healthy_by_its_own_check_until_it_is_stopped(image: Image, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "zen").mkdir()
    settings = {"version": "1.0", "auth": {"tokens": True}, "http": {"allowed_hosts": ["localhost", "127.0.0.1"]}}
    (tmp_path / "zen" / "server.yaml").write_text(json.dumps(settings), encoding="utf-8")
    (image.folder / "etc" / "zen").mkdir(exist_ok=True)
    serve = [*image.words("ENTRYPOINT"), *(word.replace(":8765", f":{port}") for word in image.words("CMD"))]
    check = [word.replace(":8765", f":{port}") for word in image.words("HEALTHCHECK")]
    command = image.command(*serve, read_only=True, more=[f"{tmp_path / 'zen'}:/etc/zen"])
    assert run(image, *check).returncode != 0, "nobody is there yet"
    with (tmp_path / "log").open("wb") as log:
        process = await anyio.open_process(command, env=image.environ(), stdout=log, stderr=log)
        try:
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:

                async def is_ready() -> bool:
                    assert process.returncode is None, (tmp_path / "log").read_text()
                    try:
                        return (await http.get("/readyz")).status_code == 200
                    except httpx2.TransportError:
                        return False

                await until(is_ready, seconds=120)
                done = await anyio.to_thread.run_sync(lambda: run(image, *check))
                assert done.returncode == 0, done.stderr
                assert (await http.post("/mcp")).status_code == 401
                status = await anyio.Path(f"/proc/{process.pid}/status").read_text()
                assert re.search(r"CapEff:\s+0+\n", status)
            process.terminate()
            with anyio.fail_after(60):
                assert await process.wait() == 0, (tmp_path / "log").read_text()
        finally:
            if process.returncode is None:
                process.kill()
            await process.aclose()
