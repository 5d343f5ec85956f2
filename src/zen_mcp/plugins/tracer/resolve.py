"""Whom a call means: by scopes, imports, written types and classes; where none of these tell, by a rare name."""

from __future__ import annotations

from dataclasses import dataclass

from zen_mcp.plugins.tracer.code import Call, FileCode, Import
from zen_mcp.plugins.tracer.index import Index, Node
from zen_mcp.plugins.tracer.modules import Modules

_SELF = {"self", "cls", "this"}
_DEEPEST = 8
_MOST_GUESSES = 3
_BUILTIN_METHODS = frozenset(
    name for kind in (str, bytes, dict, list, set, tuple, int, object, frozenset) for name in dir(kind)
) | {"read", "write", "close", "open", "send", "next", "push", "map", "filter", "forEach", "then", "catch", "length",
     "toString", "unwrap", "clone", "into", "iter", "len", "new", "main", "test", "run", "call"}  # fmt: skip
"""Methods that any library has too: guessing by such a name would draw wrong arrows."""


@dataclass(frozen=True, slots=True)
class Meant:
    """Whom a call may mean; `sure`: told by the code, not by the name alone."""

    nodes: tuple[Node, ...] = ()
    sure: bool = True


_NOBODY = Meant()


class Resolver:
    """Finds definitions behind names.

    Args:
        index: the files.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self.modules = Modules(index)
        self._meant: dict[tuple[str, str, str, str], Meant] = {}

    def meant(self, path: str, call: Call) -> Meant:
        """Whom a call in a file means."""
        inside = self._index.definition(Node(path, call.inside))
        scope = inside.full_name if inside else ""
        key = (path, scope, call.receiver, call.name)
        if key not in self._meant:
            self._meant[key] = self._find(path, scope, call)
        meant = self._meant[key]
        return meant if call.how == "calls" else Meant(tuple(filter(self._is_function, meant.nodes)), meant.sure)

    def method(self, class_: Node, name: str, depth: int = 0) -> Node | None:
        """A method of a class or of what it derives from."""
        definition = self._index.definition(class_)
        if definition is None or depth > _DEEPEST:
            return None
        own = self._top(class_.path, f"{definition.full_name}.{name}")
        if own is not None:
            return own
        bases = (self.named(class_.path, definition.scope, base) for base in definition.bases)
        return next((found for base in bases if base and (found := self.method(base, name, depth + 1))), None)

    def named(self, path: str, scope: str, written: str, depth: int = 0) -> Node | None:
        """The definition that a dotted name means in a scope."""
        first, _, rest = written.partition(".")
        if depth > _DEEPEST or not first:
            return None
        node = self._in_scopes(path, scope, first)
        if node is None:
            return self._imported(path, first, rest, depth)
        return self._inner(node, rest) if rest else node

    def _find(self, path: str, scope: str, call: Call) -> Meant:
        if not call.receiver:
            node = self.named(path, scope, call.name)
            if node is None and self._index.family(path) in {"java", "go"}:
                node = self._of_class(path, scope, call.name)
            return Meant((node,)) if node else _NOBODY
        if call.how == "passes" and call.receiver not in _SELF and "(" in call.receiver:
            return _NOBODY
        static = self.named(path, scope, f"{call.receiver}.{call.name}")
        if static is not None:
            return Meant((static,))
        class_ = self.type_of(path, scope, call.receiver)
        if class_ is not None:
            found = self.method(class_, call.name)
            return Meant((found,)) if found else _NOBODY
        return self._guess(path, call)

    def _guess(self, path: str, call: Call) -> Meant:
        """By the name alone, where few have it and nothing says that it comes from elsewhere."""
        first = call.receiver.partition(".")[0].removesuffix("()")
        if call.how == "passes" or call.name in _BUILTIN_METHODS or self._foreign(path, first):
            return _NOBODY
        nodes = [node for node in self._index.named(call.name, self._index.family(path)) if self._is_method(node)]
        return Meant(tuple(nodes), sure=False) if 0 < len(nodes) <= _MOST_GUESSES else _NOBODY

    def type_of(self, path: str, scope: str, written: str, depth: int = 0) -> Node | None:
        """The class of which an expression's value is."""
        if depth > _DEEPEST or not written or "?" in written:
            return None
        if written in _SELF:
            return self._class_around(path, scope)
        if written == "super()":
            own = self._class_around(path, scope)
            definition = self._index.definition(own) if own else None
            bases = definition.bases if definition else ()
            return next((node for base in bases if (node := self.named(path, "", base))), None)
        if written.endswith("()"):
            return self._returned(path, scope, written[:-2], depth)
        before, _, name = written.rpartition(".")
        if not before:
            return self._variable(path, scope, name, depth)
        owner = self.type_of(path, scope, before, depth + 1)
        return self._attribute(owner, name, depth) if owner else None

    def _returned(self, path: str, scope: str, callee: str, depth: int) -> Node | None:
        node = self.named(path, scope, callee)
        if node is None:
            before, _, name = callee.rpartition(".")
            owner = self.type_of(path, scope, before, depth + 1) if before else None
            node = self.method(owner, name) if owner else None
        return self._value(node, depth) if node else None

    def _value(self, node: Node, depth: int) -> Node | None:
        """What calling a definition gives: an instance of a class, or what a function says it returns."""
        definition = self._index.definition(node)
        if definition is None:
            return None
        if definition.kind == "class":
            return node
        if definition.returns in {"Self", "self", "this"}:
            return self._class_around(node.path, definition.scope)
        return self._class_named(node.path, definition.scope, definition.returns, depth)

    def _variable(self, path: str, scope: str, name: str, depth: int) -> Node | None:
        types = self._index.code(path).types
        for around in _scopes(scope):
            if (around, name) in types:
                return self._typed(path, around, types[around, name], depth)
        class_ = self._class_around(path, scope)
        if class_ is not None and self._index.family(path) == "java":
            return self._attribute(class_, name, depth)
        for found in (one for one in self._index.code(path).imports if one.local == name and one.name):
            for file in self.modules.find(path, found.module):
                kind = self._index.code(file).types.get(("", found.name))
                if kind:
                    return self._typed(file, "", kind, depth)
        return None

    def _attribute(self, owner: Node, name: str, depth: int) -> Node | None:
        definition = self._index.definition(owner)
        if definition is None or depth > _DEEPEST:
            return None
        kind = self._index.code(owner.path).types.get((definition.full_name, name))
        if kind:
            return self._typed(owner.path, definition.full_name, kind, depth)
        getter = self._top(owner.path, f"{definition.full_name}.{name}")
        if getter is not None:
            return self._value(getter, depth + 1)
        bases = (self.named(owner.path, definition.scope, base) for base in definition.bases)
        return next((found for base in bases if base and (found := self._attribute(base, name, depth + 1))), None)

    def _typed(self, path: str, scope: str, kind: str, depth: int) -> Node | None:
        """The class that a noted type means: its name, or `=expression`, or `@scope=expression`."""
        if kind.startswith("@"):
            scope, _, kind = kind[1:].partition("=")
            kind = f"={kind}"
        if kind.startswith("="):
            return self.type_of(path, scope, kind[1:], depth + 1)
        return self._class_named(path, scope, kind, depth)

    def _class_named(self, path: str, scope: str, name: str, depth: int) -> Node | None:
        node = self.named(path, scope, name, depth + 1) if name else None
        definition = self._index.definition(node) if node else None
        return node if definition is not None and definition.kind == "class" else None

    def _class_around(self, path: str, scope: str) -> Node | None:
        for around in _scopes(scope):
            node = self._top(path, around) if around else None
            definition = self._index.definition(node) if node else None
            if definition is not None and definition.kind == "class":
                return node
        return None

    def _of_class(self, path: str, scope: str, name: str) -> Node | None:
        class_ = self._class_around(path, scope)
        return self.method(class_, name) if class_ else None

    def _in_scopes(self, path: str, scope: str, name: str) -> Node | None:
        """A name of the file itself, from the inside out; a class's own names are seen only in its body."""
        for around in _scopes(scope):
            node = self._top(path, f"{around}.{name}" if around else name)
            definition = self._index.definition(node) if node else None
            if node is not None and definition is not None and (definition.kind != "method" or around == scope):
                return node
        return self._neighbour(path, name)

    def _neighbour(self, path: str, name: str) -> Node | None:
        """A name of another file of the same package, which Go and Java see without an import."""
        family = self._index.family(path)
        if family not in {"go", "java"}:
            return None
        near = set(self._index.beside(path)) & set(self._index.files_with(name, family))
        return next((node for file in sorted(near) if file != path and (node := self._top(file, name))), None)

    def _imported(self, path: str, first: str, rest: str, depth: int) -> Node | None:
        for found in self._imports_of(self._index.code(path), first):
            node = self._through(path, found, rest, depth)
            if node is not None:
                return node
        return None

    def _imports_of(self, code: FileCode, name: str) -> list[Import]:
        exact = [one for one in code.imports if one.local == name or one.local.startswith(f"{name}.")]
        return exact or [one for one in code.imports if one.name == "*"]

    def _through(self, path: str, found: Import, rest: str, depth: int) -> Node | None:
        """What an import leads to, further imports followed."""
        if "." in found.local and self._index.family(path) == "python":  # import a.b.c, used as a.b.c.name
            tail = found.local.partition(".")[2]
            if not rest.startswith(f"{tail}."):
                return None
            rest = rest[len(tail) + 1 :]
        name = (found.name if found.name != "*" else found.local) if found.name else ""
        wanted = ".".join(part for part in (name, rest) if part)
        files = self.modules.find(path, found.module)
        for file in files:
            node = self._of_module(file, wanted, depth)
            if node is not None:
                return node
        if found.name and self._index.family(path) in {"python", "rust"}:
            below = self.modules.find(path, f"{found.module}{'' if found.module.endswith('.') else '.'}{found.name}")
            return next((node for file in below if rest and (node := self._of_module(file, rest, depth))), None)
        return None

    def _of_module(self, file: str, wanted: str, depth: int) -> Node | None:
        first, _, rest = wanted.partition(".")
        node = self._top(file, first)
        if node is not None:
            return self._inner(node, rest) if rest else node
        return self._imported(file, first, rest, depth + 1) if first and depth < _DEEPEST else None

    def _inner(self, node: Node, rest: str) -> Node | None:
        """`method` of a class, `Inner.method` of a class in it."""
        definition = self._index.definition(node)
        for part in rest.split("."):
            if definition is None or definition.kind != "class":
                return None
            found = self.method(node, part)
            if found is None:
                return None
            node, definition = found, self._index.definition(found)
        return node

    def _top(self, path: str, full_name: str) -> Node | None:
        code = self._index.code(path)
        return next((Node(path, at) for at, one in enumerate(code.definitions) if one.full_name == full_name), None)

    def _is_function(self, node: Node) -> bool:
        """Whether passing it on passes something on that can be called."""
        definition = self._index.definition(node)
        return definition is not None and definition.kind != "class" and not definition.value

    def _is_method(self, node: Node) -> bool:
        definition = self._index.definition(node)
        return definition is not None and definition.kind == "method"

    def _foreign(self, path: str, name: str) -> bool:
        """Whether a name is imported from outside of the files that we see."""
        found = [one for one in self._index.code(path).imports if one.local.partition(".")[0] == name]
        return bool(found) and not any(self.modules.find(path, one.module) for one in found)


def _scopes(scope: str) -> list[str]:
    """A scope and those around it, the innermost first, the file's top last."""
    parts = scope.split(".") if scope else []
    return [".".join(parts[:count]) for count in range(len(parts), -1, -1)]
