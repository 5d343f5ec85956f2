"""`litellm.Router` alone, as it comes, against an upstream: prints the CPU ms per call. Arguments: address, calls."""

from __future__ import annotations

import importlib
import os
import sys
import time
from typing import Any

import anyio


async def main(url: str, calls: int) -> None:
    os.environ.update(LITELLM_MODE="PRODUCTION", LITELLM_LOCAL_MODEL_COST_MAP="True")
    litellm: Any = importlib.import_module("litellm")
    parameters = {"model": "hosted_vllm/bench", "api_base": url, "api_key": "sk-bench-0123456789", "timeout": 30}
    router = litellm.Router(model_list=[{"model_name": "bench", "litellm_params": parameters}], num_retries=0)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]
    for _ in range(20):
        await router.acompletion(model="bench", messages=messages)
    started = time.process_time()
    for _ in range(calls):
        await router.acompletion(model="bench", messages=messages)
    sys.stdout.write(f"{(time.process_time() - started) * 1000 / calls}\n")


anyio.run(main, sys.argv[1], int(sys.argv[2]))
