import json
from itertools import count

import pytest

from pennyledger import Book, format_journal, parse_journal
from pennyledger.cli import main


def head_tags(comment):
    (entry,) = parse_journal(f"2024-05-01 Shop  ; {comment}\n    a  1 EUR\n    b\n")
    return dict(entry.tags)


@pytest.mark.parametrize(
    ("comment", "tags"),
    [
        ("#breakfast", {"breakfast": ""}),
        ("#one #two,#three, #four", {"one": "", "two": "", "three": "", "four": ""}),
        ("project: kitchen", {"project": "kitchen"}),
        ("#a, project:  new kitchen  , #b", {"a": "", "project": "new kitchen", "b": ""}),
        ("project: kitchen, due: 2024-06-01", {"project": "kitchen", "due": "2024-06-01"}),
        ("PROJECT: Kitchen, #Work-Trip", {"project": "Kitchen", "work-trip": ""}),
        ("just some words", {}),
        ("bought with #work money", {"work": ""}),
        ("see page: 12: the end", {"page": "12: the end"}),
        ("ref: #42", {"ref": "#42"}),
        ("under_score: x, #dash-ed", {"under_score": "x", "dash-ed": ""}),
        ("", {}),
    ],
    ids=count(1),
)
def test_comments(comment, tags):
    assert head_tags(comment) == tags


JOURNAL = """\
; #nothing to do with any transaction
2024-05-01 Bakery  ; #breakfast, project: kitchen
    expenses:food      8.00 EUR
    ; #neither is this
    expenses:drink     2.00 EUR  ; project: Bar, #late
    assets:cash

2024-05-03 * Train
    expenses:travel   30.00 EUR   ; #work
    expenses:fees      1.20 USD
    assets:bank  ; #card
"""


def test_postings_have_their_own():
    bakery, train = parse_journal(JOURNAL)
    assert dict(bakery.tags) == {"breakfast": "", "project": "kitchen"}
    assert [dict(posting.tags) for posting in bakery.postings] == [{}, {"project": "Bar", "late": ""}, {}]
    assert dict(train.tags) == {}
    assert train.cleared


def test_merged():
    bakery, _ = parse_journal(JOURNAL)
    food, drink, _ = bakery.postings
    assert bakery.tags_of(food) == {"breakfast": "", "project": "kitchen"}
    assert bakery.tags_of(drink) == {"breakfast": "", "project": "Bar", "late": ""}
    assert dict(bakery.tags) == {"breakfast": "", "project": "kitchen"}


def test_fillers_have_the_tags_of_the_open_posting():
    _, train = parse_journal(JOURNAL)
    assert [(str(p.amount), dict(p.tags)) for p in train.postings[2:]] == [
        ("-30.00 EUR", {"card": ""}),
        ("-1.20 USD", {"card": ""}),
    ]


def test_export_is_canonical():
    text = "2024-05-01 Shop ; zoo: 1, #b, Ant: x y, #a rest\n    a  1 EUR ; #z\n    b\n"
    lines = format_journal(parse_journal(text)).splitlines()
    assert lines[0].split(";") == ["2024-05-01 Shop  ", " #a, #b, ant: x y, zoo: 1"]
    assert lines[1].split(";")[1] == " #z"
    assert lines[1].index("1 EUR") == 40
    assert ";" not in lines[2]


def test_export_reads_back():
    entries = parse_journal(JOURNAL)
    again = parse_journal(format_journal(entries))
    assert again == entries
    assert [dict(p.tags) for e in again for p in e.postings] == [dict(p.tags) for e in entries for p in e.postings]
    assert [dict(e.tags) for e in again] == [dict(e.tags) for e in entries]


def test_the_book_keeps_them(tmp_path):
    entries = parse_journal(JOURNAL)
    book = Book(tmp_path / "book.jsonl")
    book.append(entries)
    loaded = book.load()
    assert [dict(e.tags) for e in loaded] == [dict(e.tags) for e in entries]
    assert [dict(p.tags) for e in loaded for p in e.postings] == [dict(p.tags) for e in entries for p in e.postings]
    first, second = map(json.loads, book.path.read_text().splitlines())
    assert first["tags"] == {"breakfast": "", "project": "kitchen"}
    assert first["postings"][1]["tags"] == {"project": "Bar", "late": ""}
    assert "tags" not in second
    assert "tags" not in first["postings"][0]


def test_old_books_still_load(tmp_path):
    book = Book(tmp_path / "book.jsonl")
    posting = {"account": "a", "quantity": "1", "currency": "EUR"}
    other = {"account": "b", "quantity": "-1", "currency": "EUR"}
    old = {"day": "2024-05-01", "payee": "x", "cleared": False, "postings": [posting, other]}
    book.path.write_text(json.dumps(old) + "\n")
    (entry,) = book.load()
    assert dict(entry.tags) == {}
    assert [dict(p.tags) for p in entry.postings] == [{}, {}]


@pytest.fixture
def run(tmp_path, capsys):
    (tmp_path / "j").write_text(JOURNAL)

    def call(*args):
        status = main(["--book", str(tmp_path / "book.jsonl"), *args])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    call("import", str(tmp_path / "j"))
    return call


@pytest.mark.parametrize(
    ("tags", "amounts"),
    [
        ([], ["8.00", "2.00", "30.00", "1.20"]),
        (["breakfast"], ["8.00", "2.00"]),
        (["BREAKFAST"], ["8.00", "2.00"]),
        (["project"], ["8.00", "2.00"]),
        (["project=kitchen"], ["8.00"]),
        (["Project=Bar"], ["2.00"]),
        (["project=bar"], []),
        (["late", "breakfast"], ["2.00"]),
        (["late", "work"], []),
        (["work"], ["30.00"]),
        (["work="], ["30.00"]),
        (["project="], []),
        (["nothing"], []),
    ],
    ids=count(1),
)
def test_register(run, tags, amounts):
    options = [part for tag in tags for part in ("--tag", tag)]
    status, out, _ = run("register", "expenses", *options)
    assert status == 0
    heads = [line for line in out.splitlines() if line.startswith("2024")]
    assert [line.split()[2] for line in heads] == amounts


def test_balance(run):
    _, out, _ = run("balance", "--tag", "card")
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["-30.00", "EUR"],
        ["-1.20", "USD"],
        ["-30.00", "EUR"],
        ["-1.20", "USD"],
    ]


def test_monthly(run):
    _, out, _ = run("monthly", "expenses", "--tag", "project=kitchen", "--from", "2024-05-01")
    assert out.split()[:3] == ["2024-05", "8.00", "EUR"]


def test_export_through_the_command_line(run):
    _, out, _ = run("export", "--to", "2024-05-02")
    assert out.splitlines()[0] == "2024-05-01 Bakery  ; #breakfast, project: kitchen"


def test_added_ones_have_none(run):
    run("add", "2024-06-01", "Rent", "expenses:rent", "500 EUR", "assets:bank")
    _, out, _ = run("export", "--from", "2024-06-01")
    assert ";" not in out
