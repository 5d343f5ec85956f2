"""Count the lines of Python of each tool, and write them into docs/architecture.md."""

from __future__ import annotations

import argparse
import ast
import io
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- tool lines: written by scripts/tool_lines.py -->\n", "<!-- /tool lines -->\n"
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(path: Path) -> int:
    """Lines that hold code: no blank ones, no comments, no docstrings."""
    text = path.read_text(encoding="utf-8")
    held: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            held.update(range(token.start[0], token.end[0] + 1))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            held -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(held)


def table() -> str:
    """One row for each tool: lines of Python without and with docstrings and blank lines, words of its prompts."""
    rows = ["| tool | code | all lines | words of prompt |", "|---|---:|---:|---:|"]
    for folder in sorted(path.parent for path in (ROOT / "src/zen_mcp/plugins").glob("*/tool.py")):
        files = sorted(folder.glob("*.py"))
        code = sum(code_lines(file) for file in files)
        lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)
        prompt = folder / "prompt.md"
        words = len(prompt.read_text(encoding="utf-8").split()) if prompt.exists() else 0
        rows.append(f"| `{folder.name}` | {code} | {lines} | {words or ''} |")
    return "\n".join(rows) + "\n"


def written() -> str:
    """The table that stands in the page."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


def main() -> int:
    """Write the table, or only say whether it is right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where the page is not up to date")
    if parser.parse_args().check:
        return int(written() != table())
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}", encoding="utf-8")
    sys.stdout.write(table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
