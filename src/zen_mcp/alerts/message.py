"""What is sent of an alert: one text for people, one object for programs."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import UTC, datetime

from zen_mcp.alerts.readings import Reading
from zen_mcp.alerts.rules import Rule
from zen_mcp.alerts.standing import News
from zen_mcp.types import JSONObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One piece of news of one alert; `at` in seconds since 1970."""

    rule: Rule
    reading: Reading
    news: News
    at: float
    trial: bool = False

    @property
    def headline(self) -> str:
        """One line."""
        name = f"{self.rule.name} ({self.reading.subject})" if self.reading.subject else self.rule.name
        trial = "test: " if self.trial else ""
        return f"[zen] {trial}{self.news}: {name}"

    @property
    def text(self) -> str:
        """A sentence or two."""
        rule, reading = self.rule, self.reading
        value = "no value" if reading.value is None else rule.amount(reading.value)
        basis = f" ({reading.basis})" if reading.basis else ""
        title = f"{rule.measure.title}: {value}{basis}"
        if self.news == "resolved":
            return f"{title}. The threshold is {rule.amount(rule.threshold)}."
        return f"{title}; above {rule.amount(rule.threshold)}. It ends at {rule.amount(rule.clear)}."

    def as_object(self) -> JSONObject:
        """What a webhook is sent."""
        rule = self.rule
        return {
            "version": "1",
            "alert": rule.name,
            "subject": self.reading.subject,
            "state": "resolved" if self.news == "resolved" else "firing",
            "news": self.news,
            "severity": rule.severity,
            "value": self.reading.value,
            "unit": rule.measure.unit,
            "threshold": rule.threshold,
            "clear": rule.clear,
            "text": f"{self.headline}\n{self.text}",
            "at": datetime.fromtimestamp(self.at, tz=UTC).isoformat(timespec="seconds"),
            "server": socket.gethostname(),
            "test": self.trial,
        }
