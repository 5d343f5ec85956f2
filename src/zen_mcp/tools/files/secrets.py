"""What looks like a secret: by a file's name, and in a text, where it is replaced."""

from __future__ import annotations

import fnmatch
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

SECRET_NAMES = (
    ".env", ".env.*", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".netrc", "_netrc", ".npmrc", ".pypirc", ".pgpass", ".htpasswd",
    ".git-credentials", "credentials", "credentials.*", "*.tfstate", "secrets.*", "service-account*.json",
)  # fmt: skip
SECRET_FOLDERS = (".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", "gcloud")
_HARMLESS_NAMES = (".env.example", ".env.sample", ".env.template", "*.pub")
_SOURCE_SUFFIXES = (
    ".py",
    ".pyi",
    ".js",
    ".ts",
    ".tsx",
    ".go",
    ".rs",
    ".rb",
    ".java",
    ".kt",
    ".cs",
    ".php",
    ".swift",
    ".md",
)
REDACTED = "[redacted"
"""How every mark begins that stands in the place of a secret."""

_BEGIN = r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
_END = r"-----END [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
_BREAK = r"(?:\\n|\r?\n[+\- ]?|[ \t\"'])"
_PRIVATE_KEY = re.compile(
    rf"{_BEGIN}(?:[\w+/=\s\\\"',:;.\-]{{1,20000}}?{_END}|{_BREAK}*(?:[A-Za-z0-9+/=]{{16,}}{_BREAK}*)+)"
)
_TOKENS: Mapping[str, re.Pattern[str]] = {
    "AWS access key": re.compile(r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b"),
    "GitHub token": re.compile(r"\bgh[opsur]_[A-Za-z0-9]{36,255}\b|\bgithub_pat_\w{22,255}\b"),
    "GitLab token": re.compile(r"\bglpat-[\w-]{20,64}"),
    "Slack token": re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,255}|\bhooks\.slack\.com/services/[\w/]{20,100}"),
    "Google API key": re.compile(r"\bAIza[\w-]{35}(?![\w-])|\bya29\.[\w-]{20,400}"),
    "model API key": re.compile(r"\bsk-(?:(?:ant|proj|svcacct|admin|or)-[\w-]{20,255}|[A-Za-z0-9]{32,255})(?![\w-])"),
    "Stripe key": re.compile(r"\b[rs]k_live_[A-Za-z0-9]{16,255}\b"),
    "JSON web token": re.compile(r"\beyJ[\w-]{10,2000}\.eyJ[\w-]{10,8000}\.[\w-]{10,2000}"),
}
"""Tokens that their first letters tell."""
_IN_ADDRESS = re.compile(r"://[^\s:/@\"'<>]{1,64}:(?P<value>[^\s:/@\"'<>]{3,100})@")
_ASSIGNED = re.compile(
    r"(?P<name>passw(?:or)?d|pwd|secret|api[_-]?key|token|access[_-]?key|secret[_-]?key|private[_-]?key|credentials?)"
    r"[\"'\]]{0,2}[ \t]{0,8}(?::=|=>|[:=])[ \t]{0,8}"
    r"(?:(?P<quote>[\"'])(?P<quoted>[^\"'\s]{8,200})(?P=quote)|(?P<bare>[\w+/=.~!@#%^&*-]{8,200})[ \t]*$)",
    re.IGNORECASE | re.MULTILINE,
)
_PLACEHOLDER = re.compile(
    r"example|change.?me|placeholder|dummy|redacted|your|insert|replace|sample|fake|test|xxx|\*\*\*|\.\.\.|[<>{}$()\[\]]|%\w",
    re.IGNORECASE,
)
_WORDS = re.compile(r"[A-Za-z]+(?:[_.:/-][A-Za-z0-9]+)*")
_SHORTEST_TOKEN = 16
_LEAST_ENTROPY_BITS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Redacted:
    """A text without its secrets, with as many lines as before; `found` counts them by kind."""

    text: str
    found: Mapping[str, int] = field(default_factory=dict[str, int])

    def in_words(self) -> str:
        """`2 secrets (GitHub token, password) were replaced`; empty when there was none."""
        count = sum(self.found.values())
        kinds = ", ".join(self.found)
        if count > 1:
            return f"{count} secrets ({kinds}) were replaced"
        return f"1 secret ({kinds}) was replaced" if count else ""


def is_secret(path: PurePath) -> bool:
    """Whether a file's name or folder says that it holds secrets."""
    name = path.name.lower()
    if any(fnmatch.fnmatch(name, pattern) for pattern in _HARMLESS_NAMES):
        return False
    is_source = name.endswith(_SOURCE_SUFFIXES)
    if any(folder in SECRET_FOLDERS for folder in path.parts[:-1]):
        return True
    return not is_source and any(fnmatch.fnmatch(name, pattern) for pattern in SECRET_NAMES)


def redact(text: str) -> Redacted:
    """Replace what looks like a secret by `[redacted: …]`; lines keep their numbers. Long texts: in a thread."""
    found: Counter[str] = Counter()

    def counted(kind: str, replace: Callable[[re.Match[str]], str]) -> Callable[[re.Match[str]], str]:
        def once(match: re.Match[str]) -> str:
            new = replace(match)
            found[kind] += new != match[0]
            return new

        return once

    if "PRIVATE KEY" in text:
        text = _PRIVATE_KEY.sub(counted("private key", _without_key), text)
    for kind, pattern in _TOKENS.items():
        mark = f"[redacted: {kind}]"
        text = pattern.sub(counted(kind, lambda _, mark=mark: mark), text)
    text = _IN_ADDRESS.sub(counted("password in an address", _without_password), text)
    text = _ASSIGNED.sub(counted("password or token", _without_value), text)
    return Redacted(text=text, found={kind: count for kind, count in found.items() if count})


def _without_key(match: re.Match[str]) -> str:
    begin, *rest = match[0].split("\n")
    begin = begin[: begin.index("-----", len("-----BEGIN ")) + len("-----")]
    # In a diff every line keeps its mark.
    lines = [f"{line[:1] if re.match('[+ -](?!-)', line) else ''}[redacted]" for line in rest]
    return "\n".join([f"{begin}[redacted: private key]", *lines])


def _without_password(match: re.Match[str]) -> str:
    if _PLACEHOLDER.search(match["value"]) or match["value"].lower() in {"password", "pass", "secret"}:
        return match[0]
    return match[0].replace(f":{match['value']}@", ":[redacted]@")


def _without_value(match: re.Match[str]) -> str:
    value = match["quoted"] or match["bare"]
    named_password = match["name"].lower().startswith(("passw", "pwd"))
    return match[0].replace(value, "[redacted]") if _looks_secret(value, short=named_password) else match[0]


def _looks_secret(value: str, *, short: bool) -> bool:
    """Whether a value that a telling name is given is more than a word, a path or a placeholder."""
    if _PLACEHOLDER.search(value) or _WORDS.fullmatch(value) or (len(value) < _SHORTEST_TOKEN and not short):
        return False
    has_both = any(letter.isdigit() for letter in value) and any(letter.isalpha() for letter in value)
    return has_both and _entropy_bits(value) >= (_LEAST_ENTROPY_BITS if len(value) >= _SHORTEST_TOKEN else 2.5)


def _entropy_bits(value: str) -> float:
    """Shannon's entropy per character."""
    return -sum(count / len(value) * math.log2(count / len(value)) for count in Counter(value).values())
