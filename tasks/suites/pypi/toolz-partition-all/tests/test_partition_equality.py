"""Hidden tests of ours: partition_all must not compare the caller's items."""

from toolz import partition_all


class EqualToAll:
    def __eq__(self, other):
        return True

    __hash__ = None


class NeverCompared:
    def __eq__(self, other):
        raise AssertionError("an item was compared")

    __hash__ = None


def test_items_that_equal_everything_are_kept():
    items = [EqualToAll() for _ in range(8)]
    groups = list(partition_all(5, iter(items)))
    assert [len(group) for group in groups] == [5, 3]
    assert all(a is b for a, b in zip((x for g in groups for x in g), items, strict=True))


def test_no_item_is_compared():
    for count in range(1, 12):
        items = [NeverCompared() for _ in range(count)]
        for source in (items, iter(items)):
            groups = list(partition_all(4, source))
            assert sum(map(len, groups)) == count


def test_plain_items_still_group():
    assert list(partition_all(3, iter("abcdefgh"))) == [tuple("abc"), tuple("def"), tuple("gh")]
    assert list(partition_all(3, iter(()))) == []
