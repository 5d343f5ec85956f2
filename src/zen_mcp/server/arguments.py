"""The arguments of `zen serve`, without a command-line library on the start-up path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zen_mcp.errors import InvalidArguments, did_you_mean

_OPTIONS = ("--config", "--http", "--no-prelude", "--stdio")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeArguments:
    """`--config DIR`: a settings folder above all others. `--no-prelude`: start the plain way.

    `--http [HOST:PORT|unix:PATH]`: serve over HTTP; without an address, at the one of server.yaml, which is `""` here.
    """

    config: Path | None = None
    prelude: bool = True
    http: str | None = None

    @classmethod
    def parse(cls, arguments: list[str]) -> ServeArguments:
        """Read the words after `zen serve`.

        Raises:
            InvalidArguments: an unknown option, or one without its value.
        """
        rest = list(arguments)
        config: Path | None = None
        prelude = True
        http: str | None = None
        while rest:
            word = rest.pop(0)
            if word == "--config" and rest:
                config = Path(rest.pop(0))
            elif word == "--config":
                raise InvalidArguments("'--config' needs a folder.", "For example: zen serve --config ./.zen")
            elif word == "--no-prelude":
                prelude = False
            elif word == "--http":
                http = rest.pop(0) if rest and not rest[0].startswith("-") else ""
            elif word.startswith("--http="):
                http = word.removeprefix("--http=")
            elif word != "--stdio":
                raise InvalidArguments(f"Unknown option '{word}'.", did_you_mean(word, _OPTIONS))
        return cls(config=config, prelude=prelude, http=http)
