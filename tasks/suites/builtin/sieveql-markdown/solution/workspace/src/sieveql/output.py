"""Results as text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from sieveql.scope import columns_of

Rows = Sequence[dict[str, Any]]


def as_json(rows: Rows) -> str:
    """A JSON array, one row a line."""
    lines = ",\n ".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return f"[{lines}]"


def as_csv(rows: Rows) -> str:
    """CSV with a header; null is an empty field."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns_of(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().rstrip("\n")


def as_table(rows: Rows) -> str:
    """Aligned columns; numbers to the right."""
    if not rows:
        return "(no rows)"
    names = columns_of(rows)
    cells = [["" if row.get(n) is None else str(row.get(n)) for n in names] for row in rows]
    widths = [max(len(names[i]), *(len(line[i]) for line in cells)) for i in range(len(names))]
    numeric = [all(isinstance(row.get(n), (int, float, type(None))) for row in rows) for n in names]

    def line(parts: list[str]) -> str:
        padded = (
            part.rjust(width) if right else part.ljust(width)
            for part, width, right in zip(parts, widths, numeric, strict=True)
        )
        return "  ".join(padded).rstrip()

    return "\n".join([line(names), line(["-" * width for width in widths]), *map(line, cells)])


def as_markdown(rows: Rows) -> str:
    """A table of GitHub's Markdown; numbers to the right."""
    if not rows:
        return "(no rows)"
    names = columns_of(rows)
    numeric = [all(_is_number_or_null(row.get(n)) for row in rows) for n in names]

    def line(parts: list[str]) -> str:
        return f"| {' | '.join(parts)} |"

    body = [line([_markdown_cell(row.get(n)) for n in names]) for row in rows]
    rule = line(["--:" if right else "---" for right in numeric])
    return "\n".join([line([_markdown_cell(n) for n in names]), rule, *body])


def _is_number_or_null(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _markdown_cell(value: Any) -> str:
    text = "" if value is None else str(value)
    text = text.replace("\\", "\\\\").replace("|", "\\|")
    return text.replace("\r\n", "<br>").replace("\r", "<br>").replace("\n", "<br>")


FORMATS = {"json": as_json, "csv": as_csv, "markdown": as_markdown, "table": as_table}
