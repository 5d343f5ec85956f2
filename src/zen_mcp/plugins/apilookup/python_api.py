"""A Python name's signature and documentation, out of its source or stub; nothing is imported."""

from __future__ import annotations

import ast
import inspect
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zen_mcp.errors import did_you_mean
from zen_mcp.plugins.apilookup.found import Found, shortened
from zen_mcp.plugins.apilookup.python_packages import (
    Environment,
    find_distribution,
    home_of,
    modules_of,
    text_of,
)

_DEEPEST = 12
_MOST_METHODS = 40
_MOST_OVERLOADS = 4
_DOCUMENT_CHARACTERS = 1_800
_SIGNATURE_CHARACTERS = 2_500

_Defined = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class _Part:
    """A name found: the nodes that define it (several for overloads), none for a module itself, and its file."""

    file: Path
    nodes: tuple[ast.stmt, ...] = ()


def look_up_python(environment: Environment, name: str) -> Found | None:
    """The package that a dotted name begins with, and what the rest of it means. None: it is not installed."""
    first, _, rest = name.partition(".")
    distribution = find_distribution(environment, first)
    library = _Library(environment.folders)
    if distribution is None:
        return _standard(first, rest) or _unpackaged(environment, library, first, rest)
    modules = modules_of(distribution)
    top = first if first in modules else modules[0]
    part, missing, near = library.find(top, rest)
    return Found(
        language="python",
        package=distribution.metadata["Name"],
        version=distribution.version,
        where=environment.title,
        summary=text_of(distribution, "Summary"),
        home=home_of(distribution),
        missing=missing,
        near=near,
        **_told(library, part),
    )


def _standard(first: str, rest: str) -> Found | None:
    """A name of the standard library of the server's own Python."""
    folder = sysconfig.get_path("stdlib")
    library = _Library((Path(folder),) if folder else ())
    part, missing, near = library.find(first, rest)
    if part is None:
        return None
    version = sysconfig.get_python_version()
    home = f"https://docs.python.org/{version}/library/{first}.html"
    return Found(
        language="python", package=first, version=version, where="Python's standard library", home=home,
        missing=missing, near=near, **_told(library, part),
    )  # fmt: skip


def _unpackaged(environment: Environment, library: _Library, first: str, rest: str) -> Found | None:
    """A module without a package's data, such as one under development."""
    part, missing, near = library.find(first, rest)
    if part is None:
        return None
    return Found(
        language="python", package=first, version="", where=f"{environment.title}, from source", missing=missing,
        near=near, **_told(library, part),
    )  # fmt: skip


def _told(library: _Library, part: _Part | None) -> dict[str, str]:
    """Signature, documentation and place of what was found."""
    if part is None:
        return {}
    tree = library.tree(part.file)
    line = f":{part.nodes[0].lineno}" if part.nodes else ""
    at = f"{library.shown(part.file)}{line}"
    if not part.nodes:
        names = sorted(_public(tree))
        signature = f"module with: {', '.join(names)}" if names else ""
        document = ast.get_docstring(tree) or ""
    else:
        signature = "\n".join(_signature(node) for node in part.nodes[:_MOST_OVERLOADS])
        documents = (_document(node) for node in reversed(part.nodes))
        document = next((text for text in documents if text), "")
    return {
        "signature": shortened(signature, _SIGNATURE_CHARACTERS),
        "document": shortened(document, _DOCUMENT_CHARACTERS),
        "at": at,
    }


class _Library:
    """Modules below some folders.

    Args:
        folders: where top modules are looked for.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._trees: dict[Path, ast.Module] = {}

    def find(self, top: str, rest: str) -> tuple[_Part | None, str, str]:
        """What `top.rest` is, the part of the name that is not there, and a name near to it."""
        file = self._top(top)
        if file is None:
            return None, rest, ""
        part = _Part(file)
        names = rest.split(".") if rest else []
        for at, name in enumerate(names):
            below = self._inner(part, name, 0)
            if below is None:
                known = self._names(part)
                near = "It is compiled: its source is not here." if name in known else did_you_mean(name, known)
                return part, ".".join(names[at:]), near
            part = below
        return part, "", ""

    def tree(self, file: Path) -> ast.Module:
        """A file, parsed; empty where that is not possible."""
        if file not in self._trees:
            try:
                self._trees[file] = ast.parse(file.read_text(encoding="utf-8-sig"))
            except (OSError, SyntaxError, ValueError, RecursionError):
                self._trees[file] = ast.Module(body=[], type_ignores=[])
        return self._trees[file]

    def shown(self, file: Path) -> str:
        """A file's path from the folder in which its package lies."""
        above = next((folder for folder in self._folders if file.is_relative_to(folder)), None)
        return file.relative_to(above).as_posix() if above else file.name

    def _top(self, name: str) -> Path | None:
        tries = [_module_file(folder, name) for folder in self._folders]
        return next((file for file in tries if file), None)

    def _names(self, part: _Part) -> set[str]:
        if not part.nodes:
            return _public(self.tree(part.file))
        node = part.nodes[-1]
        return {one.name for one in node.body if isinstance(one, _Defined)} if isinstance(node, ast.ClassDef) else set()

    def _inner(self, part: _Part, name: str, depth: int) -> _Part | None:
        if depth > _DEEPEST:
            return None
        if part.nodes:
            return self._member(part, name, depth)
        tree = self.tree(part.file)
        own = tuple(node for node in _statements(tree.body) if _defines(node, name))
        if own:
            return _Part(part.file, own)
        if part.file.stem == "__init__":
            file = _module_file(part.file.parent, name)
            if file is not None:
                return _Part(file)
        stub = part.file.with_suffix(".pyi")
        return self._imported(part.file, tree, name, depth) or (
            self._inner(_Part(stub), name, depth + 1) if stub != part.file and stub.is_file() else None
        )

    def _member(self, part: _Part, name: str, depth: int) -> _Part | None:
        """A member of a class, or of what it derives from."""
        node = part.nodes[-1]
        if not isinstance(node, ast.ClassDef):
            return None
        own = tuple(one for one in _statements(node.body) if _defines(one, name))
        if own:
            return _Part(part.file, own)
        for base in node.bases:
            words = ast.unparse(base).partition("[")[0].split(".")
            above: _Part | None = _Part(part.file)
            for word in words:
                above = self._inner(above, word, depth + 1) if above else None
            found = self._member(above, name, depth + 1) if above and above.nodes else None
            if found is not None:
                return found
        return None

    def _imported(self, file: Path, tree: ast.Module, name: str, depth: int) -> _Part | None:
        """A name that the module took from elsewhere."""
        for node in _statements(tree.body):
            if not isinstance(node, ast.ImportFrom):
                continue
            for alias in node.names:
                if alias.name != "*" and (alias.asname or alias.name) != name:
                    continue
                source = self._source(file, node)
                found = (
                    self._inner(_Part(source), name if alias.name == "*" else alias.name, depth + 1) if source else None
                )
                if found is not None:
                    return found
        return None

    def _source(self, file: Path, node: ast.ImportFrom) -> Path | None:
        """The file of the module that an import names."""
        parts = (node.module or "").split(".") if node.module else []
        if node.level:
            folder = file.parent
            for _ in range(node.level - 1):
                folder = folder.parent
            return _module_path(folder, parts)
        found = (_module_path(folder, parts) for folder in self._folders)
        return next((path for path in found if path), None)


def _module_path(folder: Path, parts: Sequence[str]) -> Path | None:
    if not parts:
        return next((file for name in ("__init__.pyi", "__init__.py") if (file := folder / name).is_file()), None)
    for part in parts[:-1]:
        folder /= part
    return _module_file(folder, parts[-1])


def _module_file(folder: Path, name: str) -> Path | None:
    """The file of a module in a folder: its source, or its stub where there is none."""
    if not name.isidentifier():
        return None
    tries = (
        folder / name / "__init__.py",
        folder / f"{name}.py",
        folder / name / "__init__.pyi",
        folder / f"{name}.pyi",
    )
    stubs = (folder / f"{name}-stubs" / "__init__.pyi",)
    return next((file for file in (*tries, *stubs) if file.is_file()), None)


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements, those under `if` and `try` too."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            yield from _statements([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from _statements([*node.body, *node.orelse, *(one for part in node.handlers for one in part.body)])


def _defines(node: ast.stmt, name: str) -> bool:
    if isinstance(node, _Defined):
        return node.name == name
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name) and node.target.id == name
    targets = node.targets if isinstance(node, ast.Assign) else ()
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def _public(tree: ast.Module) -> set[str]:
    """What a module offers: its `__all__`, else its names without an underscore."""
    names: set[str] = set()
    for node in _statements(tree.body):
        if isinstance(node, ast.Assign) and _defines(node, "__all__") and isinstance(node.value, ast.List | ast.Tuple):
            return {
                one.value for one in node.value.elts if isinstance(one, ast.Constant) and isinstance(one.value, str)
            }
        if isinstance(node, _Defined):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname for alias in node.names if alias.asname and alias.asname == alias.name}
            names |= {alias.name for alias in node.names if node.level and not alias.asname and alias.name != "*"}
    return {name for name in names if not name.startswith("_")}


def _signature(node: ast.stmt) -> str:
    if isinstance(node, ast.ClassDef):
        return _class(node)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return _function(node)
    return shortened(ast.unparse(node), 400)


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    decorators = "".join(f"@{ast.unparse(one)}\n" for one in node.decorator_list)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    return f"{decorators}{word} {node.name}({ast.unparse(node.args)}){returns}"


def _class(node: ast.ClassDef) -> str:
    """The class's line, how it is made, its fields, and the names of its methods."""
    bases = ", ".join(ast.unparse(base) for base in (*node.bases, *node.keywords))
    lines = [f"class {node.name}({bases})" if bases else f"class {node.name}"]
    functions = [one for one in _statements(node.body) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    made = [one for one in functions if one.name == "__init__"]
    lines += [f"    {line}" for line in (_function(made[-1]).splitlines() if made else [])]
    fields = [one for one in node.body if isinstance(one, ast.AnnAssign)]
    lines += [f"    {ast.unparse(one)}" for one in fields[:_MOST_METHODS]]
    methods = list(dict.fromkeys(one.name for one in functions if not one.name.startswith("_")))
    if methods:
        more = f", … {len(methods) - _MOST_METHODS} more" if len(methods) > _MOST_METHODS else ""
        lines.append(f"    methods: {', '.join(methods[:_MOST_METHODS])}{more}")
    return "\n".join(lines)


def _document(node: ast.stmt) -> str:
    return inspect.cleandoc(ast.get_docstring(node) or "") if isinstance(node, _Defined) else ""
