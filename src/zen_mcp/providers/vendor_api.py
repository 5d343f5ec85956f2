"""What vendors offer besides answers, through LiteLLM: files, batches, fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import anyio

from zen_mcp.catalog.model import Model
from zen_mcp.errors import VendorTimeout
from zen_mcp.providers.litellm_setup import import_litellm, is_imported
from zen_mcp.providers.vendor_errors import translated
from zen_mcp.types import JSONValue

_SPOKEN_AS = {"openai": "openai", "hosted_vllm": "openai", "azure": "azure"}
"""By LiteLLM's prefix: an endpoint that speaks OpenAI's API is asked as OpenAI is, at its own address."""
_SECONDS = 120.0


class VendorAPI:
    """Calls to vendors' endpoints beside chat completions.

    Args:
        secrets: every key there is, to be kept out of messages.
    """

    def __init__(self, *, secrets: Callable[[], Iterable[str]]) -> None:
        self._secrets = secrets

    async def upload(self, model: Model, content: bytes, *, name: str, purpose: str) -> str:
        """Store a file at the vendor; its id there.

        Raises:
            VendorError: it failed.
        """
        file = await self.call(model, "acreate_file", file=(name, content), purpose=purpose)
        return str(file.id)

    async def read(self, model: Model, file_id: str) -> bytes:
        """The content of a file at the vendor.

        Raises:
            VendorError: it failed.
        """
        answer = await self.call(model, "afile_content", file_id=file_id)
        return bytes(answer.content)

    async def call(self, model: Model, function: str, /, **arguments: Any) -> Any:
        """One call of LiteLLM's, at the model's address with its key.

        Raises:
            VendorError: the vendor failed, or gave no answer within two minutes.
        """
        litellm = import_litellm() if is_imported() else await anyio.to_thread.run_sync(import_litellm)
        given: dict[str, Any] = {
            "custom_llm_provider": _SPOKEN_AS[prefix_of(model)],
            "api_base": model.base_url,
            "api_key": model.api_key or ("none" if model.base_url else None),
            "max_retries": 0,
            "timeout": _SECONDS,
            **dict(model.extra),
            **arguments,
        }
        try:
            with anyio.fail_after(_SECONDS):
                return await getattr(litellm, function)(**{k: v for k, v in given.items() if v is not None})
        except TimeoutError:
            text = f"'{model.name}' ({model.vendor}) gave no answer within {_SECONDS:g} s."
            raise VendorTimeout(text, "Try again later.") from None
        except Exception as exc:  # noqa: BLE001 - the border: every class is looked up in the table
            raise translated(exc, model, secrets=self._secrets()) from None


def speaks_openai(model: Model) -> bool:
    """Whether the vendor's further endpoints can be reached at all."""
    return prefix_of(model) in _SPOKEN_AS


def prefix_of(model: Model) -> str:
    """LiteLLM's word for the vendor."""
    return model.litellm_model.partition("/")[0]


def bare_name(model: Model) -> str:
    """What the vendor itself calls the model."""
    return model.litellm_model.partition("/")[2] or model.litellm_model


def plain(value: Any) -> dict[str, JSONValue]:
    """An object of LiteLLM's as a dictionary."""
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else dict(value)
