"""What nobody wrote: generated and vendored files, which are sent only when they are named."""

from __future__ import annotations

import fnmatch
from pathlib import PurePath

SKIPPED_FOLDERS = frozenset({
    ".hg", ".svn", ".jj", "node_modules", "bower_components", "vendor", "third_party", "dist", "build", "out",
    "target", "__pycache__", ".venv", "venv", ".tox", ".nox", ".mypy_cache", ".pytest_cache", ".ruff_cache",
    ".hypothesis", ".gradle", ".next", ".nuxt", ".svelte-kit", ".terraform", ".idea", "coverage", "htmlcov",
    "site-packages", "DerivedData", "Pods", ".eggs",
})  # fmt: skip
_LOCK_FILES = frozenset({
    "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb", "poetry.lock",
    "pdm.lock", "uv.lock", "pipfile.lock", "cargo.lock", "composer.lock", "gemfile.lock", "go.sum", "flake.lock",
    "mix.lock", "pubspec.lock", "podfile.lock", "packages.lock.json", "gradle.lockfile",
})  # fmt: skip
_GENERATED = (
    "*.min.js", "*.min.css", "*.min.mjs", "*.bundle.js", "*.chunk.js", "*.map", "*_pb2.py", "*_pb2_grpc.py", "*.pb.go",
    "*.g.dart", "*.designer.cs", "*.snap",
)  # fmt: skip
_IN_FOLDERS = frozenset({"node_modules", "bower_components", "site-packages", "__pycache__", "Pods"})
_LONG_LINE_CHARACTERS = 2_000


def why_generated(path: str) -> str:
    """Why a file is not worth reading, by its name: "a lock file", "generated", "vendored"; empty for none."""
    pure = PurePath(path)
    name = pure.name.lower()
    if name in _LOCK_FILES:
        return "a lock file"
    if any(fnmatch.fnmatch(name, pattern) for pattern in _GENERATED):
        return "generated"
    return "vendored" if _IN_FOLDERS.intersection(pure.parts[:-1]) else ""


def looks_minified(text: str) -> bool:
    """Whether a text has hardly any line breaks."""
    return len(text) > 2 * _LONG_LINE_CHARACTERS and len(text) / (text.count("\n") + 1) > _LONG_LINE_CHARACTERS
