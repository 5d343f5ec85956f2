"""Adds models to a models.yaml without touching what is there: comments, order and spacing stay."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from zen_mcp.errors import ConfigError

_HEAD = 'version: "1.0"\n\nmodels:\n'


def entry_yaml(name: str, settings: Mapping[str, object], *, comment: str = "", indent: int = 2) -> str:
    """One model as it stands below `models:`."""
    text = yaml.safe_dump(
        {name: dict(settings)}, sort_keys=False, allow_unicode=True, default_flow_style=False, width=1000
    )
    lines = [f"# {comment}", *text.splitlines()] if comment else text.splitlines()
    return "".join(f"{' ' * indent}{line}\n" for line in lines)


def add_models(path: Path, entries: Mapping[str, tuple[Mapping[str, object], str]]) -> None:
    """Write the entries (settings and a comment by name) behind those that the file has; the file is made if need be.

    Raises:
        ConfigError: the file is no YAML, has its models on one line, or cannot be written.
    """
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else _HEAD
        after = _with(before, path, entries)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _replace(path, after)
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or type(exc).__name__
        raise ConfigError(f"'{path}' cannot be written: {reason}.", "Add the lines yourself.") from exc


def _with(text: str, path: Path, entries: Mapping[str, tuple[Mapping[str, object], str]]) -> str:
    by_hand = ConfigError(f"'{path}' has no block of models that entries can be added to.", "Add the lines yourself.")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ConfigError(f"'{path}' is not YAML.", "zen config check says where.") from exc
    if root is None:
        return text.rstrip("\n") + ("\n\n" if text.strip() else "") + _HEAD + _block(entries, 2)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise by_hand
    models = next((value for key, value in root.value if key.value == "models"), None)
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    if models is None:
        changed = "".join(lines) + "\nmodels:\n" + _block(entries, 2)
    elif isinstance(models, yaml.MappingNode) and not models.flow_style:
        at = _end_of(models)
        changed = "".join(lines[:at]) + _block(entries, models.start_mark.column) + "".join(lines[at:])
    elif isinstance(models, yaml.ScalarNode) and not models.value:
        at = models.start_mark.line + 1
        changed = "".join(lines[:at]) + _block(entries, 2) + "".join(lines[at:])
    else:
        raise by_hand
    _check(values, changed, entries, by_hand)
    return changed


def _block(entries: Mapping[str, tuple[Mapping[str, object], str]], indent: int) -> str:
    texts = [
        entry_yaml(name, settings, comment=comment, indent=indent) for name, (settings, comment) in entries.items()
    ]
    return "".join(texts)


def _end_of(node: yaml.Node) -> int:
    """The number of the line after the last one that belongs to a node; comments below it are not its own."""
    if isinstance(node, yaml.MappingNode) and node.value and not node.flow_style:
        return _end_of(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and node.value and not node.flow_style:
        return _end_of(node.value[-1])
    end = node.end_mark
    return end.line + (1 if end.column or end.line == node.start_mark.line else 0)


def _check(before: object, after: str, entries: Mapping[str, object], by_hand: ConfigError) -> None:
    """Make sure that nothing but the entries was added."""
    try:
        values: Any = yaml.safe_load(after)
    except yaml.YAMLError:
        raise by_hand from None
    old = cast("dict[str, Any]", before)
    had: dict[str, Any] = old.get("models") or {}
    expected: dict[str, Any] = {**old, "models": {**had, **{name: values["models"].get(name) for name in entries}}}
    if values != expected or any(values["models"][name] is None for name in entries):
        raise by_hand


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(mode)
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
