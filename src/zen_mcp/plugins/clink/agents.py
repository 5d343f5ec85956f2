"""Which agent is asked, with which role, and what of our environment it gets."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio

from zen_mcp.errors import AgentFailed, InvalidArguments, NotAllowed, did_you_mean
from zen_mcp.tools import ToolContext
from zen_mcp.tools.context import AgentSettings

ROLES = ("default", "planner", "codereviewer")
DEPTH = "ZEN_CLINK_DEPTH"
"""Tells a server that an agent started it, and how many stand above it."""
DEEPEST = 1
LONGEST_ARGUMENT_BYTES = 120_000
"""Linux takes no single argument of 128 KiB or more."""

_ALWAYS = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TERM", "TZ", "TMPDIR", "TEMP", "TMP", "NO_COLOR",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "SYSTEMROOT", "SystemRoot", "COMSPEC", "PATHEXT",
    "USERPROFILE", "APPDATA", "LOCALAPPDATA", "PROGRAMFILES", "PROGRAMDATA",
)  # fmt: skip
_ALWAYS_BEGIN = ("LC_", "XDG_")


def find_agent(name: str, agents: Mapping[str, AgentSettings]) -> tuple[str, AgentSettings]:
    """The agent of that name; without one, the first whose program is installed.

    Raises:
        InvalidArguments: there is no such agent, or none at all.
    """
    known = ", ".join(agents) or "none"
    if not name.strip():
        found = next((item for item in agents.items() if shutil.which(item[1].command)), None)
        if found is None:
            fix = f"Install one of them ({known}), or describe another under agents in server.yaml."
            raise InvalidArguments("No configured agent's program is installed.", fix)
        return found
    word = name.strip().lower()
    match = next((item for item in agents.items() if item[0].lower() == word), None)
    if match is None:
        near = did_you_mean(word, agents)
        raise InvalidArguments(
            f"There is no agent '{name[:80]}'.",
            f"{near} There are: {known}; agents in server.yaml adds others.".strip(),
        )
    return match


def check_depth(environ: Mapping[str, str]) -> int:
    """How many agents stand above this server.

    Raises:
        NotAllowed: as many as there may be.
    """
    value = environ.get(DEPTH, "0")
    depth = int(value) if value.isdigit() else DEEPEST
    if depth >= DEEPEST:
        raise NotAllowed(
            "This server was started by an agent that clink runs, so it starts no further agent.",
            "Do the work yourself, or ask a model with chat.",
        )
    return depth


def program_of(name: str, agent: AgentSettings) -> str:
    """The path of its program.

    Raises:
        AgentFailed: it is not installed; says how that is done.
    """
    program = shutil.which(agent.command)
    if program is None:
        fix = agent.install or "Install it."
        raise AgentFailed(
            f"The program '{agent.command}' of the agent '{name}' is not installed, or not in PATH.",
            f"{fix} Or set agents.{name}.command in server.yaml to its path.",
        )
    return program


def environment_for(agent: AgentSettings, environ: Mapping[str, str], depth: int) -> dict[str, str]:
    """What an agent gets of our environment: what any program needs, and what its settings name. No keys of ours."""
    allowed = {*_ALWAYS, *agent.env}
    given = {name: value for name, value in environ.items() if name in allowed or name.startswith(_ALWAYS_BEGIN)}
    return {**given, DEPTH: str(depth + 1)}


def working_folder(wanted: str | None, roots: Sequence[Path]) -> Path:
    """The folder in which an agent works: a root, or one below.

    Raises:
        InvalidArguments: it does not exist, is outside, or there are no roots at all.
    """
    if not roots:
        raise InvalidArguments("No folder is open here, so no agent can work.", "Set roots in server.yaml.")
    folder = (roots[0] / wanted if wanted else roots[0]).resolve()
    if not folder.is_dir():
        raise InvalidArguments(f"'folder' '{wanted}' does not exist.", f"Give one below '{roots[0]}'.")
    if not any(folder.is_relative_to(root.resolve()) for root in roots):
        allowed = ", ".join(f"'{root}'" for root in roots)
        raise InvalidArguments(f"'folder' '{wanted}' is outside the allowed folders ({allowed}).", "Choose one there.")
    return folder


async def role_text(role: str, agent: AgentSettings, context: ToolContext) -> str:
    """The instruction of a role: the settings', else ours.

    Raises:
        InvalidArguments: no such role.
        AgentFailed: its file cannot be read.
    """
    word = role.strip().lower() or ROLES[0]
    own = next((text for name, text in agent.roles.items() if name.lower() == word), None)
    if own is None:
        if word not in ROLES:
            known = ", ".join(dict.fromkeys([*ROLES, *agent.roles]))
            raise InvalidArguments(f"There is no role '{role[:80]}'.", f"There are: {known}.")
        return context.prompts[word]
    if not own.endswith(".md"):
        return own
    try:
        return await anyio.Path(own).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise AgentFailed(f"The role '{role}' cannot be read from '{own}'.", "Check roles in server.yaml.") from exc


def command_of(program: str, agent: AgentSettings, *, write: bool, prompt: str) -> list[str]:
    """The command line.

    Raises:
        InvalidArguments: the prompt is to be an argument, and too long for one.
    """
    command = [program, *agent.args, *(agent.write_args if write else agent.read_only_args)]
    if agent.prompt_via == "stdin":
        return command
    size = len(prompt.encode("utf-8", "replace"))
    if size > LONGEST_ARGUMENT_BYTES:
        raise InvalidArguments(
            f"The prompt has {size:,} bytes; this agent takes it as an argument, which has at most "
            f"{LONGEST_ARGUMENT_BYTES:,}.",
            "Shorten it, name fewer files, or start a new thread.",
        )
    # A prompt that begins with a dash would be read as an option.
    return [*command, f" {prompt}" if prompt.startswith("-") else prompt]


def our_environment() -> Mapping[str, str]:
    """The environment of this server."""
    return os.environ
