"""Which file a module's name means, in each language."""

from __future__ import annotations

import posixpath
from pathlib import PurePosixPath

from zen_mcp.plugins.tracer.index import Index

_SCRIPT_ENDS = (
    "", ".ts", ".tsx", ".mts", ".js", ".jsx", ".mjs", ".cjs", ".d.ts",
    "/index.ts", "/index.tsx", "/index.js", "/index.jsx", "/index.mjs",
)  # fmt: skip


class Modules:
    """Finds the files of modules.

    Args:
        index: the files.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._files = index.sources.files
        self._found: dict[tuple[str, str], list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        for path in self._files:
            pure = PurePosixPath(path)
            stem = pure.parent.name if pure.stem in {"__init__", "mod", "index"} else pure.stem
            self._by_stem.setdefault(stem, []).append(path)

    def find(self, path: str, module: str) -> list[str]:
        """The files of a module as it is named in `path`; none for one from elsewhere. A Go package has several."""
        key = (str(PurePosixPath(path).parent), module)
        if key not in self._found:
            find = {"python": self._python, "javascript": self._script, "go": self._go, "java": self._java}
            self._found[key] = find.get(self._index.family(path), self._rust)(path, module)
        return self._found[key]

    def dotted(self, path: str) -> str:
        """A Python file's module name, from the topmost folder that is a package."""
        pure = PurePosixPath(path)
        parts = [] if pure.stem == "__init__" else [pure.stem]
        folder = pure.parent
        while str(folder) != "." and f"{folder}/__init__.py" in self._files:
            parts.insert(0, folder.name)
            folder = folder.parent
        return ".".join(parts)

    def _python(self, path: str, module: str) -> list[str]:
        if module.startswith("."):
            name = module.lstrip(".")
            folder = PurePosixPath(path).parent
            for _ in range(len(module) - len(name) - 1):
                folder = folder.parent
            below = posixpath.join(str(folder), *name.split(".")) if name else str(folder)
            tries = (f"{below}.py", f"{below}/__init__.py", f"{below}.pyi")
            return [PurePosixPath(file).as_posix() for file in tries if PurePosixPath(file).as_posix() in self._files][
                :1
            ]
        last = module.rpartition(".")[2]
        return [file for file in self._by_stem.get(last, []) if self.dotted(file) == module][:1]

    def _script(self, path: str, module: str) -> list[str]:
        if module.startswith("."):
            base = posixpath.normpath(posixpath.join(str(PurePosixPath(path).parent), module))
            stems = [base, posixpath.splitext(base)[0]] if base.endswith((".js", ".jsx", ".mjs", ".cjs")) else [base]
            tries = [f"{stem}{end}" for stem in stems for end in _SCRIPT_ENDS]
            return [file for file in tries if file in self._files][:1]
        if module.startswith(("@/", "~/")):
            ends = tuple(f"/{module[2:]}{end}" for end in _SCRIPT_ENDS)
            return [file for file in self._files if f"/{file}".endswith(ends)][:1]
        return []

    def _go(self, path: str, module: str) -> list[str]:
        parts = module.split("/")
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            folders = [folder for folder in self._index.folders() if f"/{folder}".endswith(f"/{tail}")]
            if len(folders) == 1:
                return [file for file in self._index.in_folder(folders[0]) if file.endswith(".go")]
        return []

    def _java(self, path: str, module: str) -> list[str]:
        tail = f"/{module.replace('.', '/')}.java"
        return [file for file in self._by_stem.get(module.rpartition(".")[2], []) if f"/{file}".endswith(tail)][:1]

    def _rust(self, path: str, module: str) -> list[str]:
        parts = [part for part in module.split(".") if part not in {"crate", "self", "super"}]
        files = [file for file in self._by_stem.get(parts[-1], []) if file.endswith(".rs")] if parts else []
        return files if len(files) == 1 else []
