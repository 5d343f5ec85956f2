"""Python, read by the standard library's own parser."""

from __future__ import annotations

import ast
import re

from zen_mcp.plugins.tracer.code import MODULE, Call, Definition, FileCode, How, Import

_FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_TYPE = re.compile(r"[A-Za-z_][\w.]*")
_PROPERTIES = {"property", "cached_property"}
_NOT_TYPES = {"None", "Optional", "Annotated", "Final", "ClassVar", "typing", "t"}


def read_python(path: str, text: str) -> FileCode:
    """What a Python file says."""
    code = FileCode(path=path, language="python")
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError) as exc:
        code.fault = f"not valid Python ({exc.__class__.__name__})"
        return code
    try:
        _Reader(code).visit(tree)
    except RecursionError:
        code.fault = "nested too deeply"
    return code


class _Reader(ast.NodeVisitor):
    """Walks a module once and notes what it sees."""

    def __init__(self, code: FileCode) -> None:
        self._code = code
        self._names: list[str] = []
        self._inside = MODULE
        self._classes: list[str] = []
        """The full name of the class around, for what is set on `self`; empty inside of none."""

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        bases = tuple(name for base in node.bases if (name := dotted(base)))
        self._enter(node, Definition(
            name=node.name, scope=self._scope, kind="class", line=node.lineno,
            end_line=node.end_lineno or node.lineno, bases=bases,
        ))  # fmt: skip

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def visit_Call(self, node: ast.Call) -> None:
        self._note(node.func, node.func, "calls")
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            if isinstance(argument, ast.Name | ast.Attribute):
                self._note(argument, argument, "passes")
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._code.uses.setdefault(node.id, []).append(node.lineno)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._code.uses.setdefault(node.attr, []).append(node.lineno)
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            local = alias.asname or alias.name.partition(".")[0]
            module = alias.name if alias.asname else local
            self._code.imports.append(Import(module=module, name="", local=local, line=node.lineno))
            if module != alias.name:
                self._code.imports.append(Import(module=alias.name, name="", local=alias.name, line=node.lineno))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            local = alias.asname or alias.name
            self._code.imports.append(Import(module=module, name=alias.name, local=local, line=node.lineno))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._type(node.target, type_name(node.annotation))
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._assign(target, node.value)
        self.generic_visit(node)

    def visit_withitem(self, node: ast.withitem) -> None:
        if node.optional_vars is not None:
            self._assign(node.optional_vars, node.context_expr)
        self.generic_visit(node)

    @property
    def _scope(self) -> str:
        return ".".join(self._names)

    def _function(self, node: _FunctionNode) -> None:
        method = bool(self._classes) and self._classes[-1] == self._scope
        definition = Definition(
            name=node.name, scope=self._scope, kind="method" if method else "function", line=node.lineno,
            end_line=node.end_lineno or node.lineno, returns=type_name(node.returns) if node.returns else "",
            value=any(dotted(part).rpartition(".")[2] in _PROPERTIES for part in node.decorator_list),
        )  # fmt: skip
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        for argument in arguments:
            if argument.annotation is not None:
                self._code.types[definition.full_name, argument.arg] = type_name(argument.annotation)
        for expression in (*node.decorator_list, *(d for d in (*node.args.defaults, *node.args.kw_defaults) if d)):
            self.visit(expression)
        self._enter(node, definition)

    def _enter(self, node: ast.ClassDef | _FunctionNode, definition: Definition) -> None:
        outer = self._inside
        self._inside = len(self._code.definitions)
        self._code.definitions.append(definition)
        self._names.append(node.name)
        if definition.kind == "class":
            self._classes.append(definition.full_name)
            for part in (*node.decorator_list, *(node.bases if isinstance(node, ast.ClassDef) else ())):
                self.visit(part)
        else:
            self._visit_annotations(node)
        for statement in node.body:
            self.visit(statement)
        if definition.kind == "class":
            self._classes.pop()
        self._names.pop()
        self._inside = outer

    def _visit_annotations(self, node: ast.ClassDef | _FunctionNode) -> None:
        if isinstance(node, ast.ClassDef):
            return
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        for part in [*(argument.annotation for argument in every if argument is not None), node.returns]:
            if part is not None:
                self.visit(part)

    def _note(self, callee: ast.expr, place: ast.expr, how: How) -> None:
        receiver, _, name = dotted(callee).rpartition(".")
        if name and name.isidentifier():
            self._code.calls.append(Call(name=name, receiver=receiver, line=place.lineno, inside=self._inside, how=how))

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        """Note what a name then stands for: `x = Class()`, `self._x = argument`, `x = await self.open()`."""
        written = dotted(value)
        if written and "?" not in written:
            self._type(target, f"={written}")

    def _type(self, target: ast.expr, kind: str) -> None:
        if not kind:
            return
        if isinstance(target, ast.Name):
            self._code.types.setdefault((self._scope, target.id), kind)
        elif isinstance(target, ast.Attribute) and dotted(target.value) == "self" and self._classes:
            # The expression is understood where it stands: in the method, not in the class.
            place = f"@{self._scope}{kind}" if kind.startswith("=") else kind
            self._code.types.setdefault((self._classes[-1], target.attr), place)


def dotted(node: ast.expr) -> str:
    """An expression of names, attributes and calls as text: `self.open().x`; `?` for any other part."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return f"{dotted(node.value)}.{node.attr}"
        case ast.Call():
            return f"{dotted(node.func)}()"
        case ast.Await():
            return dotted(node.value)
        case ast.Subscript():  # a generic class: Model[int](…)
            return dotted(node.value)
        case _:
            return "?"


def type_name(annotation: ast.expr) -> str:
    """The one class that an annotation is about: `Model | None`, `Optional["Model"]`, `Annotated[Model, …]`.

    Empty for containers, unions of several and what is no name: a wrong type would draw wrong arrows.
    """
    match annotation:
        case ast.Constant(value=str() as text):
            return text if _TYPE.fullmatch(text) else ""
        case ast.Name() | ast.Attribute():
            name = dotted(annotation)
            return "" if name in _NOT_TYPES else name
        case ast.BinOp(op=ast.BitOr()):
            sides = [annotation.left, annotation.right]
            real = [side for side in sides if not (isinstance(side, ast.Constant) and side.value is None)]
            return type_name(real[0]) if len(real) == 1 else ""
        case ast.Subscript(value=value, slice=inner):
            if dotted(value).rpartition(".")[2] not in {"Optional", "Annotated", "Final", "ClassVar", "type", "Type"}:
                return ""
            return type_name(inner.elts[0] if isinstance(inner, ast.Tuple) else inner)
        case _:
            return ""
