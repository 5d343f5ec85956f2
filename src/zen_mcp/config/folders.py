"""Where settings, state and cache lie. Standard library only, and not even pathlib at import.

The start-up path runs this module before the first answer, within some 75 ms; pathlib alone costs 5 to 15 of them.
The folders are the same as those of `platformdirs` for the application name "zen-mcp" without an author.
"""
# ruff: noqa: PTH100, PTH109, PTH111, PTH118, PTH120

from __future__ import annotations

import ntpath
import os
import posixpath
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

APPLICATION = "zen-mcp"
FILE_NAMES = ("models.yaml", "providers.yaml", "limits.yaml", "alerts.yaml", "server.yaml")
DOTENV_NAME = ".env"

PACKAGED, USER, PROJECT, ENVIRONMENT, ARGUMENT = "packaged", "user", "project", "environment", "argument"
"""The layers, lowest first: ours, the user's, `./.zen`, `ZEN_CONFIG_DIR`, `--config`."""


def config_folders(
    directory: Path | str | None = None,
    *,
    environ: Mapping[str, str],
    working_directory: Path | str | None = None,
    user_directory: Path | str | None = None,
) -> tuple[tuple[str, str], ...]:
    """The settings folders as (layer, absolute path), lowest layer first, whether they exist or not.

    A folder that two layers name counts once, for the higher one.
    """
    here = str(working_directory or os.getcwd())
    user = str(user_directory) if user_directory else user_config_path(environ)
    layers = [
        (PACKAGED, os.path.join(os.path.dirname(os.path.abspath(__file__)), "defaults")),
        (USER, _absolute(user, here, environ)),
        (PROJECT, os.path.join(os.path.abspath(here), ".zen")),
    ]
    if environ.get("ZEN_CONFIG_DIR"):
        layers.append((ENVIRONMENT, _absolute(environ["ZEN_CONFIG_DIR"], here, environ)))
    if directory is not None:
        layers.append((ARGUMENT, _absolute(str(directory), here, environ)))
    highest = {os.path.realpath(folder): layer for layer, folder in layers}
    return tuple((layer, folder) for layer, folder in layers if highest[os.path.realpath(folder)] == layer)


def config_files(
    directory: Path | str | None = None,
    *,
    environ: Mapping[str, str],
    working_directory: Path | str | None = None,
    user_directory: Path | str | None = None,
) -> tuple[Path, ...]:
    """Every file that `load_config` reads or would read if it were there, lowest layer first."""
    from pathlib import Path  # noqa: PLC0415 - off the start-up path

    folders = config_folders(
        directory, environ=environ, working_directory=working_directory, user_directory=user_directory
    )
    return tuple(Path(folder, name) for _, folder in folders for name in (*FILE_NAMES, DOTENV_NAME))


def user_config_path(environ: Mapping[str, str], *, platform: str = sys.platform) -> str:
    """The user's settings folder."""
    return _folder(environ, platform, "XDG_CONFIG_HOME", (".config",), ("Library", "Application Support"))


def state_path(environ: Mapping[str, str], *, platform: str = sys.platform) -> str:
    """The folder of the database and what else must survive; `ZEN_STATE_DIR` wins."""
    if environ.get("ZEN_STATE_DIR"):
        return _absolute(environ["ZEN_STATE_DIR"], os.getcwd(), environ)
    return _folder(environ, platform, "XDG_STATE_HOME", (".local", "state"), ("Library", "Application Support"))


def cache_path(environ: Mapping[str, str], *, platform: str = sys.platform) -> str:
    """The folder of what can be made again; `ZEN_CACHE_DIR` wins."""
    if environ.get("ZEN_CACHE_DIR"):
        return _absolute(environ["ZEN_CACHE_DIR"], os.getcwd(), environ)
    folder = _folder(environ, platform, "XDG_CACHE_HOME", (".cache",), ("Library", "Caches"))
    return ntpath.join(folder, "Cache") if platform == "win32" else folder


def state_folder(environ: Mapping[str, str]) -> Path:
    """`state_path` as a path."""
    from pathlib import Path  # noqa: PLC0415 - off the start-up path

    return Path(state_path(environ))


def cache_folder(environ: Mapping[str, str]) -> Path:
    """`cache_path` as a path."""
    from pathlib import Path  # noqa: PLC0415 - off the start-up path

    return Path(cache_path(environ))


def _folder(environ: Mapping[str, str], platform: str, xdg: str, unix: tuple[str, ...], mac: tuple[str, ...]) -> str:
    if platform == "win32":
        local = environ.get("LOCALAPPDATA") or ntpath.join(_home(environ, platform), "AppData", "Local")
        return ntpath.join(local, APPLICATION)
    chosen = environ.get(xdg, "")
    if posixpath.isabs(chosen):
        return posixpath.join(chosen, APPLICATION)
    return posixpath.join(_home(environ, platform), *(mac if platform == "darwin" else unix), APPLICATION)


def _home(environ: Mapping[str, str], platform: str = sys.platform) -> str:
    name = "USERPROFILE" if platform == "win32" else "HOME"
    return environ.get(name) or os.path.expanduser("~")


def _absolute(path: str, here: str, environ: Mapping[str, str]) -> str:
    if path == "~" or path.startswith(("~/", "~\\")):
        path = _home(environ) + path[1:]
    return os.path.abspath(os.path.join(here, path))
