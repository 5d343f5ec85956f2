"""Whether the members of a panel said the same: counted, never judged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_SHORT_CHARACTERS = 200
_FINAL = re.compile(
    r"(?:final answer|answer|verdict|conclusion|recommendation)\**\s*(?::|is\b)\W*(\w.{0,119})", re.IGNORECASE
)
_WORD = re.compile(r"[\w.+-]*\w")


def agreement_note(texts: Sequence[str]) -> str:
    """One sentence on how far the answers agree; empty for fewer than two.

    Short answers and stated conclusions ("Answer: …") are compared letter by letter after case and punctuation are
    dropped. Where there is nothing so short to compare, the note says so and gives the share of words in common:
    it never claims an agreement that was not seen.
    """
    if len(texts) < 2:
        return ""
    conclusions = [_conclusion(text) for text in texts]
    if all(conclusions):
        most, count = Counter(conclusions).most_common(1)[0]
        if count == len(texts):
            return f"All {count} gave the same answer: {_shown(most)}."
        if count > 1:
            return f"{count} of {len(texts)} gave the same answer ({_shown(most)}); the others dissent."
        return f"No two of the {len(texts)} short answers are the same."
    common = round(100 * _shared_words(texts))
    return f"Answers are in free text, not compared for meaning; {common} % of their words are shared."


def _conclusion(text: str) -> str:
    stripped = text.strip()
    found = _FINAL.findall(stripped)
    if found:
        stripped = found[-1].splitlines()[0]
    elif len(stripped) > _SHORT_CHARACTERS:
        return ""
    return " ".join(_WORD.findall(stripped.lower()))


def _shown(conclusion: str) -> str:
    return f"“{conclusion[:60]}{'…' if len(conclusion) > 60 else ''}”"


def _shared_words(texts: Sequence[str]) -> float:
    words = [set(_WORD.findall(text.lower())) for text in texts]
    return len(set[str].intersection(*words)) / max(len(set[str].union(*words)), 1)
