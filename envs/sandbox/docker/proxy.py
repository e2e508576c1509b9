"""The program of egress containers: an HTTP proxy that lets through what is listed, and its inlet.

It runs as ``python3 -I -c THIS_FILE proxy|inlet SOCKET …`` in a container, so it imports nothing
but the standard library. The same rules are read here on the host, to refuse a bad list early.

``proxy SOCKET ENTRY…`` serves HTTP/1.1 (RFC 9110 §9.3.6 CONNECT, RFC 9112 §3.2.2 absolute-form) on
a Unix socket; ``inlet SOCKET PORT`` passes connections to 127.0.0.1:PORT on to that socket. Both
print ``ready`` and end when their standard input does: that is their owner's lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import re
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

PORTS = frozenset({80, 443})
"""Of an entry that names none."""
HEAD_BYTES = 64 << 10
HEAD_SECONDS = 30
CONNECT_SECONDS = 20
CONNECTIONS = 512
"""At once, of all who use one proxy."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Awaitable[list[str]]]

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# Global by registration, but an IPv4 address, maybe a private one, is what they reach:
# 6to4 (RFC 3056) and NAT64 (RFC 6052).
_TRANSLATED = [ipaddress.ip_network(text) for text in ("2002::/16", "64:ff9b::/96")]


@dataclass(frozen=True)
class Rule:
    """One entry of the list.

    Attributes:
        name: a host name; with ``wildcard`` every name below it, not itself.
        network: an address or range, instead.
        ports: that may be reached there.
    """

    name: str = ""
    wildcard: bool = False
    network: Network | None = None
    ports: frozenset[int] = PORTS

    @classmethod
    def parse(cls, entry: str) -> Rule:
        """Read ``name``, ``*.name``, an address or CIDR range, each with ``:port`` if wanted.

        Raises:
            ValueError: it is none of these.
        """
        host, port = split_port(entry.strip())
        ports = PORTS if port is None else frozenset({port})
        with contextlib.suppress(ValueError):
            return cls(network=ipaddress.ip_network(host.strip("[]"), strict=False), ports=ports)
        wildcard = host.startswith("*.")
        return cls(name=normal(host[2:] if wildcard else host), wildcard=wildcard, ports=ports)

    def names(self, name: str, port: int) -> bool:
        """Whether it lets a name through."""
        if not self.name or port not in self.ports:
            return False
        return name.endswith(f".{self.name}") if self.wildcard else name == self.name

    def holds(self, address: Address, port: int) -> bool:
        """Whether it lets an address through."""
        return self.network is not None and address in self.network and port in self.ports


def split_port(text: str) -> tuple[str, int | None]:
    """``host``, ``host:port``, ``[IPv6]:port`` or a bare IPv6 address.

    Raises:
        ValueError: the port is none.
    """
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")) or text.endswith("]"):
        return text, None
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{port!r} is no port")
    return host, int(port)


def normal(name: str) -> str:
    """A host name as it is compared.

    Raises:
        ValueError: it is none.
    """
    with contextlib.suppress(UnicodeError):
        name = name.rstrip(".").encode("idna").decode().lower()
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no host name, address or range")
    return name


class Refused(Exception):
    """Not allowed; the text is for whoever asked."""


class Rules:
    """What may be reached.

    Args:
        entries: as :meth:`Rule.parse` reads them.
        resolve: gives the addresses of a name.

    Raises:
        ValueError: an entry doesn't read.
    """

    def __init__(self, entries: Iterable[str], resolve: Resolve | None = None) -> None:
        self._entries = tuple(entries)
        self._rules = tuple(Rule.parse(entry) for entry in self._entries)
        self._resolve = resolve or _resolve

    async def addresses(self, host: str, port: int) -> list[str]:
        """Where a connection to that host may go.

        A name counts by itself; the addresses it stands for must then be public ones or listed,
        and the connection goes to those very addresses: no second look-up could give others.

        Raises:
            Refused: nowhere.
            OSError: the name stands for nothing.
        """
        with contextlib.suppress(ValueError):
            address = _plain(ipaddress.ip_address(host.strip("[]")))
            if any(rule.holds(address, port) for rule in self._rules):
                return [str(address)]
            raise Refused(self._why(host, port))
        try:
            name = normal(host)
        except ValueError as error:
            raise Refused(str(error)) from None
        if not any(rule.names(name, port) for rule in self._rules):
            raise Refused(self._why(host, port))
        found = [_plain(ipaddress.ip_address(text)) for text in await self._resolve(name, port)]
        good = [a for a in found if _public(a) or any(r.holds(a, port) for r in self._rules)]
        if found and not good:
            raise Refused(
                f"{host} stands for {found[0]}, which is not public; the address must be listed too"
            )
        return [str(address) for address in good]

    def _why(self, host: str, port: int) -> str:
        return (
            f"{host}:{port} is not allowed here; allowed: {', '.join(self._entries) or 'nothing'}"
        )


def _plain(address: Address) -> Address:
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if mapped is not None else address


def _public(address: Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not any(address in network for network in _TRANSLATED)
    )


async def _resolve(name: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


# -- serving ---------------------------------------------------------------------------------------


class Proxy:
    """Serves one connection at a time with :meth:`serve`.

    Args:
        rules: what may be reached.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the request of a connection that has just been accepted, and close it."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async with self._free:
                await self._answer(reader, writer)
        await _close(writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_SECONDS)
            host, port, forward = parse_request(head)
            addresses = await self._rules.addresses(host, port)
            there, away = await self._connect(addresses, port)
        except Refused as error:
            return await _say(writer, "403 Forbidden", f"egress refused: {error}")
        except (ValueError, asyncio.LimitOverrunError) as error:
            return await _say(writer, "400 Bad Request", f"egress: {error}")
        except TimeoutError:
            return await _say(writer, "504 Gateway Timeout", "egress: no answer in time")
        except OSError as error:
            return await _say(writer, "502 Bad Gateway", f"egress: {error}")
        if forward:
            away.write(forward)
        else:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await join(reader, writer, there, away)

    async def _connect(
        self, addresses: list[str], port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        trouble: Exception = OSError("the name stands for no address")
        for address in addresses:
            try:
                return await asyncio.wait_for(
                    asyncio.open_connection(address, port), CONNECT_SECONDS
                )
            except (OSError, TimeoutError) as error:
                trouble = error
        raise trouble


def parse_request(head: bytes) -> tuple[str, int, bytes]:
    """Host, port, and what to send there (nothing for CONNECT).

    Raises:
        ValueError: it is no request to a proxy.
    """
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise ValueError("that is no HTTP/1 request")
    method, target, _ = words
    if method == "CONNECT":
        host, port = split_port(target)
        if port is None:
            raise ValueError("CONNECT needs host:port")
        return host, port, b""
    url = urlsplit(target)
    if url.scheme != "http" or not url.netloc:
        raise ValueError("only http:// URLs and CONNECT are served; is this meant for a proxy?")
    authority = url.netloc.rpartition("@")[2]
    host, port = split_port(authority)
    path = target.split("://", 1)[1].partition("/")
    # Host must agree with the URL: else a listed server could be asked for an unlisted site.
    kept = [f"{method} /{path[2]} HTTP/1.1", f"Host: {authority}", "Connection: close"]
    for line in lines:
        name, colon, _ = line.partition(":")
        if not colon or not name or name != name.strip() or re.search(r"[\r\n\0]", line):
            raise ValueError("a header line is malformed")
        if name.lower() not in _HOP_BY_HOP:
            kept.append(line)
    return host, port or 80, "\r\n".join((*kept, "", "")).encode("latin-1")


_HOP_BY_HOP = {"host", "connection", "keep-alive", "proxy-connection", "proxy-authorization"}


async def join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    there: asyncio.StreamReader,
    away: asyncio.StreamWriter,
) -> None:
    """Pass bytes both ways until both sides have ended, or either breaks."""
    both = [asyncio.ensure_future(_copy(reader, away)), asyncio.ensure_future(_copy(there, writer))]
    try:
        await asyncio.gather(*both)
    finally:
        for one in both:
            one.cancel()
        await _close(away)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while block := await source.read(1 << 16):
        target.write(block)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()


async def _say(writer: asyncio.StreamWriter, status: str, text: str) -> None:
    body = f"{text}\n".encode(errors="replace")
    writer.write(
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        + body
    )
    await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.close()
        await writer.wait_closed()


# -- the programs ----------------------------------------------------------------------------------


async def _run(role: str, path: str, words: list[str]) -> None:
    if role == "proxy":
        await asyncio.start_unix_server(Proxy(Rules(words)).serve, path, limit=HEAD_BYTES)
    else:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                await join(reader, writer, *await asyncio.open_unix_connection(path))
            await _close(writer)

        await asyncio.start_server(serve, "127.0.0.1", int(words[0]))
    os.write(1, b"ready\n")
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], sys.argv[2], sys.argv[3:]))
    os._exit(0)  # whoever is still connected is cut off
