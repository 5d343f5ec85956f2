"""JavaScript packages in `node_modules`: what package.json says, and declarations out of `.d.ts` files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from zen_mcp.errors import did_you_mean
from zen_mcp.plugins.apilookup.found import Found, shortened

_DEEPEST = 8
_LARGEST_BYTES = 4 * 1024 * 1024
_SIGNATURE_CHARACTERS = 2_500
_DOCUMENT_CHARACTERS = 1_800
_MOST_NAMES = 80
_KINDS = r"(?:async\s+)?(?:function\*?|abstract\s+class|class|interface|type|const\s+enum|const|let|var|enum|namespace)"
_DECLARED = re.compile(rf"^[ \t]*(?:export\s+)?(?:declare\s+)?(?:default\s+)?{_KINDS}\s+([\w$]+)", re.MULTILINE)
_NAMED_EXPORTS = re.compile(r"export\s+(?:type\s+)?\{([^}]*)\}\s*(?:from\s*['\"]([^'\"]+)['\"])?")
_STAR_EXPORTS = re.compile(r"export\s+\*\s*(?:as\s+([\w$]+)\s*)?from\s*['\"]([^'\"]+)['\"]")
_COMMENT = re.compile(r"/\*\*((?:(?!\*/).)*)\*/\s*$", re.DOTALL)


def split_name(name: str) -> tuple[str, str]:
    """`@scope/pkg.export` as package and export; the package's own name may hold dots (`socket.io`)."""
    scope, slash, rest = name.partition("/") if name.startswith("@") else ("", "", name)
    first, _, export = rest.partition(".")
    return f"{scope}{slash}{first}", export


def look_up_javascript(roots: Sequence[Path], name: str) -> Found | None:
    """A package of a root's `node_modules`, and what one of its exports is. None: it is not installed."""
    for root in roots:
        for package, export in _splits(name):
            folder = root / "node_modules" / package
            manifest = _json(folder / "package.json")
            if manifest:
                return _found(root, package, export, folder, manifest)
    return None


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """The ways to cut a name, the longest package's name first: `socket.io.Server`."""
    scope, slash, rest = name.partition("/") if name.startswith("@") else ("", "", name)
    parts = rest.split(".")
    for end in range(len(parts), 0, -1):
        package = f"{scope}{slash}{'.'.join(parts[:end])}"
        if re.fullmatch(r"(@[\w.-]+/)?[\w-][\w.-]*", package):
            yield package, ".".join(parts[end:])


def _found(root: Path, package: str, export: str, folder: Path, manifest: dict[str, object]) -> Found:
    declarations = _Declarations(folder)
    entry = _types_of(folder, manifest)
    if entry is None:
        typed = root / "node_modules" / "@types" / package.removeprefix("@").replace("/", "__")
        entry = _types_of(typed, _json(typed / "package.json"))
        declarations = _Declarations(typed) if entry else declarations
    signature, document, at, missing, near = "", "", "", "", ""
    if entry is not None and export:
        part = declarations.find(entry, export.partition(".")[0])
        if part is None:
            missing, near = export, did_you_mean(export, declarations.names(entry))
        else:
            signature, document, at = part
    elif entry is not None:
        names = sorted(declarations.names(entry))
        more = f", … {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        signature = f"exports: {', '.join(names[:_MOST_NAMES])}{more}" if names else ""
    elif export:
        missing = f"{export} (there are no type declarations; @types/{package.rpartition('/')[2]} may have some)"
    return Found(
        language="javascript", package=package, version=_text(manifest, "version"), where=f"{root.name}/node_modules",
        summary=_text(manifest, "description"), home=_text(manifest, "homepage"),
        signature=shortened(signature, _SIGNATURE_CHARACTERS), document=shortened(document, _DOCUMENT_CHARACTERS),
        at=at, missing=missing, near=near,
    )  # fmt: skip


class _Declarations:
    """The `.d.ts` files of a package.

    Args:
        folder: the package's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def find(self, file: Path, name: str, depth: int = 0) -> tuple[str, str, str] | None:
        """The declarations of a name with their comment and place, re-exports followed."""
        text = self._read(file)
        if depth > _DEEPEST or not text:
            return None
        own = self._declared(file, text, name)
        if own is not None:
            return own
        for inner, outer, source in _named(text):
            if outer != name:
                continue
            target = self._beside(file, source) if source else None
            found = self.find(target, inner, depth + 1) if target else self._declared(file, text, inner)
            if found is not None:
                return found
        for alias, source in _STAR_EXPORTS.findall(text):
            target = self._beside(file, source) if not alias else None
            found = self.find(target, name, depth + 1) if target else None
            if found is not None:
                return found
        return None

    def names(self, file: Path, depth: int = 0) -> set[str]:
        """What a file exports, re-exports included."""
        text = self._read(file)
        if depth > _DEEPEST or not text:
            return set()
        found = {match[1] for match in _DECLARED.finditer(text) if "export" in match[0]}
        found |= {outer for _, outer, _ in _named(text)}
        for alias, source in _STAR_EXPORTS.findall(text):
            target = self._beside(file, source)
            found |= {alias} if alias else self.names(target, depth + 1) if target else set[str]()
        return found - {"default", ""}

    def _declared(self, file: Path, text: str, name: str) -> tuple[str, str, str] | None:
        matches = [match for match in _DECLARED.finditer(text) if match[1] == name]
        if not matches:
            return None
        signature = "\n".join(_statement(text, match.start()) for match in matches[:4])
        comments = (_COMMENT.search(text[max(0, match.start() - 4_000) : match.start()]) for match in matches)
        comment = next((found[1] for found in comments if found), "")
        lines = [line.strip().removeprefix("*").strip() for line in comment.strip().splitlines()]
        line = text.count("\n", 0, matches[0].start()) + 1
        return signature, "\n".join(lines).strip(), f"{file.relative_to(self._folder.parent).as_posix()}:{line}"

    def _beside(self, file: Path, source: str) -> Path | None:
        if not source.startswith("."):
            return None
        base = (file.parent / re.sub(r"\.(m|c)?js$", "", source)).resolve()
        ends = (".d.ts", ".d.mts", ".d.cts", "/index.d.ts", ".ts")
        tries = [Path(f"{base}{end}") for end in ends]
        return next((path for path in tries if path.is_file() and path.is_relative_to(self._folder)), None)

    def _read(self, file: Path) -> str:
        try:
            real = file.resolve()
            if not real.is_relative_to(self._folder) or real.stat().st_size > _LARGEST_BYTES:
                return ""
            return real.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""


def _named(text: str) -> Iterator[tuple[str, str, str]]:
    """Each `export { inner as outer } from "source"`."""
    for body, source in _NAMED_EXPORTS.findall(text):
        for part in str(body).split(","):
            words = part.removeprefix("type ").strip().removeprefix("type ").split()
            if words:
                yield words[0], words[-1], str(source)


def _statement(text: str, start: int) -> str:
    """A declaration from where it starts to its `;`, or to the brace that closes it."""
    depth = 0
    for at in range(start, min(len(text), start + _SIGNATURE_CHARACTERS)):
        letter = text[at]
        if letter in "({[":
            depth += 1
        elif letter in ")}]":
            depth -= 1
            if depth == 0 and letter == "}" and text[at + 1 : at + 2] in {"\n", "\r", ""}:
                return text[start : at + 1].strip()
        elif letter == ";" and depth == 0:
            return text[start : at + 1].strip()
    return f"{text[start : start + _SIGNATURE_CHARACTERS].strip()} …"


def _types_of(folder: Path, manifest: dict[str, object]) -> Path | None:
    """The file of a package's type declarations."""
    named = [
        _text(manifest, "types"),
        _text(manifest, "typings"),
        *_exported_types(manifest.get("exports")),
        "index.d.ts",
    ]
    main = re.sub(r"\.(m|c)?js$", ".d.ts", _text(manifest, "main"))
    for name in (*named, main):
        path = (folder / name).resolve() if name else folder
        if name and path.is_file() and path.is_relative_to(folder.resolve()):
            return path
    return None


def _exported_types(exports: object) -> list[str]:
    """Every `types` under the `.` of a package's exports."""
    if not isinstance(exports, dict):
        return []
    entries = cast("dict[str, object]", exports)
    below = entries.get(".", entries)
    if isinstance(below, dict):
        inner = cast("dict[str, object]", below)
        types = [value for key, value in inner.items() if key == "types" and isinstance(value, str)]
        return [
            *types,
            *(found for key, value in inner.items() if not key.startswith("./") for found in _exported_types(value)),
        ]
    return []


def _json(file: Path) -> dict[str, object]:
    try:
        value: object = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _text(manifest: dict[str, object], key: str) -> str:
    value = manifest.get(key)
    return value if isinstance(value, str) else ""
