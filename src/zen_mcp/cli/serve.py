"""`zen serve`: help only; the command itself never comes through here, so that it starts at once."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `zen serve` takes."""
    parser.add_argument("--config", metavar="DIR", help="a settings folder above all others")
    parser.add_argument(
        "--http",
        metavar="HOST:PORT",
        nargs="?",
        help="serve over HTTP, at an address or unix:/path.sock; without one, as server.yaml says",
    )
    parser.add_argument(
        "--no-prelude", action="store_true", help="start the plain way, without answering from the snapshot"
    )


def run(arguments: argparse.Namespace) -> int:
    """Never reached: `zen_mcp.__main__` takes this command itself."""
    raise NotImplementedError
