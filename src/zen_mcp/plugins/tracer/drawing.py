"""Trees of callers and callees as text, and the same as nodes and edges."""

from __future__ import annotations

from dataclasses import dataclass

from zen_mcp.plugins.tracer.code import Call
from zen_mcp.plugins.tracer.index import Index, Node
from zen_mcp.plugins.tracer.resolve import Meant, Resolver

MOST_EDGES = 400


@dataclass(frozen=True, slots=True)
class Base:
    """A class by its full name and its file."""

    name: str
    path: str


Step = tuple[Node, Call, bool]
"""The other end of a call, the call, and whether it is sure."""


class Drawing:
    """Collects lines and edges.

    Args:
        index: where titles and places come from.
    """

    def __init__(self, index: Index) -> None:
        self.index = index
        self.edges: list[dict[str, str]] = []
        self.seen: dict[Node, None] = {}
        """Every node in the order in which it came up."""
        self._lines: list[str] = []
        self._guessed = False
        self._full = False

    def text(self) -> str:
        """The lines, with a word on the marks that they use."""
        notes = ["?: guessed by the name alone"] if self._guessed else []
        notes += [f"(only the first {MOST_EDGES} edges)"] if self._full else []
        return "\n".join([*self._lines, *notes])

    def nodes(self) -> list[dict[str, str]]:
        """Every node with its place."""
        return [{"name": self.index.title(node), "at": self.index.place(node)} for node in self.seen]

    def heading(self, node: Node) -> None:
        """The target's line."""
        self.seen[node] = None
        self.line(0, f"{self.index.title(node)} {self.index.place(node)}")

    def line(self, level: int, text: str) -> None:
        """A line, indented by its level."""
        self._lines.append("  " * level + text)

    def edge(self, source: Node, target: Node, at: str, kind: str, *, sure: bool = True) -> bool:
        """Note an edge; False when there are too many."""
        if len(self.edges) >= MOST_EDGES:
            self._full = True
            return False
        self.seen.update(dict.fromkeys((source, target)))
        title = self.index.title
        edge = {"from": title(source), "to": title(target), "at": at, "kind": kind}
        self.edges.append(edge if sure else {**edge, "sure": "no"})
        return True

    def calls(self, resolver: Resolver, target: Node, depth: int) -> None:
        """Both trees: who calls the target, and whom it calls."""
        start = len(self._lines)
        self.line(0, "called by:")
        self._up(resolver, target, 1, depth, {target})
        if len(self._lines) == start + 1:
            self._lines[start] = "called by: nobody in these files"
        start = len(self._lines)
        self.line(0, "calls:")
        self._down(resolver, target, 1, depth, {target})
        if len(self._lines) == start + 1:
            self._lines[start] = "calls: nothing in these files"

    def _up(self, resolver: Resolver, target: Node, level: int, depth: int, path: set[Node]) -> None:
        for caller, found in _by_node(callers(self.index, resolver, target)).items():
            again = caller in self.seen and caller != target
            call, sure = found[0][1], found[0][2]
            ats = ",".join(dict.fromkeys(str(step[1].line) for step in found))
            if not self.edge(caller, target, f"{caller.path}:{ats}", call.how, sure=sure):
                return
            self._step(level, f"{self.index.title(caller)} {caller.path}:{ats}", call, sure=sure, again=again)
            if level < depth and not again and caller not in path and caller.at >= 0:
                self._up(resolver, caller, level + 1, depth, {*path, caller})

    def _down(self, resolver: Resolver, source: Node, level: int, depth: int, path: set[Node]) -> None:
        for callee, found in _by_node(callees(self.index, resolver, source)).items():
            again = callee in self.seen
            call, sure = found[0][1], found[0][2]
            ats = ",".join(dict.fromkeys(str(step[1].line) for step in found))
            if not self.edge(source, callee, f"{source.path}:{ats}", call.how, sure=sure):
                return
            self._step(level, f"{self.index.title(callee)} {self.index.place(callee)}", call, sure=sure, again=again)
            if level < depth and not again and callee not in path:
                self._down(resolver, callee, level + 1, depth, {*path, callee})

    def _step(self, level: int, text: str, call: Call, *, sure: bool, again: bool) -> None:
        self._guessed = self._guessed or not sure
        marks = (
            f"{'' if sure else ' ?'}{' (passed on)' if call.how == 'passes' else ''}{' (see above)' if again else ''}"
        )
        self.line(level, f"{text}{marks}")


def callers(index: Index, resolver: Resolver, target: Node) -> list[Step]:
    """Every call that means the target, by the definition in which it stands."""
    definition = index.definition(target)
    if definition is None:
        return []
    # A constructor is called by its class's name.
    class_ = definition.scope if definition.name in {"__init__", "constructor", "new"} else ""
    names = {definition.name, class_.rpartition(".")[2]} - {""}
    found: list[Step] = []
    for path in sorted({path for name in names for path in index.files_with(name, index.family(target.path))}):
        code = index.code(path)
        local = {one.local for one in code.imports if one.name in names} | names
        for call in code.calls:
            if call.name not in local:
                continue
            meant = resolver.meant(path, call)
            means = (
                target in meant.nodes if call.receiver == "super()" else _means(index, resolver, meant, target, class_)
            )
            if means:
                found.append((Node(path, call.inside), call, meant.sure))
    return found


def _means(index: Index, resolver: Resolver, meant: Meant, target: Node, class_: str) -> bool:
    """Whether a call means the target: itself, its class where it is a constructor, or what it overrides."""
    for node in meant.nodes:
        if node == target:
            return True
        definition, own = index.definition(node), index.definition(target)
        if definition is None or own is None:
            continue
        if class_ and node.path == target.path and definition.full_name == class_:
            return True
        if own.kind == "method" and definition.kind == "method" and own.name == definition.name:
            around = resolver.named(target.path, "", own.scope)
            if around and _derives(index, resolver, around, Base(definition.scope, node.path)):
                return True
    return False


def _derives(index: Index, resolver: Resolver, class_: Node, base: Base, depth: int = 0) -> bool:
    definition = index.definition(class_)
    if definition is None or depth > 8:
        return False
    for written in definition.bases:
        node = resolver.named(class_.path, definition.scope, written)
        if node is None:
            continue
        if node.path == base.path and index.title(node) == base.name:
            return True
        if _derives(index, resolver, node, base, depth + 1):
            return True
    return False


def callees(index: Index, resolver: Resolver, source: Node) -> list[Step]:
    """Whom a definition calls; a class, whom its constructor calls."""
    definition = index.definition(source)
    at = source.at
    if definition is not None and definition.kind == "class":
        method = resolver.method(source, "__init__") or resolver.method(source, "constructor")
        if method is None or method.path != source.path:
            return []
        at = method.at
    return [
        (node, call, meant.sure)
        for call in index.code(source.path).calls
        if call.inside == at
        for meant in [resolver.meant(source.path, call)]
        for node in meant.nodes
    ]


def _by_node(steps: list[Step]) -> dict[Node, list[Step]]:
    grouped: dict[Node, list[Step]] = {}
    for step in steps:
        grouped.setdefault(step[0], []).append(step)
    return grouped
