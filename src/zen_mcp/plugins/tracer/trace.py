"""Call paths and dependencies out of an index. Runs in a process of its own: parsing would hold the server up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from zen_mcp.errors import did_you_mean
from zen_mcp.plugins.tracer.code import MODULE
from zen_mcp.plugins.tracer.dependencies import class_dependencies, module_dependencies
from zen_mcp.plugins.tracer.drawing import Drawing
from zen_mcp.plugins.tracer.index import Index, Node, OutOfTime
from zen_mcp.plugins.tracer.resolve import Resolver
from zen_mcp.plugins.tracer.sources import MOST_FILES, find_sources

MOST_CANDIDATES = 20
MOST_SNIPPETS = 12
_SNIPPET_LINES = 60

Mode = Literal["precision", "dependencies"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRequest:
    """What is to be traced, where, how deep, and within which time."""

    target: str
    mode: Mode
    roots: tuple[Path, ...]
    folders: tuple[Path, ...]
    files: tuple[Path, ...]
    depth: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What was found.

    Attributes:
        text: the trees, as text.
        edges: who calls, passes on, imports or derives from whom, and where.
        candidates: the definitions that the name may mean, where it means several; nothing was traced then.
        near: a known name near to one that was not found.
        snippets: the code of the first nodes, by place.
    """

    text: str = ""
    nodes: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    edges: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    candidates: list[str] = field(default_factory=list[str])
    near: str = ""
    notes: list[str] = field(default_factory=list[str])
    files: int = 0
    snippets: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def trace(request: TraceRequest) -> Trace:
    """Find the target and draw its trees; what the time did not suffice for is said in the notes."""
    sources = find_sources(request.folders, request.files, request.roots)
    index = Index(sources, seconds=request.seconds)
    resolver = Resolver(index)
    drawing = Drawing(index)
    count = len(sources.files)
    if sources.left_out:
        index.notes[f"only {MOST_FILES:,} files were looked at; {sources.left_out:,} more were not"] = None
    late = f"the time ({request.seconds:g} s) was over before all was read: name a folder in 'files'"
    try:
        found = _targets(index, resolver, request)
    except OutOfTime:
        return Trace(notes=[*index.notes, late], files=count)
    if not found:
        near = did_you_mean(request.target.rpartition(":")[2].rpartition(".")[2], index.all_names())
        return Trace(near=near, notes=list(index.notes), files=count)
    if len(found) > 1:
        places = [f"{index.title(node)} {index.place(node)}" for node in found]
        return Trace(candidates=places, notes=list(index.notes), files=count)
    try:
        _draw(drawing, resolver, found[0], request)
    except OutOfTime:
        index.notes[late] = None
    return Trace(
        text=drawing.text(), nodes=drawing.nodes(), edges=drawing.edges, notes=list(index.notes), files=count,
        snippets=_snippets(index, drawing),
    )  # fmt: skip


def _draw(drawing: Drawing, resolver: Resolver, target: Node, request: TraceRequest) -> None:
    if request.mode == "precision":
        drawing.heading(target)
        drawing.calls(resolver, target, request.depth)
        return
    definition = drawing.index.definition(target)
    if definition is not None and definition.kind == "class":
        class_dependencies(drawing, resolver, target)
    else:
        module_dependencies(drawing, resolver, target.path, request.depth)


def _targets(index: Index, resolver: Resolver, request: TraceRequest) -> list[Node]:
    """What the target may mean: definitions of that name, or, for dependencies, a module."""
    target = request.target.strip().replace("::", ".").replace("#", ".")
    where, _, name = target.rpartition(":")
    if request.mode == "dependencies" and not where:
        files = _modules(index, resolver, target)
        if files:
            return [Node(file, MODULE) for file in files]
    last = name.rpartition(".")[2]
    nodes = [node for family in index.families() for node in index.named(last, family)] if last else []
    fitting = [node for node in nodes if _fits(index, resolver, node, where, name)]
    return list(_without_doubles(index, fitting))


def _modules(index: Index, resolver: Resolver, target: str) -> list[str]:
    """The files that a path or a module's name means."""
    by_path = [path for path in index.sources.files if f"/{path}".endswith(f"/{target.removeprefix('./')}")]
    exact = [path for path in by_path if path == target]
    if by_path:
        return exact or by_path
    if "/" in target:
        return []
    python = [path for path in index.sources.files if path.endswith(".py")]
    return [path for path in python if resolver.modules.dotted(path) == target]


def _fits(index: Index, resolver: Resolver, node: Node, where: str, name: str) -> bool:
    if where and not (
        f"/{node.path}".endswith(f"/{where.removeprefix('./')}") or resolver.modules.dotted(node.path) == where
    ):
        return False
    whole = f"{resolver.modules.dotted(node.path)}.{index.title(node)}"
    return f".{whole}".endswith(f".{name}")


def _without_doubles(index: Index, nodes: Iterable[Node]) -> Iterable[Node]:
    """One node per name and file: overloads and a property's setter are one thing."""
    seen: dict[tuple[str, str], Node] = {}
    for node in nodes:
        seen.setdefault((node.path, index.title(node)), node)
    return seen.values()


def _snippets(index: Index, drawing: Drawing) -> list[tuple[str, str]]:
    """The code of the nodes nearest to the target."""
    found: list[tuple[str, str]] = []
    for node in list(drawing.seen)[:MOST_SNIPPETS]:
        definition = index.definition(node)
        if definition is None:
            continue
        lines = index.text(node.path).decode("utf-8", "replace").splitlines()
        end = min(definition.end_line, definition.line + _SNIPPET_LINES)
        found.append((index.place(node), "\n".join(lines[definition.line - 1 : end])))
    return found
