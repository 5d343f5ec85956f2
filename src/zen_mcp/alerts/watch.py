"""Watches for alerts beside the calls: looks at the ledger and the limits, keeps how each stands, tells of changes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import anyio

from zen_mcp.alerts import standing as stored
from zen_mcp.alerts.channels import Channels
from zen_mcp.alerts.message import Message
from zen_mcp.alerts.readings import Reading, read
from zen_mcp.alerts.rules import Rule, rules_of
from zen_mcp.alerts.standing import Standing, State, step
from zen_mcp.config.alert_schema import AlertsFile
from zen_mcp.errors import StorageError
from zen_mcp.storage.base import Database, Transaction

LimitUse = Callable[[], Awaitable[Mapping[str, float]]]
"""How much of each limit is used, from 0 to 1, by the limit's name. Raises StorageError."""
_IDLE_SECONDS = 15.0
_LIMITS_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One value of one alert as it is now. `subject` is empty where an alert has a single value."""

    rule: Rule
    reading: Reading
    state: State
    since: float


class AlertWatch:
    """One per server; of several on the same database, one looks at a time.

    Args:
        database: of the ledger; how alerts stand is kept there too, so that it outlives a restart.
        tell: takes a sentence for the operator.
        clock: seconds since 1970.
    """

    def __init__(
        self, database: Database, *, tell: Callable[[str], None], clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._tell = tell
        self._clock = clock
        self._settings = AlertsFile()
        self._limit_use: LimitUse = _no_limits
        self._failing_channels: set[str] = set()
        self._fault = ""
        self.channels = Channels({}, tell=tell)

    def use(self, settings: AlertsFile, limit_use: LimitUse) -> None:
        """Take new settings in, from any thread."""
        self.channels = Channels(settings.channels, tell=self._tell, failing=self._failing_channels)
        self._limit_use = limit_use
        self._settings = settings

    async def keep(self) -> None:
        """Look at every interval, until cancelled."""
        while True:
            settings = self._settings
            if settings.enabled:
                await self._watch()
            await anyio.sleep(settings.interval_seconds if settings.enabled else _IDLE_SECONDS)

    async def look(self) -> tuple[Sequence[Look], float | None]:
        """The values as they are now, and when a server looked last (None: never). Changes nothing and tells nobody.

        Raises:
            StorageError: the database or the counters of the limits are away.
        """
        rules, limit_use, now = rules_of(self._settings), await self._limit_use(), self._clock()

        def work(transaction: Transaction) -> tuple[Sequence[Look], float | None]:
            known = stored.standings(transaction)
            return tuple(self._look(transaction, rules, known, limit_use, now)), stored.last_turn(transaction)

        return await self._database.run(work)

    async def evaluate(self) -> Sequence[Message] | None:
        """Look, keep how the alerts stand; what is to be told, or None when it was another server's turn.

        Raises:
            StorageError: the database or the counters of the limits are away.
        """
        settings, now = self._settings, self._clock()
        rules, limit_use = rules_of(settings), await self._limit_use()

        def work(transaction: Transaction) -> Sequence[Message] | None:
            if not stored.take_turn(transaction, now=now, interval_seconds=settings.interval_seconds):
                return None
            return _moved(transaction, rules, limit_use, now=now, repeat_seconds=settings.repeat_seconds)

        return await self._database.run(work)

    async def _watch(self) -> None:
        try:
            if not await self._database.exists():
                return
            with anyio.fail_after(_LIMITS_SECONDS + self._settings.interval_seconds):
                messages = await self.evaluate()
        except (StorageError, TimeoutError) as exc:
            if not self._fault:
                self._fault = str(exc) or "no answer in time"
                self._tell(f"Alerts are not watched for: {self._fault}")
            return
        if self._fault:
            self._fault = ""
            self._tell("Alerts are watched for again.")
        await self.channels.send_all(messages or ())

    def _look(
        self,
        transaction: Transaction,
        rules: Sequence[Rule],
        known: Mapping[stored.Key, Standing],
        limit_use: Mapping[str, float],
        now: float,
    ) -> Sequence[Look]:
        looks: list[Look] = []
        for rule in rules:
            for reading in read(transaction, rule, limit_use, now):
                before = known.get((rule.name, reading.subject))
                after, _ = step(rule, before, reading, now=now, repeat_seconds=self._settings.repeat_seconds)
                looks.append(Look(rule=rule, reading=reading, state=after.state, since=after.since))
        return looks


def _moved(
    transaction: Transaction,
    rules: Sequence[Rule],
    limit_use: Mapping[str, float],
    *,
    now: float,
    repeat_seconds: float,
) -> Sequence[Message]:
    """Take the values in; what is to be told of it. What has no value any more, ends."""
    messages: list[Message] = []
    known = dict(stored.standings(transaction))
    for rule in rules:
        readings = {reading.subject: reading for reading in read(transaction, rule, limit_use, now)}
        for _, subject in [key for key in known if key[0] == rule.name]:
            readings.setdefault(subject, Reading(subject=subject, value=None, basis="not set any more"))
        for subject, reading in readings.items():
            before = known.get((rule.name, subject))
            after, news = step(rule, before, reading, now=now, repeat_seconds=repeat_seconds)
            is_nothing = before is None and after.state == "ok" and bool(subject)
            if after != before and not is_nothing:
                stored.keep(transaction, after)
            if news is not None:
                messages.append(Message(rule=rule, reading=reading, news=news, at=now))
    return messages


async def _no_limits() -> Mapping[str, float]:
    return {}
