"""What a module imports and who imports it; what a class derives from, uses and is used by."""

from __future__ import annotations

from collections.abc import Iterable

from zen_mcp.plugins.tracer.code import MODULE
from zen_mcp.plugins.tracer.drawing import Drawing, callees
from zen_mcp.plugins.tracer.index import Index, Node
from zen_mcp.plugins.tracer.resolve import Resolver

Imported = dict[str, int]
"""Files by path, and the first line on which each is imported."""


def module_dependencies(drawing: Drawing, resolver: Resolver, path: str, depth: int) -> None:
    """Draw a file's imports and importers, each as deep as wanted."""
    index = drawing.index
    drawing.line(0, path)
    drawing.seen[Node(path, MODULE)] = None
    inner, outer = imports(index, resolver, path)
    if outer:
        drawing.line(0, f"imports from elsewhere: {', '.join(sorted(outer))}")
    drawing.line(0, "imports:" if inner else "imports: none of these files")
    _down(drawing, resolver, path, depth, {path})
    importers = _importers(index, resolver)
    drawing.line(0, "imported by:" if importers.get(path) else "imported by: none of these files")
    _up(drawing, importers, path, depth, {path})


def imports(index: Index, resolver: Resolver, path: str) -> tuple[Imported, set[str]]:
    """Which of the files a file imports, and which modules from elsewhere."""
    inner: Imported = {}
    outer: set[str] = set()
    for one in index.code(path).imports:
        below = f"{one.module}{'' if one.module.endswith('.') else '.'}{one.name}" if one.name else ""
        python = index.family(path) == "python"
        files = (resolver.modules.find(path, below) if below and python else []) or resolver.modules.find(
            path, one.module
        )
        for file in files:
            if file != path:
                inner.setdefault(file, one.line)
        if not files and one.module.strip(".") and one.module != "__future__":
            outer.add(one.module.partition(".")[0] if python else one.module)
    return inner, outer


def class_dependencies(drawing: Drawing, resolver: Resolver, class_: Node) -> None:
    """Draw a class's bases, subclasses, what its methods call, and where it is used."""
    index = drawing.index
    definition = index.definition(class_)
    if definition is None:
        return
    drawing.heading(class_)
    for base in definition.bases:
        node = resolver.named(class_.path, definition.scope, base)
        drawing.line(0, f"derives from {f'{index.title(node)} {index.place(node)}' if node else base}")
        if node:
            drawing.edge(class_, node, index.place(class_), "derives from")
    below = _subclasses(index, resolver, class_, definition.name)
    if below:
        drawing.line(0, "derived by:")
    for node in below:
        drawing.line(1, f"{index.title(node)} {index.place(node)}")
        drawing.edge(node, class_, index.place(node), "derives from")
    _draw_uses(drawing, resolver, class_)
    _draw_users(drawing, resolver, class_, definition.name)


def _draw_uses(drawing: Drawing, resolver: Resolver, class_: Node) -> None:
    """Whom the class's methods call outside of it."""
    index = drawing.index
    title = index.title(class_)
    found: dict[Node, list[str]] = {}
    for at, definition in enumerate(index.code(class_.path).definitions):
        if f"{definition.full_name}.".startswith(f"{title}.") and at != class_.at:
            for node, call, _ in callees(index, resolver, Node(class_.path, at)):
                if not (node.path == class_.path and f"{index.title(node)}.".startswith(f"{title}.")):
                    found.setdefault(node, []).append(str(call.line))
    drawing.line(0, "uses:" if found else "uses: nothing else in these files")
    for node, lines in found.items():
        drawing.line(1, f"{index.title(node)} {index.place(node)}")
        drawing.edge(class_, node, f"{class_.path}:{','.join(dict.fromkeys(lines))}", "uses")


def _draw_users(drawing: Drawing, resolver: Resolver, class_: Node, name: str) -> None:
    """The files in which the class's name is read, with lines."""
    index = drawing.index
    found: dict[str, list[int]] = {}
    for path in index.files_with(name, index.family(class_.path)):
        for local in {one.local for one in index.code(path).imports if one.name == name} | {name}:
            lines = index.code(path).uses.get(local, [])
            if lines and path != class_.path and resolver.named(path, "", local) == class_:
                found.setdefault(path, []).extend(lines)
    drawing.line(0, "used by:" if found else "used by: none of the other files")
    for path, lines in found.items():
        places = ",".join(str(line) for line in sorted(set(lines)))
        drawing.line(1, f"{path}:{places}")
        drawing.edge(Node(path, MODULE), class_, f"{path}:{places}", "uses")


def _subclasses(index: Index, resolver: Resolver, class_: Node, name: str) -> list[Node]:
    return [
        Node(path, at)
        for path in index.files_with(name, index.family(class_.path))
        for at, definition in enumerate(index.code(path).definitions)
        if any(resolver.named(path, definition.scope, base) == class_ for base in definition.bases)
    ]


def _importers(index: Index, resolver: Resolver) -> dict[str, Imported]:
    """For each file, the files that import it."""
    found: dict[str, Imported] = {}
    for path in index.sources.files:
        for imported, line in imports(index, resolver, path)[0].items():
            found.setdefault(imported, {})[path] = line
    return found


def _down(drawing: Drawing, resolver: Resolver, path: str, left: int, seen: set[str], *, level: int = 1) -> None:
    for imported, line in imports(drawing.index, resolver, path)[0].items():
        if not _draw(drawing, level, imported, seen, (path, imported, f"{path}:{line}")):
            continue
        if left > 1:
            _down(drawing, resolver, imported, left - 1, seen, level=level + 1)


def _up(
    drawing: Drawing, importers: dict[str, Imported], path: str, left: int, seen: set[str], *, level: int = 1
) -> None:
    for importer, line in importers.get(path, {}).items():
        if not _draw(drawing, level, f"{importer}:{line}", seen, (importer, path, f"{importer}:{line}")):
            continue
        if left > 1:
            _up(drawing, importers, importer, left - 1, seen, level=level + 1)


def _draw(drawing: Drawing, level: int, text: str, seen: set[str], edge: Iterable[str]) -> bool:
    """A line and an edge; whether the file is new, so that it may be followed."""
    source, target, at = edge
    other = text.partition(":")[0]
    new = other not in seen
    seen.add(other)
    drawing.line(level, text if new else f"{text} (see above)")
    return drawing.edge(Node(source, MODULE), Node(target, MODULE), at, "imports") and new
