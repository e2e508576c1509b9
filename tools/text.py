"""Text as an agent may read it: safe to print, capped, and honest about what was cut."""

from __future__ import annotations

import json
import re

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0\ufdd1]")
_ESCAPE_SEQUENCE = re.compile(
    "\x1b(?:"
    r"\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movement
    "|\\][^\x07\x1b\n]{0,4096}(?:\x07|\x1b\\\\)?"  # OSC: titles, links
    "|[PX^_][^\x1b\n]{0,4096}(?:\x1b\\\\)?"  # DCS, SOS, PM, APC
    "|[ -/]*[0-~])"
)
_SIGNATURES = (
    (b"\x89PNG", "PNG image"),
    (b"\xff\xd8\xff", "JPEG image"),
    (b"GIF8", "GIF image"),
    (b"%PDF", "PDF document"),
    (b"PK\x03\x04", "zip archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ", "xz data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"\x7fELF", "ELF program or library"),
    (b"SQLite format 3\x00", "SQLite database"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)


def safe_text(text: str) -> str:
    """Show control characters and undecodable bytes as ``\\xNN``, keeping tabs and newlines.

    What comes out can always be encoded as UTF-8, drives no terminal, and holds no mark of
    :mod:`repodrome.tools.words`.
    """
    return _UNSAFE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xDC80 <= code <= 0xDCFF:  # a surrogate-escaped byte
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def has_unsafe(text: str) -> bool:
    """Whether :func:`safe_text` would change it."""
    return _UNSAFE.search(text) is not None


def show_path(path: str) -> str:
    """A path as text: itself, or a JSON string where it holds what would mislead a reader."""
    if has_unsafe(path) or "\n" in path or "\t" in path or path.startswith('"'):
        return json.dumps(path)
    return path


def terminal_text(data: bytes) -> str:
    """What a command printed, as a reader of the terminal would see it.

    Invalid UTF-8 is replaced, escape sequences are dropped, a line that was rewritten after
    carriage returns shows its last state, other control characters are shown as ``\\xNN``.
    """
    text = data.decode("utf-8", "replace")
    if "\x1b" in text:
        text = _ESCAPE_SEQUENCE.sub("", text)
    if "\r" in text:
        text = text.replace("\r\n", "\n")
        text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return safe_text(text)


def clip_line(line: str, max_chars: int) -> str:
    """At most ``max_chars`` of a line, saying how much more there is."""
    if len(line) <= max_chars:
        return line
    return f"{line[:max_chars]}… [{len(line) - max_chars:,} more characters]"


def cut_middle(data: bytes, max_bytes: int, *, dropped: int = 0) -> tuple[bytes, bytes, int]:
    """Split into a head and a tail of together at most ``max_bytes``, at line ends where near.

    Args:
        data: what there is; where ``dropped`` is not 0 its middle is already missing.
        max_bytes: most bytes to keep.
        dropped: bytes that are missing from the middle already.

    Returns:
        head, tail and the number of bytes missing between them; with nothing to cut the tail is
        empty and the number 0.
    """
    if len(data) <= max_bytes and not dropped:
        return data, b"", 0
    half = min(max_bytes, len(data)) // 2
    head, tail = data[:half], data[len(data) - half :]
    near = min(2048, half // 2)
    end = head.rfind(b"\n", len(head) - near)
    if end >= 0:
        head = head[: end + 1]
    else:
        head = head.decode("utf-8", "ignore").encode() if _is_utf8_prefix(head) else head
    start = tail.find(b"\n", 0, near)
    if start >= 0:
        tail = tail[start + 1 :]
    else:
        while tail and tail[0] & 0xC0 == 0x80:
            tail = tail[1:]
    return head, tail, dropped + len(data) - len(head) - len(tail)


def _is_utf8_prefix(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.end == len(data) and len(data) - error.start < 4
    return True


def cap_text(text: str, max_bytes: int) -> tuple[str, bool]:
    """At most about ``max_bytes`` of UTF-8, the middle left out with a notice."""
    if len(text) * 4 <= max_bytes:
        return text, False
    head, tail, dropped = cut_middle(text.encode("utf-8", "backslashreplace"), max_bytes)
    if not dropped:
        return text, False
    notice = f"[… {dropped:,} bytes left out: the answer is capped at {max_bytes:,} bytes …]"
    return (
        f"{_ended(head.decode('utf-8', 'replace'))}{notice}\n{tail.decode('utf-8', 'replace')}",
        True,
    )


def _ended(text: str) -> str:
    return text if text.endswith("\n") or not text else text + "\n"


def binary_kind(head: bytes) -> str | None:
    """What kind of binary file starts like this; None for text."""
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    return "binary data" if b"\x00" in head[:8192] else None


def count(number: int, noun: str, plural: str = "") -> str:
    """``1 line``, ``2,000 lines``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
