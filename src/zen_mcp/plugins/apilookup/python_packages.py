"""Python packages that are installed, read without importing any of them."""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

_ENVIRONMENTS = (".venv", "venv", "env", ".env")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where packages are looked for: `folders` hold them, `title` says which it is."""

    title: str
    folders: tuple[Path, ...]


def find_environment(roots: Sequence[Path]) -> Environment:
    """The virtual environment in a root; without one, the server's own interpreter."""
    for root in roots:
        for name in _ENVIRONMENTS:
            folders = [*(root / name).glob("lib/python3*/site-packages"), *(root / name).glob("Lib/site-packages")]
            if folders:
                return Environment(title=f"{root.name}/{name}", folders=tuple(_with_editable(folders)))
    own = {Path(path) for name in ("purelib", "platlib") if (path := sysconfig.get_path(name))}
    title = f"the server's own Python {sys.version_info.major}.{sys.version_info.minor} (no .venv in the workspace)"
    return Environment(title=title, folders=tuple(_with_editable(sorted(own))))


def _with_editable(folders: Sequence[Path]) -> Iterator[Path]:
    """The folders, and those that their `.pth` files name for packages under development; no line of them is run."""
    for folder in folders:
        yield folder
        for file in sorted(folder.glob("*.pth")):
            try:
                lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            except OSError:
                continue
            for line in lines:
                path = Path(folder, line.strip())
                if line.strip() and not line.startswith(("#", "import ", "import\t")) and path.is_dir():
                    yield path


def find_distribution(environment: Environment, name: str) -> Distribution | None:
    """The distribution of that name, or the one that brings a module of that name."""
    wanted = _normal(name)
    by_module: Distribution | None = None
    for found in distributions(path=[str(folder) for folder in environment.folders]):
        title = found.metadata["Name"] or ""
        if _normal(title) == wanted:
            return found
        if by_module is None and name in _modules(found):
            by_module = found
    return by_module


def names_of(environment: Environment) -> set[str]:
    """Every installed distribution's name."""
    found = distributions(path=[str(folder) for folder in environment.folders])
    return {title for one in found if (title := one.metadata["Name"])}


def modules_of(found: Distribution) -> list[str]:
    """The top modules that a distribution brings, the likeliest first."""
    title = _normal(found.metadata["Name"] or "").replace("-", "_")
    modules = _modules(found)
    return sorted(modules, key=lambda name: (name != title, name.startswith("_"), name)) or [title]


def home_of(found: Distribution) -> str:
    """The documentation's address, or the home page's."""
    urls: dict[str, str] = {}
    for line in found.metadata.get_all("Project-URL") or []:
        label, _, url = str(line).partition(",")
        urls[label.strip().lower()] = url.strip()
    for word in ("documentation", "docs", "homepage", "home", "repository", "source", "source code"):
        if word in urls:
            return urls[word]
    return text_of(found, "Home-page") or next(iter(urls.values()), "")


def text_of(found: Distribution, field: str) -> str:
    """A field of a distribution's data; empty for none."""
    return str((found.metadata.get_all(field) or [""])[0])


def _modules(found: Distribution) -> set[str]:
    listed = found.read_text("top_level.txt")
    if listed and listed.strip():
        return set(listed.split())
    names = {
        file.parts[0] for file in found.files or () if file.parts and file.suffix in {".py", ".pyi", ".so", ".pyd"}
    }
    return {name.partition(".")[0] for name in names if not name.endswith((".dist-info", ".data")) and name != ".."}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
