"""Vendors' fine-tuning APIs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zen_mcp.catalog.model import Model
from zen_mcp.providers.vendor_api import VendorAPI, bare_name, prefix_of, speaks_openai

_ENDED = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorTuning:
    """A fine-tuning job as its vendor tells of it.

    `model` is the finished model's name there, None before; `tokens` it was trained with, None while unknown.
    """

    id: str
    status: str
    model: str | None = None
    tokens: int | None = None
    problem: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in _ENDED


class VendorTunings:
    """Fine-tuning at vendors.

    Args:
        api: what reaches them.
    """

    def __init__(self, api: VendorAPI) -> None:
        self._api = api

    async def create(self, model: Model, content: bytes, *, suffix: str | None) -> VendorTuning:
        """Upload the examples, and have a model trained with them.

        Raises:
            VendorError: it failed.
        """
        file = await self._api.upload(model, content, name="examples.jsonl", purpose="fine-tune")
        created = await self._api.call(
            model, "acreate_fine_tuning_job", model=bare_name(model), training_file=file, suffix=suffix
        )
        return _tuning(created)

    async def get(self, model: Model, tuning_id: str) -> VendorTuning:
        """How far it is.

        Raises:
            VendorError: it failed.
        """
        return _tuning(await self._api.call(model, "aretrieve_fine_tuning_job", fine_tuning_job_id=tuning_id))

    async def cancel(self, model: Model, tuning_id: str) -> None:
        """Have it stopped.

        Raises:
            VendorError: it failed.
        """
        await self._api.call(model, "acancel_fine_tuning_job", fine_tuning_job_id=tuning_id)


def takes_tuning(model: Model) -> Model | None:
    """The way to reach the model by which its vendor may train it; None for none."""
    ways = model.deployments or (model,)
    return next((way for way in ways if speaks_openai(way) and way.unavailable is None and not way.members), None)


def tuned_name(model: Model, told: str) -> str:
    """What LiteLLM calls the finished model."""
    return f"{prefix_of(model)}/{told}"


def _tuning(told: Any) -> VendorTuning:
    error = getattr(told, "error", None)
    return VendorTuning(
        id=str(told.id),
        status=str(told.status),
        model=getattr(told, "fine_tuned_model", None),
        tokens=getattr(told, "trained_tokens", None),
        problem=str(getattr(error, "message", "") or "")[:300],
    )
