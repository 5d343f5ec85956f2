"""What can be read without calling a tool: each resource is a view on the call of one, under the same permissions.

A resource is there when its tool is. The door only translates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, unquote

from zen_mcp.errors import UnknownResource, did_you_mean
from zen_mcp.types import ResourceLink, ToolResponse

MARKDOWN = "text/markdown"
PLAIN = "text/plain"
PAGE_CHARACTERS = 45_000
"""How much of a resource is read at once, where the client is not known to show less."""

_PAGED = "{?offset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One address, or a template of many.

    Attributes:
        name: what clients list it under.
        uri: the address; variables in braces, `{?offset}` at the end where it has pages (RFC 6570).
        description: one sentence for people who choose.
        tool: the tool whose answer it shows.
        arguments: the tool's arguments; `{name}` stands for a variable of the address.
        mime_type: of its text.
        fresh_seconds: how long a client may keep what it has read.
    """

    name: str
    uri: str
    description: str
    tool: str
    arguments: Mapping[str, str] = field(default_factory=dict[str, str])
    mime_type: str = PLAIN
    fresh_seconds: int = 0

    @property
    def is_template(self) -> bool:
        """Whether it stands for many addresses."""
        return "{" in self.uri

    @property
    def variables(self) -> Sequence[str]:
        """The names in the path, in order."""
        return re.findall(r"\{(\w+)\}", self.uri)

    def match(self, uri: str) -> Mapping[str, str] | None:
        """The tool's arguments for an address; None when it is none of this resource's."""
        path, _, query = uri.partition("?")
        base = self.uri.removesuffix(_PAGED)
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/?#]+)", re.escape(base))
        found = re.fullmatch(pattern, path.rstrip("/"))
        if found is None:
            return None
        values = {name: unquote(value) for name, value in found.groupdict().items()}
        arguments = {name: _filled(value, values) for name, value in self.arguments.items()}
        offset = parse_qs(query).get("offset") if self.uri.endswith(_PAGED) else None
        return {**arguments, "offset": offset[0]} if offset else arguments


RESOURCES: tuple[Resource, ...] = (
    Resource(
        name="models",
        uri="zen://models",
        description="Models that can be asked, with aliases, context window and price.",
        tool="listmodels",
        fresh_seconds=60,
    ),
    Resource(
        name="threads",
        uri="zen://threads",
        description="Your stored threads, the last used first.",
        tool="threads",
        arguments={"action": "list"},
    ),
    Resource(
        name="usage",
        uri="zen://usage",
        description="What you have spent.",
        tool="usage",
    ),
    Resource(
        name="limits",
        uri="zen://limits",
        description="How much of each limit and budget is used, and by whom.",
        tool="usage",
        arguments={"by": "limit"},
    ),
    Resource(
        name="thread",
        uri="zen://threads/{id}{?offset}",
        description="A whole thread.",
        tool="threads",
        arguments={"action": "export", "continuation_id": "{id}"},
        mime_type=MARKDOWN,
    ),
    Resource(
        name="turn",
        uri="zen://threads/{id}/turns/{n}{?offset}",
        description="One question or answer of a thread.",
        tool="threads",
        arguments={"action": "read", "continuation_id": "{id}", "turn": "{n}"},
        mime_type=MARKDOWN,
    ),
)


def find_resource(uri: str, resources: Iterable[Resource]) -> tuple[Resource, Mapping[str, str]]:
    """The resource of an address, and the arguments for its tool.

    Raises:
        UnknownResource: with the nearest address.
    """
    offered = tuple(resources)
    for resource in offered:
        arguments = resource.match(uri.strip())
        if arguments is not None:
            return resource, arguments
    known = [resource.uri for resource in offered]
    near = did_you_mean(uri, known) or f"There are: {', '.join(known)}."
    raise UnknownResource(f"There is no resource '{uri[:120]}'.", near)


def resource_text(response: ToolResponse, uri: str) -> str:
    """What a resource shows of a tool's answer; of a page, also the address of the next."""
    following = response.structured.get("next_offset")
    if following is None:
        return response.text
    return f"{response.structured.get('text')}\n\n[goes on at {uri.partition('?')[0]}?offset={following}]"


def turn_link(thread_id: str, turn: int, offset: int) -> ResourceLink:
    """The rest of a stored turn from a character on."""
    uri = f"zen://threads/{quote(thread_id)}/turns/{turn}?offset={offset}"
    return ResourceLink(uri=uri, name=f"turn-{turn}", title=f"The rest of turn {turn}", mime_type=MARKDOWN)


def _filled(value: str, variables: Mapping[str, str]) -> str:
    return variables.get(value.strip("{}"), value) if value.startswith("{") else value
