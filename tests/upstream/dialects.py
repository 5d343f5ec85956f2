"""The APIs that the upstream speaks: OpenAI's chat completions and Responses, Anthropic's Messages, Gemini's."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from tests.upstream.behaviour import Behaviour, Received

_GEMINI = re.compile(r"/models/([^:/]+):(generateContent|streamGenerateContent)")


class Dialect(ABC):
    """One API: how a request names its model, how an answer looks whole and in pieces."""

    @abstractmethod
    def received(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Received:
        """The request in our words."""

    @abstractmethod
    def whole(self, received: Received, behaviour: Behaviour) -> dict[str, Any]:
        """The answer in one piece."""

    @abstractmethod
    def pieces(self, received: Received, behaviour: Behaviour, words: Sequence[str]) -> list[bytes]:
        """What begins a stream, and one event per word."""

    @abstractmethod
    def end(self, received: Received, behaviour: Behaviour) -> bytes:
        """What ends a stream."""

    def error(self, behaviour: Behaviour) -> dict[str, Any]:
        """The body of a failure."""
        return {"error": {"message": behaviour.text, "type": "error", "code": behaviour.status}}


def dialect_of(path: str) -> Dialect | None:
    """Who speaks at this path."""
    if path.endswith("/chat/completions"):
        return Completions()
    if path.endswith("/responses"):
        return Responses()
    if path.endswith("/messages"):
        return Messages()
    return Gemini() if _GEMINI.search(unquote(path)) else None


def tokens_of(received: Received, behaviour: Behaviour) -> tuple[int, int]:
    """A token per word, which is as good as any other count: in and out."""
    prompt = sum(len(str(message["content"]).split()) for message in received.messages)
    return prompt, len(behaviour.text.split())


def _sse(body: Mapping[str, Any], event: str | None = None) -> bytes:
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(body)}\n\n".encode()


class Completions(Dialect):
    """OpenAI's chat completions."""

    def received(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Received:
        """As it is."""
        return Received(model=body["model"], body=body, headers=headers, stream=bool(body.get("stream")))

    def whole(self, received: Received, behaviour: Behaviour) -> dict[str, Any]:
        """A chat.completion."""
        message: dict[str, Any] = {"role": "assistant", "content": "" if behaviour.how == "empty" else behaviour.text}
        if behaviour.function_call:
            name, arguments = behaviour.function_call
            call = {"id": "call-1", "type": "function", "function": {"name": name, "arguments": arguments}}
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
        body: dict[str, Any] = {
            "id": "chatcmpl-test",
            "object": "chat.completion",
            "created": 1,
            "model": behaviour.answered_by or received.model,
            "choices": [{"index": 0, "message": message, "finish_reason": behaviour.finish_reason}],
        }
        return {**body, "usage": self._usage(received, behaviour)} if behaviour.usage else body

    def pieces(self, received: Received, behaviour: Behaviour, words: Sequence[str]) -> list[bytes]:
        """A chunk per word."""
        return [self._event(received, behaviour, {"content": word}, None) for word in words]

    def end(self, received: Received, behaviour: Behaviour) -> bytes:
        """The finish reason, the usage when it is wished for, the end."""
        text = self._event(received, behaviour, {}, behaviour.finish_reason)
        options: dict[str, Any] = received.body.get("stream_options") or {}
        if behaviour.usage and options.get("include_usage"):
            text += _sse({**self._head(received, behaviour), "choices": [], "usage": self._usage(received, behaviour)})
        return text + b"data: [DONE]\n\n"

    def _usage(self, received: Received, behaviour: Behaviour) -> dict[str, Any]:
        prompt, answer = tokens_of(received, behaviour)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": answer,
            "total_tokens": prompt + answer,
            "prompt_tokens_details": {"cached_tokens": behaviour.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": behaviour.reasoning_tokens},
        }

    def _head(self, received: Received, behaviour: Behaviour) -> dict[str, Any]:
        name = behaviour.answered_by or received.model
        return {"id": "chatcmpl-test", "object": "chat.completion.chunk", "created": 1, "model": name}

    def _event(
        self, received: Received, behaviour: Behaviour, delta: dict[str, str], finish_reason: str | None
    ) -> bytes:
        choice = {"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": finish_reason}
        return _sse({**self._head(received, behaviour), "choices": [choice]})


class Responses(Dialect):
    """OpenAI's Responses."""

    def received(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Received:
        """Its input as messages."""
        given = body["input"]
        messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
        return Received(
            model=body["model"], body={**body, "messages": messages}, headers=headers, stream=bool(body.get("stream"))
        )

    def whole(self, received: Received, behaviour: Behaviour) -> dict[str, Any]:
        """A response."""
        prompt, answer = tokens_of(received, behaviour)
        part: dict[str, Any] = {"type": "output_text", "text": behaviour.text, "annotations": []}
        message: dict[str, Any] = {"type": "message", "id": "m-1", "role": "assistant", "content": [part]}
        message["status"] = "completed"
        return {
            "id": "resp-test",
            "object": "response",
            "created_at": 1,
            "status": "completed",
            "model": received.model,
            "output": [message],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": {
                "input_tokens": prompt,
                "output_tokens": answer,
                "total_tokens": prompt + answer,
                "input_tokens_details": {"cached_tokens": behaviour.cached_tokens},
                "output_tokens_details": {"reasoning_tokens": behaviour.reasoning_tokens},
            },
        }

    def pieces(self, received: Received, behaviour: Behaviour, words: Sequence[str]) -> list[bytes]:
        """A delta per word."""
        at = {"item_id": "m-1", "output_index": 0, "content_index": 0}
        kind = "response.output_text.delta"
        return [_sse({"type": kind, "sequence_number": n, **at, "delta": word}, kind) for n, word in enumerate(words)]

    def end(self, received: Received, behaviour: Behaviour) -> bytes:
        """The whole response."""
        kind = "response.completed"
        return _sse({"type": kind, "sequence_number": 999, "response": self.whole(received, behaviour)}, kind)


class Messages(Dialect):
    """Anthropic's Messages."""

    def received(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Received:
        """As it is."""
        return Received(model=body["model"], body=body, headers=headers, stream=bool(body.get("stream")))

    def whole(self, received: Received, behaviour: Behaviour) -> dict[str, Any]:
        """A message."""
        return {
            "id": "msg-test",
            "type": "message",
            "role": "assistant",
            "model": received.model,
            "content": [{"type": "text", "text": "" if behaviour.how == "empty" else behaviour.text}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": self._usage(received, behaviour),
        }

    def pieces(self, received: Received, behaviour: Behaviour, words: Sequence[str]) -> list[bytes]:
        """The start of the message, then a delta per word."""
        message: dict[str, Any] = {**self.whole(received, behaviour), "content": [], "stop_reason": None}
        block = {"type": "text", "text": ""}
        first = _sse({"type": "message_start", "message": message}, "message_start") + _sse(
            {"type": "content_block_start", "index": 0, "content_block": block}, "content_block_start"
        )
        kind = "content_block_delta"
        deltas = [_sse({"type": kind, "index": 0, "delta": {"type": "text_delta", "text": w}}, kind) for w in words]
        return [first, *deltas]

    def end(self, received: Received, behaviour: Behaviour) -> bytes:
        """The stop reason and the usage."""
        usage = {"output_tokens": tokens_of(received, behaviour)[1]}
        delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage}
        stop = _sse({"type": "content_block_stop", "index": 0}, "content_block_stop")
        return stop + _sse(delta, "message_delta") + _sse({"type": "message_stop"}, "message_stop")

    def error(self, behaviour: Behaviour) -> dict[str, Any]:
        """The body of a failure."""
        return {"type": "error", "error": {"type": "error", "message": behaviour.text}}

    def _usage(self, received: Received, behaviour: Behaviour) -> dict[str, Any]:
        prompt, answer = tokens_of(received, behaviour)
        fresh = prompt - behaviour.cached_tokens - behaviour.cache_write_tokens
        return {
            "input_tokens": fresh,
            "output_tokens": answer,
            "cache_read_input_tokens": behaviour.cached_tokens,
            "cache_creation_input_tokens": behaviour.cache_write_tokens,
        }


class Gemini(Dialect):
    """Google AI Studio's generateContent."""

    def received(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Received:
        """The model is in the path, the messages are `contents`."""
        found = _GEMINI.search(unquote(path))
        assert found is not None
        messages = [
            {"role": content.get("role", "user"), "content": "".join(part.get("text", "") for part in content["parts"])}
            for content in body["contents"]
        ]
        stream = found[2] == "streamGenerateContent"
        return Received(model=found[1], body={**body, "messages": messages}, headers=headers, stream=stream)

    def whole(self, received: Received, behaviour: Behaviour) -> dict[str, Any]:
        """A GenerateContentResponse."""
        return {**self._part(behaviour.text, "STOP"), **self._usage(received, behaviour)}

    def pieces(self, received: Received, behaviour: Behaviour, words: Sequence[str]) -> list[bytes]:
        """One response per word."""
        return [_sse(self._part(word, None)) for word in words]

    def end(self, received: Received, behaviour: Behaviour) -> bytes:
        """The last one, with the usage."""
        return _sse({**self._part("", "STOP"), **self._usage(received, behaviour)})

    def error(self, behaviour: Behaviour) -> dict[str, Any]:
        """The body of a failure."""
        return {"error": {"code": behaviour.status, "message": behaviour.text, "status": "FAILED"}}

    def _part(self, text: str, reason: str | None) -> dict[str, Any]:
        candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": [{"text": text}]}}
        return {"candidates": [{**candidate, "finishReason": reason} if reason else candidate]}

    def _usage(self, received: Received, behaviour: Behaviour) -> dict[str, Any]:
        prompt, answer = tokens_of(received, behaviour)
        said = answer - behaviour.reasoning_tokens
        counts = {
            "promptTokenCount": prompt,
            "candidatesTokenCount": said,
            "thoughtsTokenCount": behaviour.reasoning_tokens,
            "cachedContentTokenCount": behaviour.cached_tokens,
            "totalTokenCount": prompt + answer,
        }
        return {"usageMetadata": counts, "modelVersion": received.model}
