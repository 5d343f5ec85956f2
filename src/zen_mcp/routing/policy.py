"""What follows from a failure, by its type: one table."""

from __future__ import annotations

from dataclasses import dataclass

from zen_mcp.errors import (
    ContentRefused,
    ContextWindowExceeded,
    LocalModelError,
    Refused,
    VendorAuthFailed,
    VendorBadAnswer,
    VendorLoading,
    VendorNotFound,
    VendorRateLimited,
    VendorRejected,
    VendorTimeout,
    VendorUnavailable,
    VendorUnreachable,
    ZenError,
)

PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0)
"""Before the second, third … request to the same deployment."""
LONGEST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_WITH_OTHERS_SECONDS = 2.0
"""Waiting for longer than a caller would like is worse than telling when to come back, or asking somebody else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What follows from one kind of failure.

    Attributes:
        elsewhere: whether another deployment of the same model may do better.
        strikes: what it counts against the deployment: 0 nothing (the request was at fault), 1 one failure, 2 enough
            to rest at once.
    """

    elsewhere: bool = True
    strikes: int = 1


RULES: dict[type[ZenError], Rule] = {
    VendorRateLimited: Rule(strikes=2),
    VendorAuthFailed: Rule(strikes=2),
    VendorNotFound: Rule(strikes=2),
    VendorUnavailable: Rule(),
    VendorLoading: Rule(strikes=0),
    VendorUnreachable: Rule(),
    VendorTimeout: Rule(),
    VendorBadAnswer: Rule(),
    LocalModelError: Rule(elsewhere=False),
    Refused: Rule(strikes=0),
    VendorRejected: Rule(elsewhere=False, strikes=0),
    ContextWindowExceeded: Rule(elsewhere=False, strikes=0),
    ContentRefused: Rule(elsewhere=False, strikes=0),
}
"""Whether the same deployment is asked again is the error's own `retryable`."""


def rule_for(error: ZenError) -> Rule:
    """The rule of an error's class or of the nearest it derives from."""
    return next((RULES[kind] for kind in type(error).__mro__ if kind in RULES), Rule(elsewhere=False, strikes=0))


def pause_before(request_number: int, error: ZenError | None, *, least: float, longest: float) -> float | None:
    """Seconds to wait before the same deployment is asked for the nth time; None: not to be asked again.

    Args:
        request_number: 2 for the first repetition.
        error: what its last request ended with.
        least: `retry_after_seconds` of providers.yaml.
        longest: what is left of the time, or what a caller would like to wait.
    """
    if error is None or not error.retryable:
        return None
    planned = PAUSES_SECONDS[min(request_number - 2, len(PAUSES_SECONDS) - 1)] if least > 0 else 0.0
    pause = max(planned, least, error.retry_after_seconds or 0.0)
    return pause if pause < longest else None
