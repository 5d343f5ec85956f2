"""JavaScript, TypeScript, Go, Rust and Java, read by their tree-sitter grammars (the extra `code`)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from zen_mcp.plugins.tracer.code import MODULE, Call, Definition, FileCode, How, Kind
from zen_mcp.plugins.tracer.grammar_imports import imports_of
from zen_mcp.plugins.tracer.sources import LANGUAGES

if TYPE_CHECKING:  # the extra may be missing
    from tree_sitter import Node as Leaf
    from tree_sitter import Parser

GRAMMARS = {
    ".ts": ("tree_sitter_typescript", "language_typescript"),
    ".mts": ("tree_sitter_typescript", "language_typescript"),
    ".cts": ("tree_sitter_typescript", "language_typescript"),
    ".tsx": ("tree_sitter_typescript", "language_tsx"),
    ".js": ("tree_sitter_javascript", "language"),
    ".jsx": ("tree_sitter_javascript", "language"),
    ".mjs": ("tree_sitter_javascript", "language"),
    ".cjs": ("tree_sitter_javascript", "language"),
    ".go": ("tree_sitter_go", "language"),
    ".rs": ("tree_sitter_rust", "language"),
    ".java": ("tree_sitter_java", "language"),
}
_DEFINITIONS: dict[str, Kind] = {
    "function_declaration": "function", "generator_function_declaration": "function", "function_item": "function",
    "class_declaration": "class", "abstract_class_declaration": "class", "interface_declaration": "class",
    "enum_declaration": "class", "record_declaration": "class", "type_spec": "class", "struct_item": "class",
    "enum_item": "class", "trait_item": "class", "method_definition": "method", "method_signature": "method",
    "abstract_method_signature": "method", "method_declaration": "method", "constructor_declaration": "method",
    "method_elem": "method", "function_signature_item": "method",
}  # fmt: skip
_FUNCTION_VALUES = {"arrow_function", "function_expression", "generator_function"}
_CALLS = {"call_expression": "function", "new_expression": "constructor", "object_creation_expression": "type"}
_TYPED = {
    "required_parameter": "pattern", "optional_parameter": "pattern", "public_field_definition": "name",
    "field_definition": "property", "variable_declarator": "name", "parameter_declaration": "name",
    "field_declaration": "name", "parameter": "pattern", "let_declaration": "pattern", "formal_parameter": "name",
    "short_var_declaration": "left",
}  # fmt: skip
"""Where a name gets a type, and the field that holds the name."""
_NAMES = {
    "identifier", "type_identifier", "property_identifier", "field_identifier", "private_property_identifier",
    "package_identifier", "this", "self", "super", "crate", "shorthand_property_identifier",
}  # fmt: skip
_INNER = ("function", "constructor", "type", "object", "operand", "value", "path", "argument")
_LAST = {
    "member_expression": ("object", "property"),
    "selector_expression": ("operand", "field"),
    "field_expression": ("value", "field"),
    "scoped_identifier": ("path", "name"),
    "scoped_type_identifier": ("path", "name"),
    "qualified_type": ("package", "name"),
    "nested_type_identifier": ("module", "name"),
    "field_access": ("object", "field"),
}
_WRAPPERS = {
    "await_expression", "parenthesized_expression", "pointer_type", "reference_type", "type_annotation",
    "nullable_type",
    "reference_expression", "unary_expression", "non_null_expression", "try_expression", "expression_list",
    "as_expression",
}  # fmt: skip


class GrammarMissing(Exception):
    """A language's grammar is not installed."""


@cache
def _parser(suffix: str) -> Parser:
    package, function = GRAMMARS[suffix]
    try:
        core, grammar = import_module("tree_sitter"), import_module(package)
    except ImportError:
        names = ", ".join(f"*{end}" for end, (name, _) in GRAMMARS.items() if name == package)
        fix = "pip install 'zen-mcp-server[code]'"
        raise GrammarMissing(f"{names} is left out: its grammar is not installed ({fix}).") from None
    parser: Parser = core.Parser(core.Language(getattr(grammar, function)()))
    return parser


def read_other(path: str, text: str) -> FileCode:
    """What a file that is not Python says.

    Raises:
        GrammarMissing: its grammar is not installed.
    """
    suffix = PurePosixPath(path).suffix
    code = FileCode(path=path, language=LANGUAGES[suffix])
    root = _parser(suffix).parse(text.encode()).root_node
    try:
        _Reader(code).read(root)
    except RecursionError:
        code.fault = "nested too deeply"
    return code


class _Reader:
    """Walks a file's tree once and notes what it sees."""

    def __init__(self, code: FileCode) -> None:
        self._code = code
        self._scope = ""
        self._class = ""
        self._inside: int = MODULE

    def read(self, node: Leaf) -> None:
        """Note a node and all below it."""
        kind = node.type
        if kind in _NAMES:
            self._code.uses.setdefault(_text(node), []).append(_line(node))
            return
        found = imports_of(node)
        if found:
            self._code.imports += found
            if kind != "variable_declarator":
                return
        self._call(node)
        self._types(node)
        definition = self._definition(node)
        if definition is not None:
            self._enter(node, definition)
        elif kind == "impl_item":
            self._implementation(node)
        else:
            for child in node.named_children:
                self.read(child)

    def _definition(self, node: Leaf) -> Definition | None:
        kind = _DEFINITIONS.get(node.type)
        name = node.child_by_field_name("name") or node.child_by_field_name("property")
        if kind is None:
            value = node.child_by_field_name("value")
            if value is None or value.type not in _FUNCTION_VALUES or name is None or name.type not in _NAMES:
                return None
            kind = "function" if node.type == "variable_declarator" else "method"
        if name is None or (node.type == "type_spec" and not _is_class(node)):
            return None
        scope = self._receiver(node) or self._scope
        if kind == "function" and scope and scope == self._class:
            kind = "method"
        returns = node.child_by_field_name("return_type") or node.child_by_field_name("result")
        if node.type == "method_declaration" and returns is None:
            returns = node.child_by_field_name("type")
        return Definition(
            name=_text(name), scope=scope, kind=kind, line=_line(node), end_line=node.end_point[0] + 1,
            bases=tuple(_bases(node)) if kind == "class" else (), returns=written(returns) if returns else "",
        )  # fmt: skip

    def _enter(self, node: Leaf, definition: Definition) -> None:
        before = (self._scope, self._class, self._inside)
        self._inside = len(self._code.definitions)
        self._code.definitions.append(definition)
        self._scope = definition.full_name
        self._class = definition.full_name if definition.kind == "class" else self._class
        for child in node.named_children:
            self.read(child)
        self._scope, self._class, self._inside = before

    def _implementation(self, node: Leaf) -> None:
        """Rust's `impl Trait for Type`: methods of the type, which then derives from the trait."""
        before = (self._scope, self._class)
        name = written(node.child_by_field_name("type"))
        trait = written(node.child_by_field_name("trait"))
        for at, known in enumerate(self._code.definitions):
            if trait and known.full_name == name:
                bases = (*known.bases, trait)
                self._code.definitions[at] = Definition(
                    name=known.name, scope=known.scope, kind=known.kind, line=known.line, end_line=known.end_line,
                    bases=bases,
                )  # fmt: skip
        self._scope = self._class = name
        for child in node.named_children:
            self.read(child)
        self._scope, self._class = before

    def _receiver(self, node: Leaf) -> str:
        """The type that a Go method belongs to."""
        receiver = node.child_by_field_name("receiver")
        first = receiver.named_children[0] if receiver and receiver.named_children else None
        return written(first.child_by_field_name("type")) if first else ""

    def _call(self, node: Leaf) -> None:
        if node.type == "method_invocation":
            name, owner = node.child_by_field_name("name"), node.child_by_field_name("object")
            self._note(".".join(part for part in (written(owner), written(name)) if part), node, "calls")
        elif node.type in _CALLS:
            self._note(written(node.child_by_field_name(_CALLS[node.type])), node, "calls")
        else:
            return
        arguments = node.child_by_field_name("arguments")
        for argument in arguments.named_children if arguments else ():
            if argument.type in _NAMES or argument.type in _LAST:
                self._note(written(argument), argument, "passes")

    def _note(self, callee: str, node: Leaf, how: How) -> None:
        receiver, _, name = callee.rpartition(".")
        if name.replace("$", "_").lstrip("#").isidentifier():
            call = Call(name=name, receiver=receiver, line=_line(node), inside=self._inside, how=how)
            self._code.calls.append(call)

    def _types(self, node: Leaf) -> None:
        field = _TYPED.get(node.type)
        if field is None:
            return
        if node.type == "field_declaration" and node.child_by_field_name("declarator"):
            node_of_name = node.child_by_field_name("declarator")
            name = node_of_name.child_by_field_name("name") if node_of_name else None
        else:
            name = node.child_by_field_name(field)
        kind = node.child_by_field_name("type")
        if kind is None and node.type == "variable_declarator" and node.parent is not None:
            kind = node.parent.child_by_field_name("type")
        value = node.child_by_field_name("value") or node.child_by_field_name("right")
        said = written(kind) or (f"={written(value)}" if value and "?" not in written(value) else "")
        if name is None or not said or said == "=" or "?" in said:
            return
        places = [self._scope]
        if any(child.type == "accessibility_modifier" for child in node.named_children) and self._class:
            places.append(self._class)  # TypeScript: a constructor's `private x: X` is a field too
        for place in places:
            self._code.types.setdefault((place, written(name)), said)


def written(node: Leaf | None) -> str:
    """An expression or type of names, members and calls as text with dots; `?` for any other part."""
    if node is None:
        return ""
    kind = node.type
    if kind in _NAMES:
        return _text(node)
    if kind in _LAST:
        owner, last = _LAST[kind]
        before = written(node.child_by_field_name(owner)) or "?"
        return f"{before}.{written(node.child_by_field_name(last))}"
    if kind in _CALLS:
        return f"{written(node.child_by_field_name(_CALLS[kind])) or '?'}()"
    if kind == "method_invocation":
        owner = written(node.child_by_field_name("object"))
        return f"{f'{owner}.' if owner else ''}{written(node.child_by_field_name('name'))}()"
    if kind in {"generic_type", "composite_literal", "struct_expression", "generic_function"}:
        inner = written(node.named_children[0]) if node.named_children else "?"
        return f"{inner}()" if kind in {"composite_literal", "struct_expression"} else inner
    if kind in _WRAPPERS and node.named_children:
        return written(node.named_children[0])
    return "?"


def _bases(node: Leaf) -> Iterator[str]:
    """What a class derives from or implements."""
    for child in node.named_children:
        if child.type in {"class_heritage", "extends_clause", "implements_clause", "extends_type_clause", "superclass",
                          "super_interfaces", "extends_interfaces", "type_list", "trait_bounds"}:  # fmt: skip
            yield from _bases(child)
        elif node.type not in _DEFINITIONS:
            name = written(child)
            if name and "?" not in name:
                yield name
    if node.type == "type_spec":
        for field in _fields(node):
            if field.child_by_field_name("name") is None:
                yield written(field.child_by_field_name("type"))


def _fields(node: Leaf) -> Iterator[Leaf]:
    """The fields of a Go struct; one without a name is embedded."""
    struct = node.child_by_field_name("type")
    for block in struct.named_children if struct else ():
        if block.type == "field_declaration_list":
            yield from (field for field in block.named_children if field.type == "field_declaration")


def _is_class(node: Leaf) -> bool:
    kind = node.child_by_field_name("type")
    return kind is not None and kind.type in {"struct_type", "interface_type"}


def _text(node: Leaf) -> str:
    return (node.text or b"").decode("utf-8", "replace")


def _line(node: Leaf) -> int:
    return node.start_point[0] + 1
