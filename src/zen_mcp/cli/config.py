"""`zen config`: make, check and describe the settings."""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
from pathlib import Path

from zen_mcp.app import build
from zen_mcp.catalog import Catalog
from zen_mcp.config.advice import missing_state_key
from zen_mcp.config.folders import DOTENV_NAME, FILE_NAMES, config_files, config_folders, user_config_path
from zen_mcp.config.load import load_config
from zen_mcp.config.schema import FILES, Config
from zen_mcp.config.starter import write_starters
from zen_mcp.errors import ConfigError, did_you_mean
from zen_mcp.ground import load_tuned
from zen_mcp.types import JSONObject


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen config` takes."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    init = actions.add_parser("init", help="write commented starter files")
    where = init.add_mutually_exclusive_group()
    where.add_argument("--user", action="store_true", help="into your own settings folder instead of ./.zen")
    where.add_argument("--dir", metavar="DIR", help="into this folder")
    check = actions.add_parser("check", help="read all settings and say what is wrong")
    check.add_argument("--config", metavar="DIR", help="a settings folder above all others")
    schema = actions.add_parser("schema", help="print the JSON Schema of a settings file, for editors")
    schema.add_argument("file", nargs="?", choices=sorted(FILES), help="one file; without it, all of them")
    for action in (init, check, schema):
        action.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do one of the three."""
    return {"init": _init, "check": _check, "schema": _schema}[arguments.action](arguments)


def _init(arguments: argparse.Namespace) -> int:
    user = Path(user_config_path(os.environ))
    folder = Path(arguments.dir).expanduser() if arguments.dir else user if arguments.user else Path(".zen")
    started = write_starters(folder.absolute())
    if arguments.json:
        _print_json(
            {
                "written": [str(path) for path in started.written],
                "left_alone": [str(path) for path in started.left_alone],
            }
        )
        return 0
    lines = [f"wrote {path}" for path in started.written]
    lines += [f"left alone, it was there: {path}" for path in started.left_alone]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _schema(arguments: argparse.Namespace) -> int:
    wanted = [arguments.file] if arguments.file else list(FILES)
    schemas: JSONObject = {
        name: {"$schema": "https://json-schema.org/draft/2020-12/schema", **FILES[name].model_json_schema()}
        for name in wanted
    }
    _print_json(schemas[arguments.file] if arguments.file else schemas)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    directory = Path(arguments.config) if arguments.config else None
    found = [path for path in config_files(directory, environ=os.environ) if path.is_file()]
    report: JSONObject = {"files": [str(path) for path in found], "warnings": [], "errors": []}
    warnings = [warning for _, folder in config_folders(directory, environ=os.environ) for warning in _strays(folder)]
    try:
        config = load_config(directory, environ=os.environ)
        catalog = _catalog(config)
        report["models"] = len(catalog.models)
        report["available"] = len(catalog.available())
        warnings += _readable_keys(config)
        warnings += [said] if (said := missing_state_key(config)) else []
    except ConfigError as exc:
        report["errors"] = list[object](str(exc).splitlines())  # pyright: ignore[reportArgumentType] - strings are JSON
    report["warnings"] = list(warnings)
    if arguments.json:
        _print_json(report)
    else:
        sys.stdout.write(_report_text(report) + "\n")
    return 1 if report["errors"] else 0


def _catalog(config: Config) -> Catalog:
    """The models. Those that were fine-tuned are in the database, which is asked only where some are missing.

    Raises:
        ConfigError: it contradicts itself.
    """
    try:
        return build(config, environ=os.environ).catalog
    except ConfigError:
        return build(load_tuned(config, environ=os.environ), environ=os.environ).catalog


def _report_text(report: JSONObject) -> str:
    lines: list[str] = []
    for name, label in (("files", "read"), ("warnings", "warning:"), ("errors", "error:")):
        values = report[name]
        lines += [f"{label} {value}" for value in values] if isinstance(values, list) else []
    if "models" in report:
        lines.append(f"{report['models']} models, {report['available']} of them available")
    return "\n".join(lines)


def _strays(folder: str) -> list[str]:
    """Files beside the settings that look like settings and are not read."""
    try:
        names = sorted(entry.name for entry in Path(folder).iterdir())
    except OSError:
        return []
    return [
        f"{Path(folder, name)} is not read. {did_you_mean(name, FILE_NAMES)}".rstrip()
        for name in names
        if name.endswith((".yaml", ".yml")) and name not in FILE_NAMES
    ]


def _readable_keys(config: Config) -> list[str]:
    """Files with keys or passwords in them that other users of this machine can read."""
    dotenvs = {folder / DOTENV_NAME for _, folder in config.folders}
    return [
        f"{file} holds keys or passwords and others can read it. chmod 600 '{file}' mends it."
        for file in sorted({*config.files_with_secrets, *dotenvs})
        if _others_can_read(file)
    ]


def _others_can_read(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return os.name == "posix" and bool(mode & (stat.S_IRGRP | stat.S_IROTH))


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")
