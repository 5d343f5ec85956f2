"""`zen completion`: a script that completes `zen` in a shell."""

from __future__ import annotations

import argparse
import sys

import shtab

from zen_mcp.cli.main import COMMANDS, build_parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen completion` takes."""
    parser.add_argument("shell", choices=["bash", "zsh", "tcsh"], help="put the output where your shell looks for it")


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    parser = build_parser([name for name, _ in COMMANDS])
    sys.stdout.write(shtab.complete(parser, shell=arguments.shell) + "\n")
    return 0
