"""Chains by name: our steps from a table, foreign ones by `package.module:Name`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from inspect import isawaitable
from typing import Any, Generic, TypeVar

from zen_mcp.config.problems import Place, Problem, config_error
from zen_mcp.errors import did_you_mean
from zen_mcp.middleware.base import CallNext, Middleware

Request = TypeVar("Request")
Response = TypeVar("Response")

Maker = Callable[[], Middleware[Request, Response] | None]
"""Makes a step; None where the settings give it nothing to do."""

DEFAULT = "default"
"""Stands for all of our steps in their order."""


class ForeignStep(Generic[Request, Response]):
    """Somebody else's step, kept from ending the server and from answering with something else than a response.

    Args:
        name: as the settings name it.
        step: what is called with the request and `call_next`.
        response: the class that an answer must be of.
    """

    def __init__(self, name: str, step: Callable[[Request, Any], object], response: type[Response]) -> None:
        self.name = name
        self._step = step
        self._response = response

    async def __call__(self, request: Request, call_next: CallNext[Request, Response]) -> Response:
        """Run it.

        Raises:
            Exception: whatever it raises; the door answers with an id for what was not foreseen.
        """
        try:
            answer = self._step(request, call_next)
            if isawaitable(answer):
                answer = await answer
        except SystemExit as exc:
            raise RuntimeError(f"the middleware '{self.name}' wanted to end the server") from exc
        if not isinstance(answer, self._response):
            wanted, got = self._response.__name__, type(answer).__name__
            raise TypeError(f"the middleware '{self.name}' returned {got}, not a {wanted}")
        return answer


def chain_of(
    key: tuple[str, ...],
    names: Sequence[str] | None,
    table: Mapping[str, Maker[Request, Response]],
    *,
    response: type[Response],
    place: Callable[[tuple[str | int, ...]], Place],
) -> tuple[Middleware[Request, Response], ...]:
    """The steps of these names, outermost first.

    Args:
        key: where the names stand in server.yaml, for messages.
        names: as the settings give them; None for all of ours.
        table: our steps by name, in their default order.
        response: what a step must return.
        place: where a key was written.

    Raises:
        ConfigError: every name that is unknown, cannot be imported, or stands there twice.
    """
    problems: list[Problem] = []
    steps: list[Middleware[Request, Response] | None] = []
    ours = _ours(names, table)
    for number, name in enumerate(names if names is not None else (DEFAULT,)):
        at = (*key, number)
        if name == DEFAULT:
            steps += [table[one]() for one in ours]
        elif name in table:
            steps.append(table[name]())
        elif ":" in name:
            found = _foreign(name, response)
            if isinstance(found, ForeignStep):
                steps.append(found)
            else:
                problems.append(Problem(place(at), at, *found))
        else:
            known = [*table, DEFAULT]
            fix = did_you_mean(name, known) or f"There are: {', '.join(known)}, and 'package.module:Name'."
            problems.append(Problem(place(at), at, f"there is no middleware '{name}'.", fix))
        if name in table and (names or ()).index(name) != number:
            problems.append(Problem(place(at), at, f"'{name}' stands in the chain twice.", "Keep one of them."))
    if problems:
        raise config_error(problems)
    return tuple(step for step in steps if step is not None)


def steps_named(names: Sequence[str] | None, table: Mapping[str, object]) -> tuple[str, ...]:
    """Our steps that a chain has, by name."""
    if names is None or DEFAULT in names:
        return tuple(table)
    return tuple(name for name in names if name in table)


def _ours(names: Sequence[str] | None, table: Mapping[str, object]) -> tuple[str, ...]:
    """What `default` stands for: ours, but for those that are named apart."""
    return tuple(name for name in table if name not in (names or ()))


def _foreign(name: str, response: type[Response]) -> ForeignStep[Any, Response] | tuple[str, str]:
    """The step of a dotted path, or what is wrong with it and what to do."""
    path, _, attribute = name.partition(":")
    try:
        module = import_module(path)
        found: Any = getattr(module, attribute, None)
        if isinstance(found, type):
            found = found()
    except ModuleNotFoundError as exc:
        return f"'{name}' cannot be imported: {exc}.", "Install its package where the server is installed."
    except Exception as exc:  # noqa: BLE001 - somebody else's code may raise anything, and the settings are at fault
        return f"'{name}' cannot be made: {type(exc).__name__}: {exc}.", "Mend it, or take it out of the chain."
    if found is None:
        return f"the module '{path}' has no '{attribute}'.", did_you_mean(attribute, vars(module))
    step = getattr(found, "process_request", found)
    if not callable(step):
        return f"'{name}' can neither be called nor has it a method 'process_request'.", "See docs/middleware.md."
    return ForeignStep(name, step, response)
