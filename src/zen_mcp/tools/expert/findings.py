"""Findings: what a reviewer points at, read from a model's answer whatever form it has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

from zen_mcp.types import JSONObject, JSONValue

Severity = Literal["critical", "high", "medium", "low", "info"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""The gravest first."""

FORMAT = """Answer with JSON alone, in this form:
{"summary": "the conclusion, in one or two sentences", "findings": [{"severity": "high", "file": "path as given", \
"line": 12, "what": "what is wrong", "why": "what it leads to", "fix": "what to do"}]}
severity is one of critical, high, medium, low, info. Lines are numbered at their left. Report only what you can point \
at in the material; an empty list is a good answer."""

SCHEMA: JSONObject = {
    "type": "object",
    "properties": {
        "summary": {"type": "string"},
        "findings": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "severity": {"enum": list(SEVERITIES)},
                    "file": {"type": "string"},
                    "line": {"type": "integer"},
                    "what": {"type": "string"},
                    "why": {"type": "string"},
                    "fix": {"type": "string"},
                },
                "required": ["severity", "what"],
            },
        },
    },
    "required": ["summary", "findings"],
}

_SEVERITY_WORDS: Mapping[str, Severity] = {
    **{word: word for word in SEVERITIES},
    **dict.fromkeys(("blocker", "fatal", "severe", "p0"), cast("Severity", "critical")),
    **dict.fromkeys(("major", "error", "important", "serious", "p1"), cast("Severity", "high")),
    **dict.fromkeys(("moderate", "warning", "warn", "normal", "p2"), cast("Severity", "medium")),
    **dict.fromkeys(("minor", "trivial", "p3"), cast("Severity", "low")),
    **dict.fromkeys(("nit", "note", "informational", "suggestion", "style", "p4"), cast("Severity", "info")),
}
_KEYS: Mapping[str, tuple[str, ...]] = {
    "severity": ("severity", "level", "priority", "impact_level"),
    "file": ("file", "path", "filename", "file_path", "location"),
    "line": ("line", "line_number", "lines", "start_line", "line_start"),
    "what": ("what", "title", "issue", "problem", "description", "message", "finding", "summary"),
    "why": ("why", "reason", "impact", "explanation", "rationale", "details", "evidence", "description"),
    "fix": ("fix", "suggestion", "recommendation", "solution", "remedy", "how_to_fix"),
}
_LISTS = ("findings", "issues", "issues_found", "problems", "bugs", "vulnerabilities", "results")
_MOST_TRIES = 2_000
_MOST_FINDINGS = 500
_PLACE = re.compile(r"`?((?:[\w.@~+-]*/)*[\w@~+-][\w.@~+-]*\.\w{1,8}|(?:[\w.@~+-]+/)+[\w.@~+-]+):(\d{1,7})")
_FENCE = re.compile(r"^```\w*\s*$", re.MULTILINE)
_SUMMARY = re.compile(r'"summary"\s*:\s*"((?:[^"\\]|\\.)*)"')
_LONGEST_SUMMARY_CHARACTERS = 600
# Not "note" or "error", with which sentences begin that are no findings.
_NAMES = "|".join([*SEVERITIES, "blocker", "severe", "major", "moderate", "warning", "minor"])
_HEAD = re.compile(
    rf"^\s*(?:#+\s*|[-*•]\s+|\d+[.)]\s*)?\W{{0,6}}(?:severity\W{{1,5}})?\b(?P<severity>{_NAMES})\b(?P<mark>[^\w\n]*)"
    r"(?P<rest>.*)$",
    re.IGNORECASE,
)
_LABELLED = re.compile(r"^[\s*_-]*(?P<label>fix|suggestion|recommendation|why|impact|reason)[*_]*\s*:[*_]*\s*", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        file: as it was named; empty where the whole is meant.
        line: of the file's newest state; None where none was said.
        found_by: who found it, in the order of the panel.
        severities: what each said, where they differ.
        place_unknown: whether no such file or line was among what was sent.
    """

    severity: Severity
    what: str
    file: str = ""
    line: int | None = None
    why: str = ""
    fix: str = ""
    found_by: tuple[str, ...] = ()
    severities: tuple[tuple[str, Severity], ...] = ()
    place_unknown: bool = False

    @property
    def rank(self) -> int:
        """0 for the gravest."""
        return SEVERITIES.index(self.severity)

    @property
    def place(self) -> str:
        """`src/app.py:12`, `src/app.py` or nothing."""
        return f"{self.file}:{self.line}" if self.file and self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What could be read of an answer. `readable`: whether it said findings, or that there are none, in some form."""

    findings: tuple[Finding, ...] = ()
    summary: str = ""
    readable: bool = True


def read_findings(text: str) -> Reading:
    """The findings of an answer: from JSON anywhere in it, whole or cut off, else from lines that name a severity."""
    values = list(_json_values(text))
    length = len(_FENCE.sub("", text).strip())
    for value, size in values:
        entries = _list_in(value) if isinstance(value, dict) else value if isinstance(value, list) else None
        # An empty list in the middle of a text is code, not an answer.
        if entries is not None and (any(_is_finding(entry) for entry in entries) or size > length / 2):
            return Reading(findings=_findings(entries), summary=_summary_in(value) or _outside(text))
    single = [value for value, _ in values if _is_finding(value)]
    if single:
        return Reading(findings=_findings(single), summary=_cut_summary(text) or _outside(text))
    return _read_lines(text)


def severity_of(word: object, default: Severity = "medium") -> Severity:
    """The severity that a word means; `default` where it means none."""
    for part in re.findall(r"[a-z0-9]+", str(word).lower()):
        if part in _SEVERITY_WORDS:
            return _SEVERITY_WORDS[part]
    return default


def finding_of(entry: JSONValue) -> Finding | None:
    """One entry of a list of findings; None when it says nothing."""
    if isinstance(entry, str):
        return replace(_placed(entry), severity="medium") if entry.strip() else None
    if not isinstance(entry, dict):
        return None
    lower = {key.lower(): value for key, value in entry.items()}
    what, why = _text(lower, "what"), _text(lower, "why")
    if not what and not why:
        return None
    file, line = _place_in(lower)
    return Finding(
        severity=severity_of(_text(lower, "severity")),
        what=what or why,
        file=file,
        line=line,
        why=why if why != what else "",
        fix=_text(lower, "fix"),
    )


def _findings(entries: list[JSONValue]) -> tuple[Finding, ...]:
    found = (finding_of(entry) for entry in entries[:_MOST_FINDINGS])
    return tuple(finding for finding in found if finding is not None)


def _text(entry: Mapping[str, JSONValue], name: str) -> str:
    """The first of a value's names that holds anything, as text."""
    for key in _KEYS[name]:
        value = entry.get(key)
        if isinstance(value, str | int | float) and str(value).strip():
            return " ".join(str(value).split()) if name != "fix" else str(value).strip()
    return ""


def _place_in(entry: Mapping[str, JSONValue]) -> tuple[str, int | None]:
    file, line = _text(entry, "file").strip("`"), None
    lines = entry.get("lines")
    written = _text(entry, "line") or (str(lines[0]) if isinstance(lines, list) and lines else "")
    if digits := re.search(r"\d{1,7}", written):
        line = int(digits.group())
    if found := re.fullmatch(r"(.+?):L?(\d{1,7})(?:[-:,]\d+)?", file):
        file, line = found.group(1), line or int(found.group(2))
    return file, line or None


def _list_in(value: Mapping[str, JSONValue]) -> list[JSONValue] | None:
    return next((entries for name in _LISTS if isinstance(entries := value.get(name), list)), None)


def _is_finding(value: JSONValue) -> bool:
    if not isinstance(value, dict):
        return False
    lower = {key.lower() for key in value}
    return bool(lower & set(_KEYS["what"])) and bool(lower & {*_KEYS["severity"], *_KEYS["file"], *_KEYS["fix"]})


def _json_values(text: str) -> Iterator[tuple[JSONValue, int]]:
    """Every JSON object or list in a text and its length; of one that is cut off, the whole ones inside."""
    decoder = json.JSONDecoder()
    place, tries = 0, 0
    while tries < _MOST_TRIES and (found := re.search(r"[\[{]", text[place:])) is not None:
        start, tries = place + found.start(), tries + 1
        try:
            value, place = decoder.raw_decode(text, start)
        except ValueError:
            place = start + 1
        except RecursionError:
            return
        else:
            yield value, place - start


def _summary_in(value: JSONValue) -> str:
    if not isinstance(value, dict):
        return ""
    summary = value.get("summary") or value.get("conclusion")
    return " ".join(summary.split()) if isinstance(summary, str) else ""


def _cut_summary(text: str) -> str:
    """The summary of an object that is not whole."""
    found = _SUMMARY.search(text)
    return " ".join(found.group(1).replace("\\n", " ").replace('\\"', '"').split()) if found else ""


def _outside(text: str) -> str:
    """The first paragraph, where it is short prose without a finding."""
    first = re.split(r"\n\n|```|[{\[]", text.strip(), maxsplit=1)[0].strip()
    prose = not re.match(r"[`|#]", first) and not any(_HEAD.match(line) for line in first.splitlines())
    return first if prose and len(first) <= _LONGEST_SUMMARY_CHARACTERS else ""


def _read_lines(text: str) -> Reading:
    """The findings of a text in lines, each begun by a line that names its severity.

    Where they would hold less than half of the text, it is no list of findings, and stays a text.
    """
    findings: list[Finding] = []
    summary = _outside(text)
    taken, whole = len(summary), 0
    for line in text.splitlines():
        whole += len(line)
        found = _HEAD.match(line)
        if found and (found["mark"].strip() or found.start("severity") > 0):
            findings.append(replace(_placed(found["rest"].strip(" |")), severity=severity_of(found["severity"])))
        elif findings and line.strip():
            findings[-1] = _continued(findings[-1], line)
        taken += len(line) if findings else 0
    said = tuple(finding for finding in findings if finding.what)
    if not said or taken < whole / 2:
        return Reading(readable=False)
    return Reading(findings=said[:_MOST_FINDINGS], summary=summary)


def _continued(finding: Finding, line: str) -> Finding:
    labelled = _LABELLED.match(line)
    rest = line[labelled.end() :].strip() if labelled else line.strip()
    if labelled and labelled["label"].lower() in {"fix", "suggestion", "recommendation"}:
        return replace(finding, fix=f"{finding.fix} {rest}".strip())
    if not finding.what:
        place = _placed(rest)
        return replace(place, severity=finding.severity)
    place = _placed(rest)
    return replace(
        finding,
        why=f"{finding.why} {rest}".strip(),
        file=finding.file or place.file,
        line=finding.line or (place.line if not finding.file else None),
    )


def _placed(text: str) -> Finding:
    """A finding whose place is the first that its text names."""
    found = _PLACE.search(text)
    words = text.strip().strip("*_").strip()
    if found is None:
        return Finding(severity="medium", what=words)
    if words.startswith(found.group().strip("`"), 0, len(found.group()) + 3) or words.lstrip("`(*").startswith(
        found.group(1)
    ):
        words = text[found.end() :].lstrip("`*):,\u2013\u2014- \t").strip() or words
    return Finding(severity="medium", what=words, file=found.group(1), line=int(found.group(2)))
