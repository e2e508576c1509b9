"""The command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pennyledger.errors import LedgerError
from pennyledger.journal import format_journal, parse_day, parse_journal
from pennyledger.model import Transaction, complete
from pennyledger.money import Amount
from pennyledger.reports import Selection, balance_report, monthly_report, register_report
from pennyledger.store import Book
from pennyledger.tags import read_filters

_REPORTS = {"balance": balance_report, "register": register_report, "monthly": monthly_report}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pennyledger", description=__doc__)
    parser.add_argument("--book", type=Path, required=True)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("import").add_argument("file", type=Path)
    add = commands.add_parser("add")
    for name in ("day", "payee", "account", "amount", "other"):
        add.add_argument(name)
    for name in (*_REPORTS, "export"):
        command = commands.add_parser(name)
        command.add_argument("--from", dest="start")
        command.add_argument("--to", dest="end")
        if name == "balance":
            command.add_argument("prefix", nargs="?", default="")
        elif name != "export":
            command.add_argument("prefix")
        if name != "export":
            command.add_argument("--tag", dest="tags", action="append", default=[])
    return parser


def _selection(args: argparse.Namespace) -> Selection:
    return Selection(
        getattr(args, "prefix", ""),
        parse_day(args.start) if args.start else None,
        parse_day(args.end) if args.end else None,
        read_filters(getattr(args, "tags", [])),
    )


def _run(args: argparse.Namespace) -> str:
    book = Book(args.book)
    if args.command == "import":
        count = book.append(parse_journal(args.file.read_text(encoding="utf-8")))
        return f"{count} transaction{'' if count == 1 else 's'}"
    if args.command == "add":
        amount = Amount.parse(args.amount)
        postings = complete([(args.account, amount, {}), (args.other, None, {})])
        book.append([Transaction(parse_day(args.day), args.payee, postings)])
        return "1 transaction"
    selection = _selection(args)
    if args.command == "export":
        chosen = [
            entry for entry in book.load() if any(True for _ in selection.of([entry]))
        ]
        return format_journal(chosen).rstrip("\n")
    return _REPORTS[args.command](book.load(), selection)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    args = _parser().parse_args(argv)
    try:
        text = _run(args)
    except (LedgerError, OSError) as error:
        print(f"pennyledger: {error}", file=sys.stderr)
        return 1
    if text:
        print(text)
    return 0
