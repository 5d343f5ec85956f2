"""Vendors' batch APIs: many requests in one file, answered within a day at half the price."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from zen_mcp.catalog.model import Model
from zen_mcp.errors import VendorBadAnswer, VendorError, VendorRejected
from zen_mcp.providers.answers import response_of
from zen_mcp.providers.litellm_setup import import_litellm
from zen_mcp.providers.parameters import parameters_of
from zen_mcp.providers.vendor_api import VendorAPI, bare_name, prefix_of, speaks_openai
from zen_mcp.types import ModelRequest, ModelResponse

WINDOW_SECONDS = 86_400.0
"""Within which vendors promise the answers."""
PRICE_SHARE = 0.5
_MARK = "zen_batch"
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_LISTED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorBatch:
    """A batch as its vendor tells of it.

    `output_file` and `error_file` hold the answers so far, None for none; `problem` says why it failed.
    """

    id: str
    status: str
    answered: int = 0
    failed: int = 0
    output_file: str | None = None
    error_file: str | None = None
    problem: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in _ENDED


class VendorBatches:
    """Batches at vendors.

    Args:
        api: what reaches them.
    """

    def __init__(self, api: VendorAPI) -> None:
        self._api = api

    async def create(self, model: Model, requests: Mapping[str, ModelRequest], *, mark: str) -> VendorBatch:
        """Hand requests in, each under a name of its own; `mark` finds the batch again.

        Raises:
            VendorError: it failed; a batch may exist after all unless it says VendorRejected.
        """
        rows = [_row(name, request, model) for name, request in requests.items()]
        file = await self._api.upload(model, "\n".join(rows).encode(), name=f"{mark}.jsonl", purpose="batch")
        created = await self._api.call(
            model,
            "acreate_batch",
            completion_window="24h",
            endpoint="/v1/chat/completions",
            input_file_id=file,
            metadata={_MARK: mark},
        )
        return _batch(created)

    async def find(self, model: Model, *, mark: str) -> VendorBatch | None:
        """The batch that was created under a mark, among the newest hundred; None for none.

        Raises:
            VendorError: it failed.
        """
        listed = await self._api.call(model, "alist_batches", limit=_LISTED)
        for one in listed.data:
            metadata: dict[str, Any] = getattr(one, "metadata", None) or {}
            if metadata.get(_MARK) == mark:
                return _batch(one)
        return None

    async def get(self, model: Model, batch_id: str) -> VendorBatch:
        """How far it is.

        Raises:
            VendorError: it failed.
        """
        return _batch(await self._api.call(model, "aretrieve_batch", batch_id=batch_id))

    async def cancel(self, model: Model, batch_id: str) -> None:
        """Have it stopped.

        Raises:
            VendorError: it failed.
        """
        await self._api.call(model, "acancel_batch", batch_id=batch_id)

    async def answers(self, model: Model, batch: VendorBatch) -> dict[str, ModelResponse | VendorError]:
        """What came of each request, by its name; those that the vendor did not come to are not among them.

        Raises:
            VendorError: the files cannot be fetched.
        """
        found: dict[str, ModelResponse | VendorError] = {}
        for file in (batch.output_file, batch.error_file):
            if file is None:
                continue
            for row in (await self._api.read(model, file)).splitlines():
                if row.strip():
                    _take(row, model, found)
        return found


def takes_batches(model: Model) -> Model | None:
    """The way to reach the model by which its vendor takes batches; None for none."""
    ways = model.deployments or (model,)
    usable = (way for way in ways if way.batch and speaks_openai(way) and way.unavailable is None and not way.members)
    return next(usable, None)


def _row(name: str, request: ModelRequest, model: Model) -> str:
    parameters, _ = parameters_of(replace(request, idempotency_key=None), model)
    if prefix_of(model) != "hosted_vllm" and "max_tokens" in parameters:
        parameters["max_completion_tokens"] = parameters.pop("max_tokens")
    body = {"model": bare_name(model), **parameters}
    return json.dumps({"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body})


def _take(row: bytes, model: Model, found: dict[str, ModelResponse | VendorError]) -> None:
    """Add what a row of the vendor's file says; a request that expired was not answered."""
    try:
        told = cast("dict[str, Any]", json.loads(row))
        name, error = str(told["custom_id"]), cast("dict[str, Any]", told.get("error") or {})
        answer = cast("dict[str, Any]", told.get("response") or {})
    except (ValueError, KeyError, AttributeError, TypeError):
        return  # the request it belongs to counts as not answered
    if error.get("code") in {"batch_expired", "batch_cancelled"}:
        return
    body = cast("dict[str, Any]", answer.get("body") or {})
    if error or answer.get("status_code") != 200:
        inner = cast("dict[str, Any]", body.get("error") or {})
        said = error.get("message") or inner.get("message") or "no reason given"
        found[name] = VendorRejected(f"'{model.name}' ({model.vendor}) rejects the request: {str(said)[:300]}.")
        return
    found[name] = _response(body, model)


def _response(body: dict[str, Any], model: Model) -> ModelResponse | VendorError:
    try:
        completion = import_litellm().ModelResponse(**body)
        response = response_of(completion, model, seconds=0.0, notes=("answered by the vendor's batch API",))
    except VendorError as exc:
        return exc
    except Exception as exc:  # noqa: BLE001 - whatever a vendor wrote into its file
        return VendorBadAnswer(f"'{model.name}' ({model.vendor}) gave an answer that is none: {type(exc).__name__}.")
    dollars = response.cost_dollars
    return replace(response, cost_dollars=None if dollars is None else dollars * PRICE_SHARE)


def _batch(told: Any) -> VendorBatch:
    counts = getattr(told, "request_counts", None)
    errors = getattr(getattr(told, "errors", None), "data", None) or ()
    return VendorBatch(
        id=str(told.id),
        status=str(told.status),
        answered=getattr(counts, "completed", 0) or 0,
        failed=getattr(counts, "failed", 0) or 0,
        output_file=getattr(told, "output_file_id", None),
        error_file=getattr(told, "error_file_id", None),
        problem="; ".join(str(getattr(error, "message", "")) for error in errors)[:300],
    )
