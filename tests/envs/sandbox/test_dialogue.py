"""What a shell says beside its commands' output is hostile: any of its commands may say it, too."""

from __future__ import annotations

import shlex

from repodrome.envs.sandbox.direct.dialogue import MAX_RECORD, program_line, take_records


def test_only_whole_answers_to_the_present_command_count() -> None:
    said = bytearray(b"6 0 /late\x007 forged /\x007 1 /work space\x00noise\x0077 0 /\x007 0 /un")
    assert take_records(said, b"7") == [[b"7", b"1", b"/work space"]]
    assert said == b"7 0 /un"
    said += b"til now\x00"
    assert take_records(said, b"7") == [[b"7", b"0", b"/until now"]]
    assert not said


def test_what_never_ends_is_cut() -> None:
    said = bytearray(b"7 0 " + b"x" * 10 * MAX_RECORD)
    assert take_records(said, b"7") == [] and len(said) == MAX_RECORD
    said += b"\0" + b"7 0 /\0"
    assert take_records(said, b"7") == [[b"7", b"0", b"/"]]


def test_words_and_variables_stay_what_they_are() -> None:
    place = "/it's"
    line = program_line("/c/1", "exec ", ["a b", "$(c)"], "/dev/null", place, {"A": "1 2"})
    assert shlex.join(["env", "A=1 2", "a b", "$(c)"]) in line
    assert f"cd -- {shlex.quote(place)} && exec env" in line
