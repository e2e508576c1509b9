"""What the egress proxy lets through, and that nothing talks it into more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from repodrome.envs.sandbox.docker.egress import check_hosts
from repodrome.envs.sandbox.docker.proxy import Proxy, Refused, Rule, Rules, parse_request
from repodrome.errors import UsageError

pytestmark = pytest.mark.anyio

NAMES = {
    "pypi.org": ["151.101.0.223", "10.0.0.9"],
    "files.pythonhosted.org": ["151.101.1.1"],
    "pythonhosted.org": ["151.101.1.1"],
    "inner.example": ["10.1.2.3"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "metadata.example": ["169.254.169.254"],
    "nat64.example": ["64:ff9b::a00:1"],
    "six.example": ["2606:4700::1111"],
}


async def resolve(name: str, port: int) -> list[str]:
    if name not in NAMES:
        raise OSError("no such name")
    return NAMES[name]


async def reached(entries: list[str], host: str, port: int = 443) -> list[str]:
    return await Rules(entries, resolve).addresses(host, port)


@pytest.mark.parametrize(
    ("entries", "host", "port", "addresses"),
    [
        (["pypi.org"], "pypi.org", 443, ["151.101.0.223"]),  # never its private address
        (["PyPI.org."], "PYPI.ORG", 80, ["151.101.0.223"]),
        (["*.pythonhosted.org"], "files.pythonhosted.org", 443, ["151.101.1.1"]),
        (["pypi.org:8443"], "pypi.org", 8443, ["151.101.0.223"]),
        (["10.1.0.0/16", "inner.example"], "inner.example", 443, ["10.1.2.3"]),
        (["10.1.2.3:5000"], "10.1.2.3", 5000, ["10.1.2.3"]),
        (["[2606:4700::1111]:443"], "[2606:4700::1111]", 443, ["2606:4700::1111"]),
        (["2606:4700::/32"], "2606:4700::1", 443, ["2606:4700::1"]),
        (["six.example"], "six.example", 443, ["2606:4700::1111"]),
    ],
)
async def test_what_is_listed_is_reached(
    entries: list[str], host: str, port: int, addresses: list[str]
) -> None:
    assert await reached(entries, host, port) == addresses


@pytest.mark.parametrize(
    ("entries", "host", "port"),
    [
        ([], "pypi.org", 443),
        (["pypi.org"], "evil.example", 443),
        (["pypi.org"], "pypi.org.evil.example", 443),
        (["pypi.org"], "xpypi.org", 443),
        (["*.pythonhosted.org"], "pythonhosted.org", 443),
        (["*.pythonhosted.org"], "evilpythonhosted.org", 443),
        (["pypi.org"], "pypi.org", 22),
        (["pypi.org"], "151.101.0.223", 443),  # the name is listed, not the address
        (["inner.example"], "inner.example", 443),
        (["mapped.example"], "mapped.example", 443),
        (["metadata.example"], "metadata.example", 80),
        (["nat64.example"], "nat64.example", 443),
        (["10.1.0.0/16"], "::ffff:10.2.0.1", 443),
        (["pypi.org"], "2130706433", 80),
        (["pypi.org"], "pypi.org\r\nX: y", 443),
        (["pypi.org"], "", 443),
    ],
)
async def test_all_else_is_refused(entries: list[str], host: str, port: int) -> None:
    with pytest.raises(Refused):
        await reached(entries, host, port)


@pytest.mark.parametrize(
    "entry", ["*", "https://pypi.org", "a b", "pypi.org:0", "pypi.org:99999", "", "a..b", "*.*.x"]
)
def test_entries_that_do_not_read_are_refused_with_the_fix(entry: str) -> None:
    with pytest.raises(UsageError, match=r"allowed_hosts.*Fix"):
        check_hosts([entry])


def test_a_bare_port_rule_is_for_that_port_alone() -> None:
    assert Rule.parse("a.example:8080").ports == {8080}


def test_a_plain_request_is_made_the_servers_own() -> None:
    head = (
        b"GET http://user:pw@a.example:8080/x?y#z HTTP/1.1\r\nHost: elsewhere.example\r\n"
        b"Proxy-Authorization: secret\r\nConnection: keep-alive\r\nAccept: */*\r\n\r\n"
    )
    host, port, sent = parse_request(head)
    assert (host, port) == ("a.example", 8080)
    assert sent == (
        b"GET /x?y#z HTTP/1.1\r\nHost: a.example:8080\r\nConnection: close\r\nAccept: */*\r\n\r\n"
    )


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET https://a/ HTTP/1.1\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nA: b\nHost: c\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\n folded\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost : c\r\n\r\n",
        b"CONNECT a HTTP/1.1\r\n\r\n",
        b"CONNECT a:b HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET http://a/ SPDY\r\n\r\n",
    ],
)
def test_requests_that_are_none_are_malformed(head: bytes) -> None:
    with pytest.raises(ValueError):
        parse_request(head)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(serve: Serve) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says back everything, once its reader has ended."""
    writer.write(b"heard:" + await reader.read())
    writer.close()


async def say(port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


async def test_bytes_pass_both_ways_and_each_side_may_end_first() -> None:
    async with served(echo) as there:
        proxy = Proxy(Rules([f"127.0.0.1:{there}"]))
        async with served(proxy.serve) as port:
            answer = await say(port, f"CONNECT 127.0.0.1:{there} HTTP/1.1\r\n\r\nhello".encode())
            assert answer == b"HTTP/1.1 200 Connection established\r\n\r\nheard:hello"
            plain = await say(port, f"GET http://127.0.0.1:{there}/p HTTP/1.1\r\n\r\n".encode())
            assert plain.startswith(b"heard:GET /p HTTP/1.1\r\n")


async def test_refusals_say_why_and_what_is_allowed() -> None:
    async with served(Proxy(Rules(["pypi.org"], resolve)).serve) as port:
        answer = await say(port, b"CONNECT evil.example:443 HTTP/1.1\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b"evil.example:443 is not allowed here; allowed: pypi.org" in answer
        assert (await say(port, b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        assert await say(port, b"half a request") == b""
    async with served(Proxy(Rules(["gone.example"], resolve)).serve) as port:
        answer = await say(port, b"CONNECT gone.example:443 HTTP/1.1\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 502 ")
