"""The command `zen`. Imports nothing at the top: `zen serve` answers its first request before most imports are done."""


def main() -> int:
    """Run the command line; the exit code."""
    import sys  # noqa: PLC0415 - see the module's docstring

    if sys.argv[1:2] == ["serve"] and not {"-h", "--help"}.intersection(sys.argv):
        if any(word == "--http" or word.startswith("--http=") for word in sys.argv):
            from zen_mcp.server.http import serve as serve_http  # noqa: PLC0415 - there is no prelude over HTTP

            return serve_http(sys.argv[2:])
        from zen_mcp.server.prelude import serve  # noqa: PLC0415 - stdlib only

        return serve(sys.argv[2:])
    from zen_mcp.cli.main import run  # noqa: PLC0415 - every other command may take its time

    return run(sys.argv[1:])


if __name__ == "__main__":
    raise SystemExit(main())
