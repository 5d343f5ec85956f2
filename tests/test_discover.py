"""`zen models discover` against servers that speak as each program's documentation says, and the real llama.cpp."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.support.results import data_of, error_of
from tests.support.server import ServerFolder, connect, openai_model
from tests.upstream import Behaviour, Upstream

from zen_mcp.config.folders import cache_folder

Pages = Mapping[str, tuple[int, Any]]
"""What a server answers by path: status and JSON. `/api/show NAME` is the answer to a POST that names a model."""

# https://docs.ollama.com/api/tags, /api/ps, /api-reference/show-model-details
OLLAMA: Pages = {
    "/v1/models": (
        200,
        {"object": "list", "data": [{"id": "llama3.2:latest", "object": "model", "owned_by": "library"}]},
    ),
    "/api/tags": (
        200,
        {
            "models": [
                {
                    "name": "llama3.2:latest",
                    "model": "llama3.2:latest",
                    "size": 2019393189,
                    "details": {"family": "llama"},
                },
                {"name": "qwen3:8b", "model": "qwen3:8b", "size": 5200000000, "details": {"family": "qwen3"}},
                {"name": "coder:tuned", "model": "coder:tuned", "size": 5200000000, "details": {"family": "qwen2"}},
                {"name": "nomic-embed-text:latest", "model": "nomic-embed-text:latest", "size": 274302450},
            ]
        },
    ),
    "/api/ps": (200, {"models": [{"name": "qwen3:8b", "model": "qwen3:8b", "context_length": 16384}]}),
    "/api/show llama3.2:latest": (
        200,
        {
            "parameters": 'stop "<|eot_id|>"',
            "model_info": {"general.architecture": "llama", "llama.context_length": 131072},
            "capabilities": ["completion", "tools"],
        },
    ),
    "/api/show qwen3:8b": (
        200,
        {"model_info": {"qwen3.context_length": 40960}, "capabilities": ["completion", "tools", "thinking"]},
    ),
    "/api/show coder:tuned": (
        200,
        {"parameters": "num_ctx                        32768\ntop_k 20", "model_info": {"qwen2.context_length": 32768}},
    ),
    "/api/show nomic-embed-text:latest": (200, {"capabilities": ["embedding"]}),
}
# https://lmstudio.ai/docs/api/rest-api
LM_STUDIO: Pages = {
    "/v1/models": (200, {"object": "list", "data": [{"id": "qwen2-vl-7b-instruct", "owned_by": "organization_owner"}]}),
    "/api/v0/models": (
        200,
        {
            "object": "list",
            "data": [
                {"id": "qwen2-vl-7b-instruct", "type": "vlm", "state": "not-loaded", "max_context_length": 32768},
                {
                    "id": "meta-llama-3.1-8b-instruct",
                    "type": "llm",
                    "state": "loaded",
                    "max_context_length": 131072,
                    "loaded_context_length": 8192,
                },
                {"id": "text-embedding-nomic", "type": "embeddings", "state": "not-loaded", "max_context_length": 2048},
            ],
        },
    ),
}
# https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
VLLM: Pages = {
    "/v1/models": (
        200,
        {
            "object": "list",
            "data": [{"id": "Qwen/Qwen3-32B", "object": "model", "owned_by": "vllm", "max_model_len": 40960}],
        },
    ),
}
# llama.cpp, tools/server/README.md: GET /props, GET /v1/models, and 503 while the model loads
LLAMA_CPP: Pages = {
    "/v1/models": (
        200,
        {
            "object": "list",
            "data": [
                {"id": "ggml-org/gemma-3-4b-it-GGUF:Q4_K_M", "owned_by": "llamacpp", "meta": {"n_ctx_train": 131072}}
            ],
        },
    ),
    "/props": (
        200,
        {"default_generation_settings": {"n_ctx": 4096}, "total_slots": 4, "modalities": {"vision": True}},
    ),
}
LLAMA_CPP_LOADING: Pages = {
    "/v1/models": (503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
}


@contextmanager
def speaking(pages: Pages) -> Generator[str]:
    """A server on loopback that answers with these pages; 404 for all others."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(self.path)

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(f"{self.path} {asked.get('model')}")

        def _answer(self, page: str) -> None:
            status, body = pages.get(page, (404, {"error": "not found"}))
            sent = json.dumps(body).encode() if not isinstance(body, bytes) else body
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(10)


def discover(folder: ServerFolder, *urls: str, more: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run it against these servers."""
    places = [word for url in urls for word in ("--at", url)]
    return folder.run("models", "discover", *places, *more)


@pytest.fixture
def folder(tmp_path: Path) -> ServerFolder:
    """A user without any settings; what `--write` writes lies in his own settings folder."""
    return ServerFolder(path=tmp_path)


def user_file(folder: ServerFolder) -> Path:
    path = folder.path / ".config" / "zen-mcp" / "models.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_each_program_is_known_and_its_models_have_the_context_that_they_really_take(folder: ServerFolder) -> None:
    with (
        speaking(OLLAMA) as ollama,
        speaking(LM_STUDIO) as studio,
        speaking(VLLM) as vllm,
        speaking(LLAMA_CPP) as llama,
    ):
        done = discover(folder, ollama, studio, f"{vllm}/v1", llama.removeprefix("http://"), more=("--json",))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [server["program"] for server in found["servers"]] == ["Ollama", "LM Studio", "vLLM", "llama.cpp"]
    entries = found["entries"]
    assert {name: entry.get("context_window") for name, entry in entries.items()} == {
        "llama3.2": 4096,
        "qwen3:8b": 16384,
        "coder:tuned": 32768,
        "qwen2-vl-7b-instruct": 32768,
        "meta-llama-3.1-8b-instruct": 8192,
        "Qwen3-32B": 40960,
        "gemma-3-4b-it-GGUF:Q4_K_M": 4096,
    }
    assert entries["llama3.2"] == {
        "provider": "ollama",
        "litellm_model": "ollama_chat/llama3.2:latest",
        "base_url": ollama,
        "context_window": 4096,
        "capabilities": {"function_calling": True},
    }
    assert entries["Qwen3-32B"]["litellm_model"] == "hosted_vllm/Qwen/Qwen3-32B"
    assert entries["Qwen3-32B"]["base_url"] == f"{vllm}/v1"
    assert entries["gemma-3-4b-it-GGUF:Q4_K_M"]["max_parallel"] == 4
    assert entries["gemma-3-4b-it-GGUF:Q4_K_M"]["capabilities"] == {"vision": True}


def test_what_is_found_can_be_added_and_nothing_that_is_there_changes(folder: ServerFolder) -> None:
    mine = user_file(folder)
    before = (
        "# my models\n"
        'version: "1.0"\n'
        "models:\n"
        "    opus:   {timeout_seconds: 300}   # slow\n"
        "    # mine\n"
        "    my-llama:\n"
        "        provider: ollama\n"
        "        litellm_model: ollama_chat/other\n"
        "        base_url: http://localhost:11434\n"
        "\n"
        "# the end\n"
    )
    mine.write_text(before)
    mine.chmod(0o600)
    with speaking(OLLAMA) as ollama:
        assert "llama3.2:" in discover(folder, ollama).stdout
        assert mine.read_text() == before, "without --write nothing is written"
        done = discover(folder, ollama, more=("--write",))
        assert done.returncode == 0, done.stderr
        after = mine.read_text()
        head, _, _ = before.partition("\n\n# the end")
        assert after.startswith(head)
        assert after.endswith("\n# the end\n")
        assert "    # Ollama; it could take 131072: set OLLAMA_CONTEXT_LENGTH or num_ctx\n    llama3.2:\n" in after
        assert mine.stat().st_mode & 0o777 == 0o600
        shown = json.loads(folder.run("models", "llama3.2", "--json").stdout)["models"]
        assert ("llama3.2", 4096) in [(entry["name"], entry["context_window"]) for entry in shown]
        again = discover(folder, ollama, more=("--write",))
        assert "already in your settings: llama3.2" in again.stderr
    assert mine.read_text() == after
    assert folder.run("config", "check").returncode == 0


@pytest.mark.parametrize(
    "before",
    [
        None,
        "",
        "# nothing yet\n",
        'version: "1.0"\nmodels:\n',
        "version: '1.0'\nmodels:\n  o3: null",
        "models:\n\n  # x\n",
    ],
)
def test_any_file_that_has_a_block_of_models_or_none_can_be_added_to(folder: ServerFolder, before: str | None) -> None:
    if before is not None:
        user_file(folder).write_text(before)
    with speaking(VLLM) as vllm:
        done = discover(folder, vllm, more=("--write",))
    assert done.returncode == 0, done.stderr
    assert set((before or "").splitlines()) <= set(user_file(folder).read_text().splitlines())
    assert "Qwen3-32B" in folder.run("models").stdout


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ('{"models": {"x": null}}', "has no block of models"),
        ("models: {o3: null}\n", "has no block of models"),
        ("models: [\n", "is not YAML"),
    ],
)
def test_a_file_that_cannot_be_added_to_is_left_as_it_is(folder: ServerFolder, before: str, said: str) -> None:
    user_file(folder).write_text(before)
    with speaking(VLLM) as vllm:
        done = discover(folder, vllm, more=("--write",))
    assert done.returncode == 1
    assert said in done.stderr or "models.yaml" in done.stderr
    assert user_file(folder).read_text() == before


def test_a_name_that_is_taken_gets_the_programs_before_it(folder: ServerFolder) -> None:
    pages = {"/v1/models": (200, {"data": [{"id": "opus", "owned_by": "vllm", "max_model_len": 100}]})}
    with speaking(pages) as one, speaking(pages) as two:
        found = json.loads(discover(folder, one, two, more=("--json",)).stdout)["entries"]
    assert list(found) == ["vllm-opus", f"vllm-opus@{two.removeprefix('http://')}"]


def test_a_server_that_loads_wants_a_key_or_is_none_is_told_of(folder: ServerFolder) -> None:
    with (
        speaking(LLAMA_CPP_LOADING) as loading,
        speaking({"/v1/models": (401, {"error": "no"})}) as locked,
        speaking({"/v1/models": (200, b"<html>hello</html>")}) as other,
    ):
        done = discover(folder, loading, locked, other)
    assert f"llama.cpp at {loading}: it is loading its model; look again" in done.stderr
    assert f"a server at {locked}: it wants a key" in done.stderr
    assert other not in done.stderr
    assert done.stdout == ""


@pytest.mark.anyio
async def test_a_model_that_is_loading_is_waited_for_and_whoever_watches_is_told(
    tmp_path: Path, upstream: Upstream
) -> None:
    loading = Behaviour(status=503, text="Loading model")
    upstream.behave("big", [loading, loading, loading, loading, Behaviour(text="ready")])
    upstream.behave("huge", loading)
    models = {name: openai_model(upstream.url, timeout_seconds=seconds) for name, seconds in (("big", 60), ("huge", 4))}
    told: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    async with connect(ServerFolder(path=tmp_path, models=models)) as client:
        answer = await client.call_tool("chat", {"prompt": "x", "model": "big"}, progress_callback=hear)
        assert data_of(answer)["text"] == "ready"
        assert len(upstream.asked("big")) == 5, "more often than a failing model is asked"
        assert "loading big" in told
        error = error_of(await client.call_tool("chat", {"prompt": "x", "model": "huge"}))
    assert error["kind"] == "VendorLoading"
    assert error["problem"] == "'huge' (custom) is still loading the model: Loading model."


@pytest.mark.anyio
@pytest.mark.parametrize(("vendor", "state"), [("lm_studio", "not-loaded"), ("lm_studio", "loaded"), ("ollama", "")])
async def test_a_server_that_loads_in_silence_is_asked_whether_it_must(tmp_path: Path, vendor: str, state: str) -> None:
    completion = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "llama",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
    chat = {"model": "llama", "message": {"role": "assistant", "content": "hello"}, "done": True, "done_reason": "stop"}
    pages: Pages = {
        "/api/v0/models": (200, {"data": [{"id": "llama", "type": "llm", "state": state, "max_context_length": 8192}]}),
        "/api/ps": (200, {"models": []}),
        "/v1/chat/completions llama": (200, completion),
        "/api/chat llama": (200, {**chat, "prompt_eval_count": 1, "eval_count": 1}),
    }
    told: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    with speaking(pages) as url:
        name = "ollama_chat/llama" if vendor == "ollama" else "hosted_vllm/llama"
        base = url if vendor == "ollama" else f"{url}/v1"
        entry = {"provider": vendor, "litellm_model": name, "base_url": base, "stream": "never"}
        async with connect(ServerFolder(path=tmp_path, models={"mine": entry})) as client:
            answer = await client.call_tool("chat", {"prompt": "x", "model": "mine"}, progress_callback=hear)
    assert data_of(answer)["text"] == "hello"
    assert ("loading mine" in told) == (state != "loaded")


def test_where_nothing_answers_it_says_what_to_do(folder: ServerFolder) -> None:
    done = discover(folder, "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "No model server answers at http://127.0.0.1:9. Start one, or name its address" in done.stderr
    wrong = discover(folder, "http://")
    assert "'http://' is no address of a server." in wrong.stderr


LLAMA_SERVER = """
import sys, threading
import xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path = sys.argv[1]
parameters.hostnames = ["127.0.0.1"]
parameters.port = 0
parameters.n_parallel = 2
parameters.n_ctx = 4096
parameters.n_predict = 24
parameters.ui = False
parameters.warmup = False
parameters.model_alias = {"found-here"}
server = xllamacpp.Server(parameters)
print("HERE", server.listening_address, flush=True)
threading.Event().wait()
"""


@pytest.mark.slow
@pytest.mark.local_models
def test_the_real_llama_cpp_is_found_and_its_entry_answers(folder: ServerFolder) -> None:
    from zen_mcp.providers.local_weights import WeightStore  # noqa: PLC0415 - only here

    weights = Path(cache_folder(os.environ)) / "weights" / "smollm2-135m.gguf"
    if not weights.exists():
        WeightStore(Path(cache_folder(os.environ))).pull("smollm2-135m", progress=lambda step, done, total: None)
    command = [sys.executable, "-c", LLAMA_SERVER, str(weights)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith("HERE"))
        try:
            done = discover(folder, line.split()[1], more=("--write",))
            assert done.returncode == 0, done.stderr
            assert "context_window: 2048" in user_file(folder).read_text()
            assert "max_parallel: 2" in user_file(folder).read_text()
            asked = folder.run("ask", "-m", "found-here", "Say hello.", "--json", timeout_seconds=100)
            assert asked.returncode == 0, asked.stderr
        finally:
            process.kill()
