"""One YAML file as plain values plus the line of every key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import yaml

from zen_mcp.config.problems import KeyPath, Place, Problem

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeLoader as _Loader

_MOST_NODES = 100_000
"""Aliases can blow a small file up to any size; real settings stay far below."""
_DEEPEST = 20


@dataclass(slots=True)
class Source:
    """What one file holds, or what several hold after merging.

    `places` has an entry for every key and list item, and `()` for the file itself.
    """

    values: dict[str, object] = field(default_factory=dict[str, object])
    places: dict[KeyPath, Place] = field(default_factory=dict[KeyPath, Place])

    def place(self, key: KeyPath) -> Place:
        """Where a key was written; for one that was not, the nearest above it."""
        while key and key not in self.places:
            key = key[:-1]
        return self.places.get(key, Place("the settings"))


def read_source(path: Path, layer: str, problems: list[Problem]) -> Source:
    """Read one file; what is wrong is added to `problems`, never with the file's content."""
    place = Place(str(path), layer=layer)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        problems.append(Problem(place, (), "this is not UTF-8 text.", "Save it as UTF-8."))
        return Source()
    except OSError as exc:
        problems.append(Problem(place, (), f"cannot be read: {exc.strerror}."))
        return Source()
    reader = _Reader(str(path), layer, problems)
    try:
        return reader.read(text)
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 0
        text = f"this is not valid YAML: {exc.problem}."
        problems.append(Problem(Place(str(path), line, layer), (), text, "Check indents, colons and quotes."))
    except (yaml.YAMLError, RecursionError):
        text = "this is not valid YAML: it has characters or a depth that YAML does not allow."
        problems.append(Problem(place, (), text))
    return Source()


class _Reader:
    """Turns YAML nodes into values and notes the line of each."""

    def __init__(self, file: str, layer: str, problems: list[Problem]) -> None:
        self._file = file
        self._layer = layer
        self._problems = problems
        self._scalars = yaml.constructor.SafeConstructor()
        self._nodes = 0
        self._source = Source()

    def read(self, text: str) -> Source:
        node = yaml.compose(text, Loader=_Loader)
        self._source.places[()] = Place(self._file, layer=self._layer)
        if node is None or node.tag == "tag:yaml.org,2002:null":
            return self._source
        if isinstance(node, yaml.MappingNode):
            self._source.values = self._mapping(node, ())
        else:
            self._problem((), node, "the file is not a mapping.", "Write 'key: value' lines.")
        return self._source

    def _value(self, node: yaml.Node, key: KeyPath) -> object:
        self._nodes += 1
        if self._nodes > _MOST_NODES or len(key) > _DEEPEST:
            raise RecursionError
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key)
        if isinstance(node, yaml.SequenceNode):
            items = cast("list[yaml.Node]", node.value)
            return [self._noted(item, (*key, index)) for index, item in enumerate(items)]
        return cast("object", self._scalars.construct_object(node))  # pyright: ignore[reportUnknownMemberType] - untyped

    def _mapping(self, node: yaml.MappingNode, key: KeyPath) -> dict[str, object]:
        self._refuse_twice(node, key)
        self._scalars.flatten_mapping(node)
        values: dict[str, object] = {}
        for name_node, value_node in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
            name = self._value(name_node, key)
            if not isinstance(name, str):
                self._problem(key, name_node, f"the key '{name}' is not text.", "Put it in quotes.")
                continue
            values[name] = self._value(value_node, (*key, name))
            self._source.places[*key, name] = self._place(name_node)
        return values

    def _noted(self, node: yaml.Node, key: KeyPath) -> object:
        self._source.places[key] = self._place(node)
        return self._value(node, key)

    def _refuse_twice(self, node: yaml.MappingNode, key: KeyPath) -> None:
        first: dict[str, int] = {}
        for name_node, _ in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
            name = str(name_node.value)
            if name in first and name != "<<":
                text = f"the key '{name}' is written twice, first in line {first[name]}."
                self._problem((*key, name), name_node, text, "Keep one of them.")
            first.setdefault(name, _line(name_node))

    def _place(self, node: yaml.Node) -> Place:
        return Place(self._file, _line(node), self._layer)

    def _problem(self, key: KeyPath, node: yaml.Node, text: str, fix: str) -> None:
        self._problems.append(Problem(self._place(node), key, text, fix))


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1 if node.start_mark else 0
