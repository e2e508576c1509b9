"""Costs are counted in reads of columns, so they don't depend on the machine."""

import random
from collections.abc import Mapping
from itertools import count

import pytest

from sieveql import Database, QueryError


class Row(Mapping):
    """A row that counts how often it is read."""

    reads = 0

    def __init__(self, **data):
        self._data = data

    def __getitem__(self, key):
        Row.reads += 1
        return self._data[key]

    def get(self, key, default=None):
        Row.reads += 1
        return self._data.get(key, default)

    def __iter__(self):
        return iter(self._data)

    def __len__(self):
        return len(self._data)


def reads(query, size, spread=None):
    db = Database()
    db.add("a", [Row(id=n, x=n % 7) for n in range(size)])
    db.add("b", [Row(a_id=n % (spread or size), y=n % 5) for n in range(size)])
    db.add("c", [Row(b_y=n, z=n) for n in range(5)])
    before = Row.reads
    db.query(query)
    return Row.reads - before


@pytest.mark.parametrize(
    "on",
    [
        "a.id = b.a_id",
        "b.a_id = a.id",
        "id = a_id",
        "id = a_id AND x < y",
        "x < y AND a_id = id",
        "x < y AND (y > 1 AND a_id = id)",
        "a.id = b.a_id AND a.x = b.y",
    ],
    ids=count(1),
)
@pytest.mark.parametrize("kind", ["JOIN", "LEFT JOIN"])
def test_joins_grow_with_the_sum(kind, on):
    query = f"SELECT a.id, b.y FROM a {kind} b ON {on}"
    small, large = reads(query, 30), reads(query, 240)
    # Eight times as much is linear; the square is 64.
    assert large <= 14 * small
    assert large <= 20 * 480


def test_a_second_join_is_hashed_too():
    query = "SELECT a.id, z FROM a JOIN b ON a.id = b.a_id JOIN c ON b.y = c.b_y"
    assert reads(query, 240) <= 25 * 480


def plain(db_rows):
    return [tuple(row.values()) for row in db_rows]


CONDITIONS = [
    "l.k = r.k",
    "r.k = l.k AND l.n < r.m",
    "l.n < r.m AND l.k = r.k",
    "l.k = r.k AND l.n = r.m",
    "l.k = r.k OR l.n = r.m",
    "l.k = l.n",
    "r.k = 1",
    "l.k = 1 AND r.k = 2",
    "l.k + 1 = r.k",
    "NOT l.k = r.k",
    "l.k != r.k",
    "l.k = r.k AND NOT l.n = r.m",
    "l.k = r.k AND NULL",
    "TRUE",
]


@pytest.mark.parametrize("kind", ["JOIN", "LEFT JOIN"])
@pytest.mark.parametrize("on", CONDITIONS, ids=count(1))
def test_results_and_their_order(on, kind):
    rng = random.Random(on)
    keys = [None, 1, 1.0, True, "1", 2, 0, False]
    left = [{"i": i, "k": rng.choice(keys), "n": rng.randrange(3)} for i in range(25)]
    right = [{"j": j, "k": rng.choice(keys), "m": rng.randrange(3)} for j in range(25)]
    db = Database()
    db.add("l", [row for row in left if on != "l.k + 1 = r.k" or type(row["k"]) in (int, float)])
    db.add("r", right)
    # The same condition where nothing can be looked up: each pair of rows is judged by itself.
    expected = []
    for mine in db.query("SELECT * FROM l"):
        found = []
        for theirs in right:
            one = Database()
            one.add("l", [mine])
            one.add("r", [theirs])
            found += plain(one.query(f"SELECT l.i, r.j FROM l JOIN r ON TRUE WHERE {on}"))
        expected += found or ([(mine["i"], None)] if kind == "LEFT JOIN" else [])
    assert plain(db.query(f"SELECT l.i, r.j FROM l {kind} r ON {on}")) == expected


@pytest.mark.parametrize("on", ["l.k = r.nobody", "k = k", "l.k = x.k"])
def test_bad_names_are_still_refused(on):
    db = Database()
    db.add("l", [{"k": 1}])
    db.add("r", [{"k": 1}])
    with pytest.raises(QueryError):
        db.query(f"SELECT l.k FROM l JOIN r ON {on}")


def test_a_chain_with_a_left_join():
    db = Database()
    db.add("a", [{"i": 1, "k": 1}, {"i": 2, "k": 2}])
    db.add("b", [{"k2": 1, "v": 5}])
    db.add("c", [{"w": 5, "t": "x"}, {"w": None, "t": "y"}])
    text = "SELECT i, t FROM a LEFT JOIN b ON k = k2 LEFT JOIN c ON v = w"
    assert plain(db.query(text)) == [(1, "x"), (2, None)]
