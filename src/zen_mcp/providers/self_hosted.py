"""Finds model servers that run on this machine or that are named, and what their models can take.

What each program says of itself is in its own documentation:
Ollama https://docs.ollama.com/api, LM Studio https://lmstudio.ai/docs/api/rest-api, llama.cpp tools/server/README.md in
its repository, vLLM https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html.
"""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import anyio

USUAL_PLACES = (
    "http://127.0.0.1:11434",  # Ollama
    "http://127.0.0.1:8000",  # vLLM
    "http://127.0.0.1:8080",  # llama.cpp
    "http://127.0.0.1:1234",  # LM Studio
)
"""Where the four listen unless told otherwise."""
ANSWER_SECONDS = 2.0
"""The longest silence of a server."""
LOOK_SECONDS = 8.0
"""For all of one server's answers together."""
_LONGEST_ANSWER = 4 << 20
_AT_ONCE = 8
_OLLAMA_DEFAULT_TOKENS = 4096

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """A model of a server.

    Attributes:
        name: what the server calls it.
        context_window: the tokens it really takes as it runs now; None when the server does not say.
        could_take: what it was trained for, where that is more.
        note: why the two differ, or what else is to be known.
    """

    name: str
    context_window: int | None = None
    could_take: int | None = None
    vision: bool = False
    function_calling: bool = False
    reasoning: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundServer:
    """A server that answered.

    Attributes:
        program: "Ollama", "LM Studio", "llama.cpp", "vLLM", or "an OpenAI-compatible server".
        vendor: what it is in models.yaml.
        max_parallel: requests that it takes at the same time; None when it does not say.
        problem: why it has no models to offer; empty when it has.
    """

    url: str
    program: str
    vendor: str
    models: tuple[FoundModel, ...] = ()
    max_parallel: int | None = None
    problem: str = ""


async def find_servers(urls: Sequence[str]) -> list[FoundServer]:
    """Those of the addresses where a model server answers, in their order; all are asked at the same time."""
    found: dict[str, FoundServer] = {}

    async def look(url: str) -> None:
        with anyio.move_on_after(LOOK_SECONDS):
            server = await anyio.to_thread.run_sync(_look, url, abandon_on_cancel=True, limiter=room)
            if server is not None:
                found[url] = server

    room = anyio.CapacityLimiter(_AT_ONCE)
    async with anyio.create_task_group() as group:
        for url in dict.fromkeys(url.rstrip("/").removesuffix("/v1") for url in urls):
            group.start_soon(look, url)
    return [found[url] for url in dict.fromkeys(url.rstrip("/").removesuffix("/v1") for url in urls) if url in found]


def is_loaded(vendor: str, base_url: str, name: str) -> bool | None:
    """Whether Ollama or LM Studio has the model in memory; None when it does not say. For a thread."""
    url = base_url.rstrip("/").removesuffix("/v1")
    said = _ask(f"{url}/api/ps" if vendor == "ollama" else f"{url}/api/v0/models")
    if said is None or said.status != 200:
        return None
    if vendor == "ollama":
        loaded = {str(entry.get("model") or entry.get("name")) for entry in _entries(said.body.get("models"))}
        return bool({name, f"{name}:latest"} & loaded)
    states = {str(entry.get("id")): entry.get("state") for entry in _entries(said.body.get("data"))}
    return states[name] == "loaded" if name in states else None


@dataclass(frozen=True, slots=True)
class _Said:
    status: int
    body: Entry

    @property
    def text(self) -> str:
        error = self.body.get("error")
        return str(error.get("message", "")) if isinstance(error, dict) else ""  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


def _look(url: str) -> FoundServer | None:
    """What serves there; None for nothing, or something else."""
    listed = _ask(f"{url}/v1/models")
    if listed is None:
        return None
    if listed.status == 503 and "loading" in listed.text.lower():
        return FoundServer(url=url, program="llama.cpp", vendor="custom", problem="it is loading its model; look again")
    entries = _entries(listed.body.get("data"))
    owners = {str(entry.get("owned_by")) for entry in entries}
    if "llamacpp" in owners:
        return _llama_cpp(url, entries)
    if "vllm" in owners or any("max_model_len" in entry for entry in entries):
        return _vllm(url, entries)
    for dialect in (_lm_studio, _ollama):
        server = dialect(url)
        if server is not None:
            return server
    if listed.status in {401, 403}:
        return FoundServer(
            url=url, program="a server", vendor="custom", problem="it wants a key, so write its entry yourself"
        )
    if listed.status != 200 or not entries:
        return None
    models = tuple(
        FoundModel(name=str(entry.get("id")), note="the server does not say its context") for entry in entries
    )
    return FoundServer(url=url, program="an OpenAI-compatible server", vendor="custom", models=models)


def _llama_cpp(url: str, entries: Sequence[Entry]) -> FoundServer:
    """`meta.n_ctx` is one slot's context, `n_ctx_train` that of the training; older versions tell in `/props`."""
    asked = _ask(f"{url}/props")
    props = asked.body if asked is not None and asked.status == 200 else dict[str, Any]()
    slot = _tokens(_inside(props, "default_generation_settings").get("n_ctx"))
    models = list[FoundModel]()
    for entry in entries:
        meta = _inside(entry, "meta")
        models.append(
            _model(
                str(entry.get("id")),
                now=_tokens(meta.get("n_ctx")) or slot,
                trained=_tokens(meta.get("n_ctx_train")),
                how="restart it with a larger --ctx-size",
                vision=bool(_inside(props, "modalities").get("vision")),
            )
        )
    slots = _tokens(props.get("total_slots"))
    return FoundServer(url=url, program="llama.cpp", vendor="custom", models=tuple(models), max_parallel=slots)


def _vllm(url: str, entries: Sequence[Entry]) -> FoundServer:
    models = [
        FoundModel(name=str(entry.get("id")), context_window=_tokens(entry.get("max_model_len"))) for entry in entries
    ]
    return FoundServer(url=url, program="vLLM", vendor="vllm", models=tuple(models))


def _lm_studio(url: str) -> FoundServer | None:
    listed = _ask(f"{url}/api/v0/models")
    if listed is None or listed.status != 200 or "data" not in listed.body:
        return None
    models = [
        _model(
            str(entry.get("id")),
            now=_tokens(entry.get("loaded_context_length")) or _tokens(entry.get("max_context_length")),
            trained=_tokens(entry.get("max_context_length")),
            how="load it with more context in LM Studio",
            vision=entry.get("type") == "vlm",
            function_calling="tool_use" in (entry.get("capabilities") or ()),
            note="" if entry.get("state") == "loaded" else "not loaded: the first answer takes longer",
        )
        for entry in _entries(listed.body.get("data"))
        if entry.get("type") in {"llm", "vlm"}
    ]
    return FoundServer(url=url, program="LM Studio", vendor="lm_studio", models=tuple(models))


def _ollama(url: str) -> FoundServer | None:
    listed = _ask(f"{url}/api/tags")
    if listed is None or listed.status != 200 or "models" not in listed.body:
        return None
    running = _ask(f"{url}/api/ps")
    loaded = {
        str(entry.get("model") or entry.get("name")): _tokens(entry.get("context_length"))
        for entry in _entries(running.body.get("models") if running is not None else None)
    }
    models = list[FoundModel]()
    for entry in _entries(listed.body.get("models")):
        name = str(entry.get("model") or entry.get("name"))
        shown = _ask(f"{url}/api/show", {"model": name})
        details = shown.body if shown is not None and shown.status == 200 else dict[str, Any]()
        able = details.get("capabilities") or ("completion",)
        if "completion" in able:
            models.append(_ollama_model(name, details, able, loaded.get(name)))
    return FoundServer(url=url, program="Ollama", vendor="ollama", models=tuple(models))


def _ollama_model(name: str, details: Entry, able: Sequence[str], loaded: int | None) -> FoundModel:
    """What it takes: as it is loaded, else as its Modelfile says, else Ollama's own default, which is small."""
    said = re.search(r"^num_ctx\s+(\d+)", str(details.get("parameters") or ""), re.MULTILINE)
    trained = next(
        (_tokens(value) for key, value in _inside(details, "model_info").items() if key.endswith(".context_length")),
        None,
    )
    usual = min(_OLLAMA_DEFAULT_TOKENS, trained or _OLLAMA_DEFAULT_TOKENS)
    return _model(
        name,
        now=loaded or (int(said[1]) if said else None) or usual,
        trained=trained,
        how="set OLLAMA_CONTEXT_LENGTH or num_ctx",
        vision="vision" in able,
        function_calling="tools" in able,
        reasoning="thinking" in able,
    )


def _model(name: str, *, now: int | None, trained: int | None, how: str, note: str = "", **able: bool) -> FoundModel:
    """With what it could take besides what it takes."""
    more = trained if trained and now and trained > now else None
    told = f"it could take {more}: {how}" if more else ""
    return FoundModel(
        name=name, context_window=now, could_take=more, note="; ".join(part for part in (told, note) if part), **able
    )


def _ask(url: str, body: Entry | None = None) -> _Said | None:
    """The JSON that a server answers; None when nothing answers, or something else than JSON."""
    sent = json.dumps(body).encode() if body is not None else None
    # No proxy: these servers are on this machine or were named.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, data=sent, headers={"Content-Type": "application/json"})  # noqa: S310
    try:
        with opener.open(request, timeout=ANSWER_SECONDS) as answer:
            return _said(answer.status, answer.read)
    except urllib.error.HTTPError as exc:
        with exc:
            return _said(exc.code, exc.read)
    except (OSError, ValueError, http.client.HTTPException):
        return None


def _said(status: int, read: Callable[[int], bytes]) -> _Said | None:
    try:
        found = json.loads(read(_LONGEST_ANSWER))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return None if status == 200 else _Said(status, {})
    return _Said(status, cast("Entry", found))


def _entries(value: object) -> list[Entry]:
    """The objects of a list."""
    return (
        [cast("Entry", one) for one in cast("list[object]", value) if isinstance(one, dict)]
        if isinstance(value, list)
        else []
    )


def _inside(entry: Entry, key: str) -> Entry:
    value = entry.get(key)
    return cast("Entry", value) if isinstance(value, dict) else {}


def _tokens(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
