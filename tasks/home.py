"""Where the user's own files are."""

from __future__ import annotations

from pathlib import Path


def home() -> Path:
    """The user's home; ``/nonexistent`` for an account without one, as containers often run."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")
