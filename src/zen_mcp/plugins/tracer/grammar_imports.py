"""The imports of JavaScript, TypeScript, Go, Rust and Java, out of their syntax trees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from zen_mcp.plugins.tracer.code import Import

if TYPE_CHECKING:  # the extra may be missing
    from tree_sitter import Node as Leaf


def imports_of(node: Leaf) -> list[Import]:
    """What a node brings in; nothing for one that is no import."""
    read = _READERS.get(node.type)
    return read(node) if read else []


def _script(node: Leaf) -> list[Import]:
    """`import a, { b as c } from "m"`, `export { b } from "m"`, `export * from "m"`."""
    source = node.child_by_field_name("source")
    if source is None:
        return []
    module, line = _unquoted(source), node.start_point[0] + 1
    found = [Import(module=module, name="*", local="*", line=line)] if node.type == "export_statement" else []
    specifiers = 0
    for part in _below(node):
        if part.type in {"import_specifier", "export_specifier"}:
            specifiers += 1
            name, alias = _text(part.child_by_field_name("name")), _text(part.child_by_field_name("alias"))
            found.append(Import(module=module, name=name, local=alias or name, line=line))
        elif part.type == "namespace_import":
            found.append(Import(module=module, name="", local=_text(part.named_children[0]), line=line))
        elif part.type == "identifier" and part.parent is not None and part.parent.type == "import_clause":
            # What a default export is called there is not known; mostly it is the same.
            found.append(Import(module=module, name=_text(part), local=_text(part), line=line))
    if node.type == "export_statement" and specifiers:
        found = found[1:]
    return found or [Import(module=module, name="", local="", line=line)]


def _required(node: Leaf) -> list[Import]:
    """`const a = require("m")`, `const { b } = require("m")`."""
    value = node.child_by_field_name("value")
    if value is None or value.type != "call_expression" or _text(value.child_by_field_name("function")) != "require":
        return []
    arguments = value.child_by_field_name("arguments")
    strings = [part for part in arguments.named_children if part.type == "string"] if arguments else []
    name = node.child_by_field_name("name")
    if not strings or name is None:
        return []
    module, line = _unquoted(strings[0]), node.start_point[0] + 1
    if name.type == "object_pattern":
        names = [_text(part) for part in name.named_children if part.type == "shorthand_property_identifier_pattern"]
        return [Import(module=module, name=one, local=one, line=line) for one in names]
    return [Import(module=module, name="", local=_text(name), line=line)]


def _go(node: Leaf) -> list[Import]:
    module = _unquoted(node.child_by_field_name("path"))
    local = _text(node.child_by_field_name("name")) or module.rpartition("/")[2]
    return [Import(module=module, name="", local=local, line=node.start_point[0] + 1)]


def _java(node: Leaf) -> list[Import]:
    names = [part for part in node.named_children if part.type == "scoped_identifier"]
    module = _text(names[0]) if names else ""
    local = module.rpartition(".")[2]
    return [Import(module=module, name=local, local=local, line=node.start_point[0] + 1)] if module else []


def _rust_mod(node: Leaf) -> list[Import]:
    """`mod a;` brings in a file; `mod a { … }` does not."""
    if node.child_by_field_name("body") is not None:
        return []
    name = _text(node.child_by_field_name("name"))
    return [Import(module=name, name="", local=name, line=node.start_point[0] + 1)]


def _rust_use(node: Leaf) -> list[Import]:
    argument = node.child_by_field_name("argument")
    return _rust_tree(argument, "", node.start_point[0] + 1) if argument is not None else []


def _rust_tree(node: Leaf, prefix: str, line: int) -> list[Import]:
    if node.type == "use_list":
        return [found for part in node.named_children for found in _rust_tree(part, prefix, line)]
    if node.type == "scoped_use_list":
        below = node.child_by_field_name("list")
        return _rust_tree(below, _joined(prefix, node.child_by_field_name("path")), line) if below else []
    if node.type == "use_as_clause":
        found = _rust_tree(node.child_by_field_name("path") or node, prefix, line)
        alias = _text(node.child_by_field_name("alias"))
        return [Import(module=one.module, name=one.name, local=alias, line=line) for one in found]
    if node.type == "use_wildcard":
        return [Import(module=_joined(prefix, node.named_children[0]), name="*", local="*", line=line)]
    module, _, name = _joined(prefix, node).rpartition(".")
    return [Import(module=module or name, name=name if module else "", local=name, line=line)]


def _joined(prefix: str, node: Leaf | None) -> str:
    return ".".join(part for part in (prefix, _text(node).replace("::", ".")) if part)


def _below(node: Leaf) -> list[Leaf]:
    found: list[Leaf] = []
    for child in node.named_children:
        found += [child, *(_below(child) if child.type not in {"string", "statement_block", "class_body"} else ())]
    return found


def _unquoted(node: Leaf | None) -> str:
    return _text(node).strip("'\"`")


def _text(node: Leaf | None) -> str:
    return (node.text or b"").decode("utf-8", "replace") if node is not None else ""


_READERS: Mapping[str, Callable[[Leaf], list[Import]]] = {
    "import_statement": _script,
    "export_statement": _script,
    "variable_declarator": _required,
    "import_spec": _go,
    "import_declaration": _java,
    "use_declaration": _rust_use,
    "mod_item": _rust_mod,
}
