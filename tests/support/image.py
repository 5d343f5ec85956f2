"""The image of a Dockerfile without an engine: its steps, run in a mount namespace over folders of our own.

The base image is this machine: its programs, and this Python at `/usr/local`. Nothing outside of the folders changes.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_STEP_SECONDS = 600
_PIP = re.compile(r"(/opt/\w+)/bin/pip install --require-hashes")
_UV = Path(sys.executable).with_name("uv")
_OWN = {"/opt": "opt", "/etc": "etc", "/var/lib": "lib"}
"""The folders of the image that its steps write to."""
_MOUNT = """
set -e
mount --make-rprivate /
for pair in "$@"; do
    shift
    [ "$pair" = -- ] && break
    mount --bind "${pair%%:*}" "${pair#*:}"
done
"""
_READ_ONLY = """
mount --bind / /
mount -o remount,ro,bind /
mount -o remount,ro,bind /opt
mount -o remount,ro,bind /etc
mount -t tmpfs tmpfs /tmp
mount -t tmpfs -o mode=700,uid=$ZEN_UID,gid=$ZEN_UID tmpfs /var/lib/zen
cd "$WORK"
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: its name in capitals, and the rest of its lines."""

    name: str
    text: str


@dataclass(slots=True, kw_only=True)
class Image:
    """What the steps have made so far.

    Attributes:
        folder: where the image's own folders lie.
        context: the checkout, of which COPY takes.
        work: the working folder of the steps, on this machine.
        environment: of ENV.
        settings: what the image says of how it is run (USER, HEALTHCHECK, ENTRYPOINT, CMD …).
    """

    folder: Path
    context: Path
    work: Path
    environment: dict[str, str] = field(default_factory=dict[str, str])
    settings: dict[str, str] = field(default_factory=dict[str, str])

    def words(self, name: str) -> list[str]:
        """A setting that is a JSON list."""
        text = self.settings[name]
        return json.loads(text[text.index("[") :])

    def command(self, *words: str, read_only: bool = False, more: Sequence[str] = ()) -> list[str]:
        """A command in the image: as root while it is made, as its user on a read-only root when it runs.

        Args:
            words: the command.
            read_only: as it runs.
            more: further mounts, `FROM:TO`.
        """
        root = os.geteuid() == 0
        base = [f"{sys.base_prefix}:/usr/local"] if Path(sys.base_prefix) != Path("/usr") else []
        mounts = [*base, *(f"{self.folder / name}:{path}" for path, name in _OWN.items()), *more]
        user = self.settings.get("USER", "0").partition(":")[0]
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--bounding-set=-all"]
        become = [*become, "--no-new-privs"] if read_only and root else []
        script = _MOUNT + (_READ_ONLY.replace("$ZEN_UID", user if root else "0") if read_only else "") + 'exec "$@"'
        unshare = ["unshare", "--mount", *([] if root else ["--map-root-user"])]
        return [*unshare, "sh", "-c", script, "sh", *mounts, "--", *become, *words]

    def environ(self) -> dict[str, str]:
        """The environment in the image: nothing of this machine's but the library of its Python."""
        path = self.environment.get("PATH", "$PATH").replace("$PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        return {
            **self.environment,
            "WORK": self.settings.get("WORKDIR", "/"),
            "PATH": path,
            "HOME": "/tmp",
            "LANG": "C.UTF-8",
            "LD_LIBRARY_PATH": "/usr/local/lib",
        }

    @property
    def _cache(self) -> Mapping[str, str]:
        done = subprocess.run([str(_UV), "cache", "dir"], capture_output=True, text=True, check=True, timeout=30)
        return {"UV_CACHE_DIR": done.stdout.strip(), "UV_PYTHON_DOWNLOADS": "never"}

    def run(self, step: Step) -> None:
        """Make one step."""
        if step.name == "RUN":
            # Long lists with uv, which has them in its cache: pip needs two minutes for them.
            text = _PIP.sub(rf"{_UV} pip install --python \1/bin/python --require-hashes", step.text)
            command = self.command("sh", "-c", f"cd {shlex.quote(str(self.work))} && {text}")
            done = subprocess.run(
                command,
                env={**os.environ, **self.environ(), **self._cache},
                capture_output=True,
                text=True,
                timeout=_STEP_SECONDS,
                check=False,
            )
            assert done.returncode == 0, f"{step.text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        elif step.name == "COPY" and not step.text.startswith("--from"):
            *sources, target = step.text.split()
            for source in sources:
                self._copy(source, target)
        elif step.name == "ENV":
            self.environment |= dict(re.findall(r"(\w+)=(\S+)", step.text))
        elif step.name not in {"FROM", "LABEL", "COPY"}:
            self.settings[step.name] = step.text

    def _copy(self, source: str, target: str) -> None:
        origin, goal = self.context / source, self.work / target
        if origin.is_dir():
            shutil.copytree(origin, goal, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            goal = goal / origin.name if target.endswith("/") else goal
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(origin, goal)


def steps_of(text: str) -> list[Step]:
    """A Dockerfile's steps in order."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [Step(*line.split(maxsplit=1)) for line in joined.splitlines()]


def begun(folder: Path, context: Path) -> Image:
    """The base image."""
    for name in ("opt", "lib", "src"):
        (folder / name).mkdir(parents=True)
    shutil.copytree("/etc", folder / "etc", symlinks=True, ignore_dangling_symlinks=True)
    folder.chmod(0o755)
    return Image(folder=folder, context=context, work=folder / "src")


def stages(steps: Sequence[Step]) -> Sequence[Sequence[Step]]:
    """The steps of each stage."""
    found: list[list[Step]] = []
    for step in steps:
        if step.name == "FROM":
            found.append([])
        found[-1].append(step)
    return found
