"""What a look-up finds, whatever the language."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An installed package, and the part of it that was asked for.

    Attributes:
        package: its name as it is published.
        where: in which environment it is installed.
        signature: of the part: a signature, a class with its methods, or the names a module offers.
        document: the part's own documentation, shortened.
        at: the file and line of the part.
        missing: the part that the package does not have, empty when it does or none was asked for.
        near: a name near to the missing one.
    """

    language: str
    package: str
    version: str
    where: str
    summary: str = ""
    home: str = ""
    signature: str = ""
    document: str = ""
    at: str = ""
    missing: str = ""
    near: str = ""


def shortened(text: str, most: int) -> str:
    """At most so many characters, with a mark where it was cut."""
    return text if len(text) <= most else f"{text[:most].rstrip()} …"
