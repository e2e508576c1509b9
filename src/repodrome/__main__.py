"""The ``repodrome`` command, and ``python -m repodrome``."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from repodrome.harness.cli.app import app

    app(prog_name="repodrome")


if __name__ == "__main__":
    main()
