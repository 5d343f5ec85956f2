"""Files and batches, as OpenAI offers them beside its answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_FILE = re.compile(rb'name="file"; filename="[^"]*"\r\n(?:[^\r\n]+\r\n)*\r\n(?P<content>.*?)\r\n--', re.DOTALL)
_PURPOSE = re.compile(rb'name="purpose"(?:\r\n[^\r\n]+)*\r\n\r\n(?P<purpose>[\w-]+)\r\n')

Answer = tuple[int, Mapping[str, Any] | bytes]
"""An HTTP status, and a body of JSON or bytes."""
Chat = Callable[[dict[str, Any]], Answer]
"""Answers one chat completion: status and body."""


@dataclass(slots=True, kw_only=True)
class Plan:
    """How the next batch goes.

    `looks` times it is told to be in progress; then it has this `status`, and all answers but those to the last
    `left_out` lines. `refuse`: an HTTP status with which it is not even created.
    `lose_answer`: it is created, but the answer is a failure.
    """

    looks: int = 1
    status: str = "completed"
    left_out: int = 0
    refuse: int = 0
    lose_answer: bool = False


@dataclass(slots=True)
class Shelf:
    """The upstream's files, batches and fine-tuning jobs."""

    chat: Chat
    plan: Plan = field(default_factory=Plan)
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    purposes: dict[str, str] = field(default_factory=dict[str, str])
    batches: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    looks: dict[str, int] = field(default_factory=dict[str, int])
    tunings: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    tuning_looks: int = 1
    """Times that a fine-tuning job is told to run before it succeeds."""

    def answer(self, method: str, path: str, body: bytes) -> Answer | None:
        """What a request to one of these endpoints is answered; None for another's."""
        parts = path.partition("?")[0].removeprefix("/v1").strip("/").split("/")
        match [method, *parts]:
            case ["POST", "files"]:
                return self._upload(body)
            case ["GET", "files", identity, "content"]:
                return (200, self.files[identity]) if identity in self.files else _missing(identity)
            case ["POST", "fine_tuning", "jobs"]:
                return self._tune(json.loads(body))
            case [_, "fine_tuning", "jobs", identity, *rest]:
                tuning = next((one for one in self.tunings if one["id"] == identity), None)
                return self._look_at_tuning(tuning, rest) if tuning else _missing(identity)
            case ["POST", "batches"]:
                return self._create(json.loads(body))
            case ["GET", "batches"]:
                return 200, {"object": "list", "data": self.batches[::-1], "has_more": False}
            case [_, "batches", identity, *rest]:
                batch = next((one for one in self.batches if one["id"] == identity), None)
                if batch is None:
                    return _missing(identity)
                return self._cancel(batch) if rest == ["cancel"] else self._look(batch)
            case _:
                return None

    def _tune(self, asked: dict[str, Any]) -> Answer:
        tuning: dict[str, Any] = {
            "id": f"ftjob-{len(self.tunings) + 1}",
            "object": "fine_tuning.job",
            "created_at": 1,
            "model": asked["model"],
            "training_file": asked["training_file"],
            "suffix": asked.get("suffix"),
            "status": "queued",
            "hyperparameters": {"n_epochs": 3},
            "organization_id": "org",
            "result_files": [],
            "seed": 1,
        }
        self.tunings.append(tuning)
        self.looks[tuning["id"]] = 0
        return 200, tuning

    def _look_at_tuning(self, tuning: dict[str, Any], rest: list[str]) -> Answer:
        if rest == ["cancel"]:
            tuning["status"] = "cancelled"
        elif tuning["status"] in {"queued", "running"}:
            self.looks[tuning["id"]] += 1
            is_done = self.looks[tuning["id"]] > self.tuning_looks
            tuning["status"] = "succeeded" if is_done else "running"
            if is_done:
                name = f"ft:{tuning['model']}:{tuning['suffix']}:{len(self.tunings)}"
                tuning |= {"fine_tuned_model": name, "trained_tokens": 300}
        return 200, tuning

    def _upload(self, body: bytes) -> Answer:
        found, purpose = _FILE.search(body), _PURPOSE.search(body)
        if found is None or purpose is None:
            return 400, {"error": {"message": "no file or no purpose"}}
        identity = self._file(found["content"], purpose["purpose"].decode())
        return 200, {
            "id": identity,
            "object": "file",
            "bytes": len(found["content"]),
            "created_at": 1,
            "filename": "file.jsonl",
            "purpose": self.purposes[identity],
            "status": "processed",
        }

    def _file(self, content: bytes, purpose: str) -> str:
        identity = f"file-{len(self.files) + 1}"
        self.files[identity], self.purposes[identity] = content, purpose
        return identity

    def _create(self, asked: dict[str, Any]) -> Answer:
        if self.plan.refuse:
            return self.plan.refuse, {"error": {"message": "no batches today"}}
        batch: dict[str, Any] = {
            "id": f"batch_{len(self.batches) + 1}",
            "object": "batch",
            "endpoint": asked["endpoint"],
            "input_file_id": asked["input_file_id"],
            "completion_window": asked["completion_window"],
            "status": "validating",
            "created_at": 1,
            "metadata": asked.get("metadata"),
        }
        self.batches.append(batch)
        self.looks[batch["id"]] = 0
        return (502, {"error": {"message": "lost on the way"}}) if self.plan.lose_answer else (200, batch)

    def _look(self, batch: dict[str, Any]) -> Answer:
        self.looks[batch["id"]] += 1
        if batch["status"] in {"validating", "in_progress"}:
            batch["status"] = "in_progress"
            if self.looks[batch["id"]] > self.plan.looks:
                self._end(batch)
        return 200, batch

    def _end(self, batch: dict[str, Any]) -> None:
        batch["status"] = self.plan.status
        if self.plan.status == "failed":
            batch["errors"] = {"object": "list", "data": [{"code": "bad", "message": "the file is not liked"}]}
            return
        rows = [json.loads(row) for row in self.files[batch["input_file_id"]].splitlines()]
        kept, late = rows[: len(rows) - self.plan.left_out], rows[len(rows) - self.plan.left_out :]
        good: list[str] = []
        bad = [
            json.dumps({"custom_id": row["custom_id"], "response": None, "error": {"code": "batch_expired"}})
            for row in late
        ]
        for row in reversed(kept):  # vendors promise no order
            status, body = self.chat(row["body"])
            told = {"custom_id": row["custom_id"], "response": {"status_code": status, "body": body}, "error": None}
            (good if status == 200 else bad).append(json.dumps(told))
        batch["output_file_id"] = self._file("\n".join(good).encode(), "batch_output") if good else None
        batch["error_file_id"] = self._file("\n".join(bad).encode(), "batch_output") if bad else None
        batch["request_counts"] = {"total": len(rows), "completed": len(good), "failed": len(bad)}

    def _cancel(self, batch: dict[str, Any]) -> Answer:
        batch["status"] = "cancelled"
        return 200, batch


def _missing(identity: str) -> Answer:
    return 404, {"error": {"message": f"there is no {identity}"}}
