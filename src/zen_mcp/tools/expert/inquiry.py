"""One round of an expert tool: what is asked of whom, about which piece of the material."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from zen_mcp.errors import FileRefused, InvalidArguments, NoChanges
from zen_mcp.figures import estimate_tokens
from zen_mcp.sent_files import File
from zen_mcp.tools.context import Question, Thread, ToolContext
from zen_mcp.tools.expert import findings
from zen_mcp.tools.expert.material import Cut, Material, cut_up
from zen_mcp.tools.expert.params import Expert, ExpertParams
from zen_mcp.tools.expert.steps import StepParams, files_of, stored_text, told, without_steps
from zen_mcp.tools.git.changes import Changes
from zen_mcp.tools.panel.ask import Member, check_panel
from zen_mcp.tools.room import room_beside

_MARGIN_TOKENS = 60
"""For the words that go with a piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A member and the piece that it is to look at, the `number`th `of` so many."""

    member: Member
    piece: tuple[File, ...]
    number: int = 1
    of: int = 1

    @property
    def label(self) -> str:
        """`opus`, or `opus 2/3`."""
        return f"{self.member.label} {self.number}/{self.of}" if self.of > 1 else self.member.label


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """What is asked of whom.

    Attributes:
        thread: as the caller sees it; the turns of the round are added there.
        history: as the models see it, without the steps, which the question tells.
        text: the question in words.
        question: as it is stored: with all of the material.
        steps: what the caller investigated, the last step last; empty for a call without.
        notes: what was left out, in words.
    """

    thread: Thread
    history: Thread
    text: str
    question: Question
    material: Material
    system: str
    members: tuple[Member, ...]
    cuts: Mapping[str, Cut]
    steps: Sequence[StepParams]
    notes: tuple[str, ...]

    @property
    def seats(self) -> tuple[Seat, ...]:
        """Each member with each piece that it is to look at."""
        return tuple(
            Seat(member=member, piece=piece, number=number, of=len(self.cuts[member.model.name].pieces))
            for member in self.members
            for number, piece in enumerate(self.cuts[member.model.name].pieces, start=1)
        )

    def asked(self, seat: Seat) -> Question:
        """The question to one about one piece."""
        note = f"\n\nThis is part {seat.number} of {seat.of}; the others are looked at apart." if seat.of > 1 else ""
        return replace(self.question, text=f"{self.text}{note}", files=seat.piece)


async def inquire(
    name: str,
    expert: Expert,
    params: ExpertParams,
    context: ToolContext,
    *,
    thread: Thread,
    steps: Sequence[StepParams],
) -> Inquiry:
    """Read everything, and cut it up for each member.

    Raises:
        InvalidArguments: there is nothing to ask about, or an unknown or doubled model.
        FileRefused: a file that the caller names now cannot be read.
        NoChanges: git has none.
    """
    members = _members(params, context)
    text = _text(name, expert, params, context, steps)
    own = await context.question(text, files=params.files, images=params.images, numbered=True)
    earlier, told_of_files = await _files_of_steps(params, context, steps)
    changes, why_none = await _changes(expert, params, context, steps)
    material = Material(files=(*own.files, *earlier), changes=changes)
    system = context.prompts["system"] + (f"\n\n{findings.FORMAT}" if expert.answers == "findings" else "")
    taken = estimate_tokens(text, images=len(own.images)) + _MARGIN_TOKENS
    cuts = {
        member.model.name: cut_up(
            material,
            budget_tokens=room_beside(system, member.model) - taken,
            one_piece=expert.answers == "text",
        )
        for member in members
    }
    return Inquiry(
        thread=thread,
        history=without_steps(thread, name) if steps else thread,
        text=text,
        question=replace(own, text=stored_text(steps[-1]) if steps else text, files=material.stored, notes=()),
        material=material,
        system=system,
        members=members,
        cuts=cuts,
        steps=steps,
        notes=(*own.notes, *told_of_files, *why_none, *(changes.left_out if changes else ()), *_left_out(cuts)),
    )


def _members(params: ExpertParams, context: ToolContext) -> tuple[Member, ...]:
    """Who is asked: one that must be there, or a panel on which one that cannot be asked is a failed member."""
    names = params.models or [params.model]
    if len(names) == 1:
        return (Member(model=context.catalog.require(names[0])),)
    members = tuple(Member(model=context.catalog.resolve(name)) for name in names)
    check_panel(members)
    return members


def _text(name: str, expert: Expert, params: ExpertParams, context: ToolContext, steps: Sequence[StepParams]) -> str:
    """The question in words: the caller's own or the tool's, the focus, and what the steps found."""
    if not steps and not params.prompt.strip():
        _check_there_is_something(name, expert, params)
    parts = (
        params.prompt.strip() or context.prompts.get("question", ""),
        f"Focus: {params.focus}" if params.focus else "",
        f"What the caller found so far, step by step:\n\n{told(steps)}" if steps else "",
    )
    return "\n\n".join(part for part in parts if part)


def _check_there_is_something(name: str, expert: Expert, params: ExpertParams) -> None:
    if expert.needs == "prompt":
        raise InvalidArguments(
            f"{name}: 'prompt' is missing.", "Say what it is about, or send 'step' to go step by step."
        )
    if not (params.files or params.changes or expert.changes):
        raise InvalidArguments(
            f"{name}: 'files' is missing.", "Name what to look at in 'files', 'changes' or 'prompt'."
        )


async def _changes(
    expert: Expert, params: ExpertParams, context: ToolContext, steps: Sequence[StepParams]
) -> tuple[Changes | None, list[str]]:
    """The changes that the caller names, or that the tool looks at by itself, and why there are none of those."""
    if params.changes:
        return await context.changes(params.changes, folder=params.folder), []
    if not expert.changes or (expert.needs != "changes" and (params.files or steps)):
        return None, []
    try:
        return await context.changes(expert.changes, folder=params.folder), []
    except NoChanges as exc:
        if steps or (params.prompt.strip() and expert.needs != "changes"):
            return None, [exc.problem]
        raise


async def _files_of_steps(
    params: ExpertParams, context: ToolContext, steps: Sequence[StepParams]
) -> tuple[list[File], list[str]]:
    """The files that the steps name, and notes: one that an earlier step named and that is gone fails nothing."""
    files: list[File] = []
    notes: list[str] = []
    for path in files_of(steps):
        if path in params.files:
            continue
        try:
            read = await context.question("-", files=[path], numbered=True)
        except FileRefused as exc:
            if path in steps[-1].relevant_files:
                raise
            notes.append(str(exc))
            continue
        known = {file.path for file in files}
        files += [file for file in read.files if file.path not in known]
        notes += read.notes
    return files, notes


def _left_out(cuts: Mapping[str, Cut]) -> list[str]:
    """What no piece holds, once where it is the same for all members."""
    if len({cut.left_out for cut in cuts.values()}) == 1:
        return list(next(iter(cuts.values())).left_out)
    return [f"{name}: {note}" for name, cut in cuts.items() for note in cut.left_out]
