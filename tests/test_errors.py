"""The error tree."""

from __future__ import annotations

from zen_mcp import errors


def _all_errors(root: type[errors.ZenError]) -> list[type[errors.ZenError]]:
    return [root, *(error for child in root.__subclasses__() for error in _all_errors(child))]


def test_every_error_is_drawn_in_the_tree_of_the_docstring() -> None:
    drawn = errors.__doc__ or ""
    missing = [error.__name__ for error in _all_errors(errors.ZenError) if error.__name__ not in drawn]
    assert missing == []


def test_an_error_reads_as_problem_and_fix() -> None:
    error = errors.UnknownModel("Unknown model 'opsu'.", errors.did_you_mean("opsu", ["opus", "gpt"]))
    assert str(error) == "Unknown model 'opsu'. Did you mean 'opus'?"
    assert error.kind == "UnknownModel"


def test_nothing_is_suggested_for_a_name_that_is_near_nothing() -> None:
    assert errors.did_you_mean("zzzzzz", ["opus", "gpt"]) == ""
