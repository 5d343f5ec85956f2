"""`${NAME}`, `${NAME:-default}`, `${keyring:service/name}` and `${cmd:program}` in strings; `$${` is a literal `${`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from zen_mcp.config.environment import Environment
from zen_mcp.config.secrets import COMMAND, KEYRING, from_command, from_keyring

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRETS: Mapping[str, Callable[[str], str | None]] = {COMMAND: from_command, KEYRING: from_keyring}


@dataclass(frozen=True, slots=True)
class Expansion:
    """A string with its variables filled in.

    Attributes:
        variables: all that were looked up, in order; the first that is set is the one that counts.
        unset: those that have neither a value nor a default.
        fault: what is wrong with the notation; empty when nothing is.
    """

    text: str
    variables: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()
    fault: str = ""


def expand(text: str, environment: Environment, *, trusted: bool = True) -> Expansion:
    """Fill in the variables of a string. An empty variable counts as not set.

    Args:
        text: the string.
        environment: what `${NAME}` stands for.
        trusted: whether it was written by the user himself, so that commands and the keyring may be asked.
    """
    done, variables, unset = "", list[str](), list[str]()
    position = 0
    while (start := text.find("${", position)) >= 0:
        if text[start - 1 : start] == "$":
            done += text[position : start - 1] + "${"
            position = start + 2
            continue
        end = _closing(text, start + 2)
        if end < 0:
            return Expansion(text, fault="'${' has no closing '}'")
        part = _look_up(text[start + 2 : end], environment, trusted=trusted)
        if part.fault:
            return part
        done += text[position:start] + part.text
        variables += part.variables
        unset += part.unset
        position = end + 1
    return Expansion(done + text[position:], tuple(variables), tuple(unset))


def _look_up(inside: str, environment: Environment, *, trusted: bool) -> Expansion:
    kind = next((kind for kind in _SECRETS if inside.startswith(kind)), None)
    if kind is not None:
        if not trusted:
            return Expansion("", fault=f"'${{{kind}…}}' works in your own settings only, not in a checkout's '.zen'")
        found = _SECRETS[kind](inside.removeprefix(kind).strip())
        label = f"{kind}{inside.removeprefix(kind).split(' ')[0]}"
        return Expansion(found or "", (label,), () if found else (label,))
    match = _NAME.match(inside)
    rest = inside[match.end() :] if match else ""
    if match is None or (rest and not rest.startswith(":-")):
        return Expansion("", fault="it is neither '${NAME}' nor '${NAME:-default}'")
    name = match[0]
    value = environment.get(name)
    if value is not None:
        return Expansion(value, (name,))
    if not rest:
        return Expansion("", (name,), (name,))
    default = expand(rest[2:], environment, trusted=trusted)
    return Expansion(default.text, (name, *default.variables), default.unset, default.fault)


def _closing(text: str, position: int) -> int:
    """The index of the brace that closes the one before `position`; -1 when there is none."""
    depth = 1
    while position < len(text):
        if text.startswith("${", position):
            depth += 1
            position += 1
        elif text[position] == "}":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    return -1
