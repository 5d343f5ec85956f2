"""Sending alerts: a webhook, Slack, a command, the log. Each try is bounded; a channel that fails is told once."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import anyio
from anyio.abc import Process

from zen_mcp.alerts.message import Message
from zen_mcp.config.alert_schema import LOG, ChannelSettings
from zen_mcp.errors import AlertNotSent
from zen_mcp.observability.logs import EventLog
from zen_mcp.types import JSONObject

PAUSES = (1.0, 2.0, 4.0)
"""Seconds between the tries, of which there is one more."""
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "USER", "LOGNAME", "TZ", "SYSTEMROOT", "USERPROFILE", "TEMP", "TMP")
"""What a command sees of the environment, which holds keys."""
_LATER = {408, 425, 429}

_log = EventLog()


class Channels:
    """Who is told of alerts.

    Args:
        settings: by name, as in alerts.yaml.
        tell: takes a sentence for the operator, once when a channel fails and once when it works again.
        pauses: seconds between the tries.
    """

    def __init__(
        self,
        settings: Mapping[str, ChannelSettings],
        *,
        tell: Callable[[str], None],
        pauses: Sequence[float] = PAUSES,
        failing: set[str] | None = None,
    ) -> None:
        self._settings = {LOG: ChannelSettings(kind="log"), **settings}
        self._tell = tell
        self._pauses = pauses
        self.failing: set[str] = set() if failing is None else failing
        """The names of those that failed last."""

    async def send_all(self, messages: Sequence[Message]) -> None:
        """Send each message to its channels, all channels side by side; never raises, and ends in half a minute."""
        async with anyio.create_task_group() as group:
            for name in dict.fromkeys(name for message in messages for name in message.rule.channels):
                group.start_soon(self._send_in_turn, name, [one for one in messages if name in one.rule.channels])

    async def try_once(self, name: str, message: Message) -> None:
        """Send one message, without a second try.

        Raises:
            AlertNotSent: it did not arrive.
        """
        settings = self._settings[name]
        try:
            with anyio.fail_after(settings.timeout_seconds):
                await _SENDERS[settings.kind](name, settings, message)
        except TimeoutError:
            text = f"The channel '{name}' did not take the alert within {settings.timeout_seconds:g} s."
            raise AlertNotSent(text, "See what it waits for, or raise its timeout_seconds.", retryable=True) from None

    async def _send_in_turn(self, name: str, messages: Sequence[Message]) -> None:
        for message in messages:
            fault = await self._send(name, message)
            if fault is not None:
                lost = len(messages) - messages.index(message)
                if name not in self.failing:
                    self._tell(f"{fault} {lost} messages to '{name}' are lost; zen alerts shows how the alerts stand.")
                self.failing.add(name)
                return
        if name in self.failing:
            self._tell(f"The channel '{name}' takes alerts again.")
        self.failing.discard(name)

    async def _send(self, name: str, message: Message) -> AlertNotSent | None:
        fault: AlertNotSent | None = None
        for pause in (0.0, *self._pauses):
            await anyio.sleep(pause)
            try:
                await self.try_once(name, message)
            except AlertNotSent as exc:
                fault = exc
                if not exc.retryable:
                    return exc
            else:
                return None
        return fault


async def _post(name: str, settings: ChannelSettings, body: JSONObject) -> None:
    # httpx2 takes 60 ms to import: with the first alert, not with the server.
    http: Any = import_module("httpx2")
    try:
        async with (
            http.AsyncClient(timeout=settings.timeout_seconds, follow_redirects=False) as client,
            client.stream("POST", settings.url, json=body, headers=dict(settings.headers)) as answer,
        ):
            status: int = answer.status_code
    except (http.HTTPError, http.InvalidURL, ValueError, OSError) as exc:
        # The exception may name the address, which is a secret.
        text = f"The channel '{name}' cannot be reached ({type(exc).__name__})."
        raise AlertNotSent(text, "Check its url, and whether this machine may reach it.", retryable=True) from None
    if not 200 <= status < 300:
        text = f"The channel '{name}' answers with status {status}."
        later = status >= 500 or status in _LATER
        raise AlertNotSent(text, "Check its url and headers, and what it says in its log.", retryable=later)


async def _webhook(name: str, settings: ChannelSettings, message: Message) -> None:
    await _post(name, settings, message.as_object())


async def _slack(name: str, settings: ChannelSettings, message: Message) -> None:
    plain = f"{message.headline}\n{message.text}"
    # Slack reads these three as marks of its own.
    await _post(name, settings, {"text": plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")})


async def _command(name: str, settings: ChannelSettings, message: Message) -> None:
    environment = {variable: os.environ[variable] for variable in _KEPT_VARIABLES if variable in os.environ}
    try:
        process = await anyio.open_process(
            list(settings.command),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    except (OSError, ValueError) as exc:
        text = f"The program '{settings.command[0]}' of the channel '{name}' cannot be started ({type(exc).__name__})."
        raise AlertNotSent(text, "Install it, or correct 'command' in alerts.yaml.") from None
    try:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            if process.stdin is not None:
                await process.stdin.send(f"Subject: {message.headline}\n\n{message.text}\n".encode())
                await process.stdin.aclose()
        code = await process.wait()
    finally:
        _end(process)
        with anyio.CancelScope(shield=True), anyio.move_on_after(1):
            await process.aclose()
    if code:
        text = f"The program '{settings.command[0]}' of the channel '{name}' ended with {code}."
        raise AlertNotSent(text, "Run it by hand to see why.", retryable=True)


def _end(process: Process) -> None:
    """Kill it with all that it has started."""
    if process.returncode is None:
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()


async def _to_log(name: str, settings: ChannelSettings, message: Message) -> None:
    is_bad = message.trial or (message.news != "resolved" and message.rule.severity == "critical")
    write = _log.error if is_bad else _log.warning
    fields = {"alert": message.rule.name, "news": message.news, "text": message.text}
    write("alert", **fields, **({"subject": message.reading.subject} if message.reading.subject else {}))


_SENDERS = {"webhook": _webhook, "slack": _slack, "command": _command, "log": _to_log}
