"""Running the code of somebody else's plugin: in a thread with a limit, its prints and exits kept from us."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import itertools
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

Made = TypeVar("Made")

_generations = itertools.count(1)


class Loading(Generic[Made]):
    """Something that a thread makes. It may take for ever, so nobody has to wait for it.

    Args:
        make: what runs in the thread; whatever it raises, SystemExit included, becomes `fault`.
        name: the thread's name.
    """

    def __init__(self, make: Callable[[], Made], *, name: str) -> None:
        self._make = make
        self._done = threading.Event()
        self.result: Made | None = None
        self.fault: BaseException | None = None
        threading.Thread(target=self._run, name=f"zen-plugin-{name}", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Whether it is done, after this many seconds at most."""
        return self._done.wait(max(seconds, 0.0))

    @property
    def is_done(self) -> bool:
        """Whether it has come to its end, good or bad."""
        return self._done.is_set()

    def _run(self) -> None:
        try:
            self.result = self._make()
        except BaseException as exc:  # noqa: BLE001 - foreign code: sys.exit must not end a thread in silence
            self.fault = exc
        finally:
            self._done.set()


class _FreshLoader(importlib.machinery.SourceFileLoader):
    """Compiles from the source each time: stored bytecode knows a file's age by the second only."""

    def get_code(self, fullname: str) -> types.CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def load_folder(folder: Path) -> types.ModuleType:
    """Import `tool.py` of a plugin's folder as a module of a package of its own, so that `from .x import y` works.

    Each call makes new modules: objects of an earlier one go on as they were.

    Raises:
        Exception: whatever the plugin's code raises.
    """
    package_name = f"zen_mcp_plugin_{_identifier(folder.name)}_{next(_generations)}"
    importlib.invalidate_caches()
    package = types.ModuleType(package_name, f"The plugin in {folder}.")
    package.__path__ = [str(folder)]
    sys.modules[package_name] = package
    file = str(folder / "tool.py")
    name = f"{package_name}.tool"
    spec = importlib.util.spec_from_file_location(name, file, loader=_FreshLoader(name, file))
    if spec is None or spec.loader is None:
        raise ImportError(file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _identifier(name: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in name)
