"""The command line."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sieveql.engine import Database
from sieveql.errors import QueryError
from sieveql.output import FORMATS


def _load(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    with path.open(encoding="utf-8", newline="") as file:
        return [{k: v or None for k, v in row.items()} for row in csv.DictReader(file)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one query over files; returns the exit status."""
    parser = argparse.ArgumentParser(prog="sieveql", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("query")
    parser.add_argument("--format", choices=sorted(FORMATS), default="table")
    args = parser.parse_args(argv)
    db = Database()
    try:
        for path in args.files:
            db.add(path.stem, _load(path))
        print(FORMATS[args.format](db.query(args.query)))
    except (OSError, QueryError) as error:
        print(f"sieveql: {error}", file=sys.stderr)
        return 1
    return 0
