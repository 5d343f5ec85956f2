"""The command line: `zen ask`, `zen consensus`, `zen serve` and the rest, one file per command."""
