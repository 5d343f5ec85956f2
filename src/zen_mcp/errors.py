"""Every error raised on purpose. Anything else that flies is a bug and reaches the caller only as an id.

ZenError                        what is wrong, what to do
├── CallerError                 the caller can fix it
│   ├── InvalidArguments        a missing, extra or wrong argument of a tool
│   ├── UnknownTool
│   ├── UnknownModel            no such name or alias; names the nearest
│   ├── ModelUnavailable        known, but its key is not set or its runtime is missing
│   ├── UnknownThread           no such continuation_id, or expired
│   ├── UnknownResource         no such zen:// address
│   ├── UnknownJob              no such job, or another's
│   ├── FileRefused             missing, outside, binary, secret, too big
│   ├── NoChanges               no git, no repository, an unknown commit, or nothing changed
│   ├── ClientCannotAnswer      a tool has to ask the client something that it does not offer
│   └── PromptTooLong           more than the model's context window
├── ConfigError                 a settings file is wrong: file, line, key
├── Refused                     we said no
│   ├── Unauthenticated         nobody we know: no token, a wrong, expired or foreign one
│   ├── NotAllowed              this caller may not use the tool, the model or the thread
│   ├── RateLimitExceeded       over a limit: which, how much of it is used, when to try again
│   └── BudgetExceeded          over a budget of dollars: which, how much of it is spent
├── VendorError                 a vendor failed (retryable or not)
│   ├── VendorAuthFailed        401, 403: the key
│   ├── VendorRejected          400, 422: the request
│   ├── VendorNotFound          404: the model or the address
│   ├── VendorRateLimited       429 (retryable, retry_after_seconds)
│   ├── VendorUnavailable       5xx (retryable)
│   │   └── VendorLoading       it is still loading the model (retryable)
│   ├── VendorUnreachable       no connection, or cut (retryable)
│   ├── VendorTimeout           its deadline passed
│   ├── VendorBadAnswer         HTML, empty, not what the API promises (retryable)
│   ├── ContextWindowExceeded   the vendor found the prompt too long
│   └── ContentRefused          the vendor's content policy
├── ToolTimeout             a tool did not end within its timeout_seconds
├── LocalModelError             the local panel: runtime or weights missing, a child that does not start
├── StorageError                the database cannot be opened or written
├── AlertNotSent                a channel did not take an alert (retryable or not)
├── AgentFailed                 another agent's program is missing, fails, hangs or says nothing
└── PanelFailed                 no member of a panel answered
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ZenError(Exception):
    """A foreseen failure.

    Args:
        problem: what is wrong, the offending value in quotes; one sentence.
        fix: what to do about it; one sentence.
        retry_after_seconds: when trying again may help; None when it is not known or useless.
    """

    retryable: bool = False

    def __init__(self, problem: str, fix: str = "", *, retry_after_seconds: float | None = None) -> None:
        super().__init__(problem, fix)
        self.problem = problem
        self.fix = fix
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return f"{self.problem} {self.fix}".strip()

    @property
    def kind(self) -> str:
        """The error's name on the wire and in metrics: the class name."""
        return type(self).__name__


class CallerError(ZenError):
    """The caller can fix it."""


class InvalidArguments(CallerError):
    """A tool's arguments are missing, unknown or of the wrong type."""


class UnknownTool(CallerError):
    """No tool has this name."""


class UnknownModel(CallerError):
    """No model has this name or alias."""


class ModelUnavailable(CallerError):
    """The model is known, but its key, address or runtime is missing."""


class UnknownThread(CallerError):
    """No thread has this continuation_id, or it has expired."""


class UnknownResource(CallerError):
    """No resource has this address."""


class UnknownJob(CallerError):
    """No job has this id, or it is another user's."""


class FileRefused(CallerError):
    """A named file or image cannot be read, or may not be."""


class NoChanges(CallerError):
    """There is no git, no repository or no such commit, or nothing changed."""


class ClientCannotAnswer(CallerError):
    """A tool has to ask the client something that it does not offer, or cannot be reached for."""


class PromptTooLong(CallerError):
    """The prompt does not fit the model's context window."""


class ConfigError(ZenError):
    """A settings file is wrong; the problem names file, line and key."""


class Refused(ZenError):
    """We said no: not allowed, or over a limit."""


class Unauthenticated(Refused):
    """The caller did not say who he is, or not so that it can be believed."""


class NotAllowed(Refused):
    """This caller may not use the tool, the model or the thread."""


class RateLimitExceeded(Refused):
    """Over a limit; the problem names it, how much of it is used, and when to try again."""


class BudgetExceeded(Refused):
    """Over a budget of dollars; the problem names it and how much of it is spent."""


class VendorError(ZenError):
    """A vendor failed."""


class VendorAuthFailed(VendorError):
    """The vendor does not accept the key (401, 403)."""


class VendorRejected(VendorError):
    """The vendor does not accept the request (400, 422)."""


class VendorNotFound(VendorError):
    """The vendor does not know the model or the address (404)."""


class VendorRateLimited(VendorError):
    """Too many requests for the vendor (429)."""

    retryable = True


class VendorUnavailable(VendorError):
    """The vendor failed inside (5xx)."""

    retryable = True


class VendorLoading(VendorUnavailable):
    """The vendor's server is still loading the model."""


class VendorUnreachable(VendorError):
    """No connection to the vendor, or it was cut."""

    retryable = True


class VendorTimeout(VendorError):
    """No complete answer within the deadline."""


class VendorBadAnswer(VendorError):
    """The answer is not what the API promises: HTML, empty, cut."""

    retryable = True


class ContextWindowExceeded(VendorError):
    """The vendor found the prompt longer than the model's context window."""


class ContentRefused(VendorError):
    """The vendor's content policy refused the prompt or the answer."""


class LocalModelError(ZenError):
    """The local panel cannot serve: runtime or weights missing, or a child that does not start."""


class ToolTimeout(ZenError):
    """A tool did not end within the time that its settings give it."""


class StorageError(ZenError):
    """The database cannot be opened, read or written."""


class AlertNotSent(ZenError):
    """A channel did not take an alert."""

    def __init__(self, problem: str, fix: str = "", *, retryable: bool = False) -> None:
        super().__init__(problem, fix)
        self.retryable = retryable


class AgentFailed(ZenError):
    """Another agent's program is missing, fails, hangs or gives no answer."""


class PanelFailed(ZenError):
    """No member of a panel answered, or fewer than the quorum."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence naming the nearest known name, or an empty string when none is near."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    near = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return f"Did you mean '{by_lower[near[0]]}'?" if near else ""
