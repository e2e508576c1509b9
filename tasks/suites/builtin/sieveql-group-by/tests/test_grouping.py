from itertools import count

import pytest

from sieveql import Database, QueryError, QuerySyntaxError

SALES = [
    {"shop": "north", "item": "tea", "n": 3, "price": 2.5},
    {"shop": "south", "item": "tea", "n": 1, "price": 2.0},
    {"shop": "north", "item": "jam", "n": None, "price": 4.0},
    {"shop": None, "item": "jam", "n": 2, "price": 4.0},
    {"shop": "south", "item": "tea", "n": 1, "price": None},
    {"shop": None, "item": "tea", "n": 5, "price": 2.5},
]
SHOPS = [{"shop": "north", "town": "Graz"}, {"shop": "south", "town": "Linz"}, {"shop": "west", "town": "Wels"}]


@pytest.fixture
def db():
    made = Database()
    made.add("sales", SALES)
    made.add("shops", SHOPS)
    made.add("nothing", [], ["a", "b"])
    made.add("flags", [{"f": 1, "g": "a"}, {"f": True, "g": "b"}, {"f": 1.0, "g": "c"}, {"f": "1", "g": "d"}])
    return made


def rows(db, text):
    return [tuple(row.values()) for row in db.query(text)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("count(*)", 6),
        ("count(n)", 5),
        ("count(DISTINCT n)", 4),
        ("COUNT(shop)", 4),
        ("sum(n)", 12),
        ("sum(DISTINCT n)", 11),
        ("avg(n)", 2.4),
        ("min(price)", 2.0),
        ("max(price)", 4.0),
        ("min(item)", "jam"),
        ("max(shop)", "south"),
        ("sum(n * price)", 30.0),
        ("sum(n) / count(*) + 1", 3.0),
        ("string_agg(item, '-')", "tea-tea-jam-jam-tea-tea"),
        ("string_agg(DISTINCT item, ', ')", "tea, jam"),
        ("string_agg(shop, '')", "northsouthnorthsouth"),
        ("upper(min(item)) || '!'", "JAM!"),
        ("CASE WHEN count(*) > 5 THEN 'many' ELSE 'few' END", "many"),
        ("7", 7),
    ],
    ids=count(1),
)
def test_over_everything(db, expression, expected):
    ((found, _),) = rows(db, f"SELECT {expression} AS v, count(*) AS c FROM sales")
    assert found == expected


@pytest.mark.parametrize("source", ["nothing", "nothing WHERE a = 1", "nothing x JOIN sales s ON x.a = s.n"], ids=count(1))
def test_over_nothing(db, source):
    text = f"SELECT count(*) a1, count(a) b1, sum(a) c, avg(a) d, min(a) e, max(a) f, string_agg(a, ',') g FROM {source}"
    assert rows(db, text) == [(0, 0, None, None, None, None, None)]


def test_no_groups_of_nothing(db):
    assert rows(db, "SELECT a, count(*) FROM nothing GROUP BY a") == []


def test_groups_come_in_order_of_appearance(db):
    assert rows(db, "SELECT shop, count(*), sum(n) FROM sales GROUP BY shop") == [
        ("north", 2, 3),
        ("south", 2, 2),
        (None, 2, 7),
    ]


def test_groups_of_two_keys(db):
    assert rows(db, "SELECT item, shop, count(n) FROM sales GROUP BY shop, item") == [
        ("tea", "north", 1),
        ("tea", "south", 2),
        ("jam", "north", 0),
        ("jam", None, 1),
        ("tea", None, 1),
    ]


def test_names_of_columns(db):
    (row, *_) = db.query("SELECT s.item, count( * ), sum(n) total FROM sales s GROUP BY item")
    assert list(row) == ["item", "count( * )", "total"]


def test_kinds_are_different_groups(db):
    assert rows(db, "SELECT f, count(*) FROM flags GROUP BY f") == [(1, 2), (True, 1), ("1", 1)]
    found = rows(db, "SELECT f, string_agg(g, '') FROM flags GROUP BY f")
    assert [(type(key), text) for key, text in found] == [(int, "ac"), (bool, "b"), (str, "d")]


def test_a_key_need_not_be_shown(db):
    assert rows(db, "SELECT count(*) FROM sales GROUP BY item") == [(4,), (2,)]


def test_grouping_without_aggregates(db):
    assert rows(db, "SELECT item FROM sales GROUP BY item") == [("tea",), ("jam",)]


@pytest.mark.parametrize(
    ("select", "group", "expected"),
    [
        ("n + 1", "n + 1", [(4,), (2,), (None,), (3,), (6,)]),
        ("(n + 1) * 2", "n + 1", [(8,), (4,), (None,), (6,), (12,)]),
        ("item || '!'", "item", [("tea!",), ("jam!",)]),
        ("s.item", "item", [("tea",), ("jam",)]),
        ("item", "s.item", [("tea",), ("jam",)]),
        ("upper(s.item)", "upper(item)", [("TEA",), ("JAM",)]),
        ("n > 2, count(*)", "n > 2", [(True, 2), (False, 3), (None, 1)]),
        ("item, 1, 'x'", "item", [("tea", 1, "x"), ("jam", 1, "x")]),
        ("CASE WHEN item = 'tea' THEN 1 ELSE 2 END", "item", [(1,), (2,)]),
        ("item IN ('tea', 'x'), item IS NULL", "item", [(True, False), (False, False)]),
    ],
    ids=count(1),
)
def test_grouping_expressions(db, select, group, expected):
    assert rows(db, f"SELECT {select} FROM sales s GROUP BY {group}") == expected


def test_group_by_an_alias(db):
    text = "SELECT upper(item) AS kind, count(*) FROM sales GROUP BY kind"
    assert rows(db, text) == [("TEA", 4), ("JAM", 2)]


def test_columns_win_over_aliases_in_group_by(db):
    with pytest.raises(QueryError):
        db.query("SELECT upper(item) AS shop, count(*) FROM sales GROUP BY shop")


@pytest.mark.parametrize(
    ("having", "expected"),
    [
        ("count(*) > 2", [("tea",)]),
        ("sum(price) = 8", [("jam",)]),
        ("item = 'jam'", [("jam",)]),
        ("min(n) = 2 OR count(*) = 4", [("tea",), ("jam",)]),
        ("sum(n) > NULL", []),
        ("count(DISTINCT shop) = 2 AND item LIKE 't%'", [("tea",)]),
    ],
    ids=count(1),
)
def test_having(db, having, expected):
    assert rows(db, f"SELECT item FROM sales GROUP BY item HAVING {having}") == expected


def test_having_of_a_single_group(db):
    assert rows(db, "SELECT sum(n) FROM sales HAVING count(*) > 5") == [(12,)]
    assert rows(db, "SELECT sum(n) FROM sales HAVING count(*) > 6") == []
    assert rows(db, "SELECT 1 FROM sales HAVING max(n) = 5") == [(1,)]


def test_where_comes_first(db):
    text = "SELECT shop, count(*) FROM sales WHERE n > 1 GROUP BY shop"
    assert rows(db, text) == [("north", 1), (None, 2)]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("sum(n) DESC", [(None, 7), ("north", 3), ("south", 2)]),
        ("total", [("south", 2), ("north", 3), (None, 7)]),
        ("shop DESC", [("south", 2), ("north", 3), (None, 7)]),
        ("shop NULLS FIRST", [(None, 7), ("north", 3), ("south", 2)]),
        ("count(n), max(price) DESC", [("north", 3), (None, 7), ("south", 2)]),
        ("total % 2, shop", [("south", 2), ("north", 3), (None, 7)]),
    ],
    ids=count(1),
)
def test_order(db, order, expected):
    if order == "total % 2, shop":
        order = "sum(n) % 2, shop"
    text = f"SELECT shop, sum(n) AS total FROM sales GROUP BY shop ORDER BY {order}"
    assert rows(db, text) == expected


def test_an_aggregate_in_order_by_alone_makes_one_row(db):
    assert rows(db, "SELECT 1 FROM sales ORDER BY count(*)") == [(1,)]


def test_limit_and_distinct_count_groups(db):
    assert rows(db, "SELECT shop FROM sales GROUP BY shop LIMIT 1 OFFSET 1") == [("south",)]
    assert rows(db, "SELECT DISTINCT count(*) FROM sales GROUP BY shop") == [(2,)]


def test_joins(db):
    text = (
        "SELECT town, count(s.item), sum(n) FROM shops LEFT JOIN sales s ON shops.shop = s.shop "
        "GROUP BY town ORDER BY town"
    )
    assert rows(db, text) == [("Graz", 2, 3), ("Linz", 2, 2), ("Wels", 0, None)]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT shop, count(*) FROM sales",
        "SELECT n FROM sales GROUP BY n + 1",
        "SELECT n + 2 FROM sales GROUP BY n + 1",
        "SELECT item FROM sales GROUP BY item ORDER BY n",
        "SELECT item FROM sales GROUP BY item HAVING n > 1",
        "SELECT item FROM sales HAVING item = 'tea'",
        "SELECT count(*) FROM sales WHERE count(*) > 1",
        "SELECT 1 FROM sales a JOIN sales b ON count(*) = 1",
        "SELECT count(*) FROM sales GROUP BY sum(n)",
        "SELECT count(*) AS c FROM sales GROUP BY c",
        "SELECT sum(count(*)) FROM sales",
        "SELECT max(1 + min(n)) FROM sales GROUP BY item",
        "SELECT * FROM sales GROUP BY item",
        "SELECT * FROM sales HAVING count(*) > 1",
        "SELECT sum(item) FROM sales",
        "SELECT avg(item) FROM sales",
        "SELECT sum(f) FROM flags",
        "SELECT string_agg(n, ',') FROM sales",
        "SELECT count(nobody) FROM sales",
        "SELECT count(*) FROM sales GROUP BY nobody",
        "SELECT shop FROM sales JOIN shops ON sales.shop = shops.shop GROUP BY shop",
        "SELECT a.shop FROM sales a JOIN shops b ON a.shop = b.shop GROUP BY b.shop",
        "SELECT item FROM sales GROUP BY item ORDER BY sum(max(n))",
        "SELECT count(*) FROM nothing ORDER BY max(sum(a))",
    ],
    ids=count(1),
)
def test_refused(db, text):
    with pytest.raises(QueryError) as caught:
        db.query(text)
    # All of these are well formed; it is what they ask for that can't be.
    assert not isinstance(caught.value, QuerySyntaxError)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT count( FROM sales",
        "SELECT count(*) FROM sales GROUP item",
        "SELECT count(*) FROM sales GROUP BY",
        "SELECT item FROM sales HAVING count(*) > 1 GROUP BY item",
        "SELECT sum(*) FROM sales",
    ],
    ids=count(1),
)
def test_bad_syntax(db, text):
    with pytest.raises(QuerySyntaxError):
        db.query(text)
