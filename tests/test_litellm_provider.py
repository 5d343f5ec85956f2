"""What only LiteLLM does: its table of errors, its silence."""

from __future__ import annotations

import inspect
import subprocess
import sys
from types import ModuleType

import pytest
from tests.conftest import KEY

from zen_mcp.catalog.model import Model
from zen_mcp.errors import VendorUnreachable
from zen_mcp.providers.litellm_provider import import_litellm
from zen_mcp.providers.vendor_errors import TRANSLATIONS, redact, translate


def test_every_exception_of_litellm_is_translated() -> None:
    litellm: ModuleType = import_litellm()
    classes = {
        value.__name__
        for module in (litellm.exceptions, litellm, litellm.types.router)
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__.startswith("litellm")
    }
    assert len(classes) > 20, "the walk finds them"
    assert classes - set(TRANSLATIONS) == set()


def test_an_error_of_a_class_in_no_row_is_a_bug_and_an_error_of_a_known_base_is_not() -> None:
    model = Model(name="m", vendor="custom", litellm_model="hosted_vllm/m", base_url="http://x")
    assert translate(Warning("?"), model, secrets=()) is None
    derived = type("NewError", (ConnectionError,), {})
    assert isinstance(translate(derived("gone"), model, secrets=()), VendorUnreachable)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"bad key {KEY}!", "bad key [key]!"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: [key]"),
        ("sk-proj-abcdefghijklmnop failed", "[key] failed"),
        ("a\n  b", "a b"),
    ],
)
def test_keys_are_taken_out_of_vendors_words(text: str, clean: str) -> None:
    assert redact(text, [KEY]) == clean


def test_litellm_says_nothing_on_standard_output_even_at_debug() -> None:
    program = """
import asyncio, logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
from zen_mcp.providers.litellm_provider import import_litellm
litellm = import_litellm()
router = litellm.Router(model_list=[{"model_name": "m", "litellm_params": {
    "model": "hosted_vllm/m", "api_base": "http://127.0.0.1:9/v1", "api_key": "sk-0123456789abcdef"}}], num_retries=0)
try:
    asyncio.run(router.acompletion(model="m", messages=[{"role": "user", "content": "x"}]))
except Exception as exc:
    print(type(exc).__name__, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == ""
    assert "InternalServerError" in done.stderr
    assert "sk-0123456789abcdef" not in done.stderr
