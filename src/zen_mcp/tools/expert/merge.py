"""The findings of several as one list: duplicates joined, each with who found it, disagreement kept."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from zen_mcp.tools.expert.findings import Finding, Severity

_ALIKE_WITHIN: tuple[tuple[int, float], ...] = ((3, 0.12), (30, 0.6))
"""So many lines apart at most, and the share of common words from which two findings of one file are one."""
_ALIKE_SOMEWHERE = 0.5
"""The same where one of them names no line."""
_REPEATED = 0.8
"""The share from which one model has said the same twice, of the same place."""
_WORD = re.compile(r"[a-z_][a-z0-9_]{2,}")
_COMMON = frozenset(
    _WORD.findall(
        "the and for not are this that with can may will when where from into but has have should could would been "
        "was does used use using its line code file function value which there then than also here missing check"
    )
)


def merged(found: Sequence[tuple[str, Sequence[Finding]]]) -> tuple[Finding, ...]:
    """Join the findings of all, the gravest first, those that several found before those of one.

    Two members found the same when both are in the same file, near each other, and share words: the nearer, the fewer.
    One member's own findings are one only where it repeats itself.

    Args:
        found: who found what; a name may stand there several times, once for each piece that it saw.
    """
    groups: list[list[tuple[str, Finding]]] = []
    for name, findings in found:
        for finding in findings:
            fitting = [group for group in groups if _belongs(name, finding, group)]
            if fitting:
                max(fitting, key=lambda group: max(_alike(finding, other) for _, other in group)).append(
                    (name, finding)
                )
            else:
                groups.append([(name, finding)])
    joined = [_joined(group) for group in groups]
    return tuple(sorted(joined, key=lambda f: (f.rank, -len(f.found_by), f.file, f.line or 0)))


def _belongs(name: str, finding: Finding, group: Sequence[tuple[str, Finding]]) -> bool:
    own = [other for by, other in group if by == name]
    if own:
        return any(finding.place == other.place and _alike(finding, other) >= _REPEATED for other in own)
    return any(_same(finding, other) for _, other in group)


def _joined(group: Sequence[tuple[str, Finding]]) -> Finding:
    """One finding of all that are the same: the gravest's words, what it lacks from the others."""
    gravest = min((finding for _, finding in group), key=lambda finding: finding.rank)
    said: dict[str, Severity] = {}
    for name, finding in sorted(group, key=lambda entry: entry[1].rank):
        said.setdefault(name, finding.severity)
    names = tuple(dict.fromkeys(name for name, _ in group))
    others = [finding for _, finding in group]
    return replace(
        gravest,
        line=gravest.line or next((other.line for other in others if other.line), None),
        why=gravest.why or max((other.why for other in others), key=len),
        fix=gravest.fix or max((other.fix for other in others), key=len),
        found_by=names,
        severities=tuple((name, said[name]) for name in names) if len(set(said.values())) > 1 else (),
        place_unknown=all(other.place_unknown for other in others),
    )


def _same(one: Finding, other: Finding) -> bool:
    if one.file != other.file:
        return False
    alike = _alike(one, other)
    if not one.line or not other.line:
        return alike >= _ALIKE_SOMEWHERE
    apart = abs(one.line - other.line)
    return any(apart <= lines and alike >= least for lines, least in _ALIKE_WITHIN)


def _alike(one: Finding, other: Finding) -> float:
    words, others = _words(one), _words(other)
    return len(words & others) / min(len(words), len(others)) if words and others else 0.0


def _words(finding: Finding) -> set[str]:
    return {word.rstrip("s") for word in _WORD.findall(finding.what.lower())} - _COMMON


def located(finding: Finding, sent: Mapping[str, int]) -> Finding:
    """The finding with its file named as it was sent, and marked where no such file or line was.

    Args:
        finding: as the model wrote it.
        sent: what was sent: each path and the number of its last line, 0 where that is not known.
    """
    if not finding.file or not sent:
        return finding
    wanted = finding.file.strip().removeprefix("./").replace("\\", "/")
    path = next((path for path in sent if path == wanted), None) or _only(
        [path for path in sent if path.endswith(f"/{wanted}") or wanted.endswith(f"/{path}")]
    )
    if path is None:
        return replace(finding, place_unknown=True)
    last = sent[path]
    return replace(finding, file=path, place_unknown=bool(last and finding.line and finding.line > last))


def _only(paths: Sequence[str]) -> str | None:
    return paths[0] if len(paths) == 1 else None
