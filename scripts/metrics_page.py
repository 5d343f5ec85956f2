"""Write the table of docs/metrics.md anew from the list of metrics."""

from __future__ import annotations

from pathlib import Path

from zen_mcp.observability.metrics import metrics_table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"
BEGIN, END = "observability/metrics.py. -->\n", "<!-- /table -->"


def main() -> None:
    """Replace what stands between the two marks."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{metrics_table()}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
