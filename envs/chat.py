"""One question to a language model behind any OpenAI-compatible API.

``POST {url}/chat/completions``: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from repodrome.errors import InfraError, UsageError

if TYPE_CHECKING:
    import httpx

FIRST_WAIT_SECONDS = 0.5
MAX_WAIT_SECONDS = 30.0
"""Waits before further tries double from the first up to this one."""
MAX_RETRY_AFTER_SECONDS = 120.0
"""A server that wants more patience than this is not asked again."""
CONNECT_SECONDS = 10.0
_RETRIED = frozenset({408, 409, 425, 429})
"""Besides 5xx: the same request may succeed a little later."""
_FULL_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_FULL = re.compile(
    r"context (?:length|size|window)|(?:prompt|input|request) is too (?:long|large)|"
    r"maximum (?:context|number of (?:input )?tokens)|reduce the length of the messages",
    re.IGNORECASE,
)
"""How servers say in words that a request doesn't fit: there is no code they all use."""
_MAX_SHOWN = 400


class ChatRefusedError(InfraError):
    """The server understood, and will not answer this request however often it is asked.

    Args:
        message: what happened, for people.
        status: the HTTP status.
        code: the server's own word for it, or ``""``.
        detail: what the server said.
    """

    def __init__(self, message: str, *, status: int, code: str = "", detail: str = "") -> None:
        self.status, self.code, self.detail = status, code, detail
        super().__init__(message)

    @property
    def context_full(self) -> bool:
        """The request is larger than the model's context."""
        return _is_full(self.code, self.detail)


@dataclass(frozen=True, slots=True)
class ChatEndpoint:
    """A server of chat completions.

    Attributes:
        url: of the API, up to and with ``/v1``.
        key: sent as a bearer token where it isn't empty.
        timeout: seconds that one try may take, from connecting to the end of the answer.
        retries: how often a request that failed is sent again.
    """

    url: str
    key: str = field(default="", repr=False)
    timeout: float = 120.0
    retries: int = 3

    @classmethod
    def from_environment(
        cls, who: str, extra: str, *, url: str = "", timeout: float = 120.0, retries: int = 3
    ) -> ChatEndpoint:
        """The endpoint that ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY`` name.

        Args:
            who: needs it, for the message.
            extra: the extra that brings httpx.
            url: in place of ``OPENAI_BASE_URL``.

        Raises:
            UsageError: there is no endpoint, or httpx is missing; the fix is named.
        """
        url = (url or os.environ.get("OPENAI_BASE_URL", "")).strip().rstrip("/")
        if not _is_web(url):
            problem = f"{url!r} is no web address" if url else "no endpoint is known"
            raise UsageError(
                f"{who}, but {problem}; set OPENAI_BASE_URL to one, e.g. http://localhost:8000/v1"
            )
        try:
            import httpx  # noqa: F401
        except ImportError:
            raise UsageError(
                f"{who}, which needs httpx; install it: pip install 'repodrome[{extra}]'"
            ) from None
        key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not (key.isascii() and key.isprintable()):
            raise UsageError("OPENAI_API_KEY is no API key: it holds more than printable ASCII")
        return cls(url, key, timeout, retries)

    @property
    def place(self) -> str:
        """The URL without user name and password, for messages."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    async def complete(
        self, body: Mapping[str, Any], tell: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        """Send a request; what may pass (no connection, 408, 429, 5xx) is tried again.

        Args:
            body: the request.
            tell: is told why and how long it waits.

        Returns:
            The answer; its ``choices`` begin with one that has a ``message``.

        Raises:
            ChatRefusedError: the server refuses this request for good.
            InfraError: it can't be reached, stays busy, or answers something else.
        """
        import httpx

        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        # A pool for each question, since nobody is there to close one that is kept.
        async with httpx.AsyncClient(
            timeout=httpx.Timeout(self.timeout, connect=min(CONNECT_SECONDS, self.timeout)),
            headers=headers,
            verify=_ssl_context(),
        ) as client:
            for wait in self._waits():
                found, after = await self._try(client, body)
                if isinstance(found, dict):
                    return found
                if wait is None or after > MAX_RETRY_AFTER_SECONDS:
                    break
                wait = max(wait, after)
                if tell is not None:
                    tell(f"{self.place} {found}; asking again in {wait:.1f} s")
                await asyncio.sleep(wait)
        wants = f"; it wants to be left alone for {after:.0f} s" if after else ""
        raise InfraError(f"{self.place} {found}{wants}")

    def _waits(self) -> Iterator[float | None]:
        """Seconds to wait after each failed try; None after the last one."""
        wait = FIRST_WAIT_SECONDS
        for _ in range(self.retries):
            # Drawn, so that episodes which failed together don't come back together.
            yield wait * random.uniform(0.75, 1.0)
            wait = min(2 * wait, MAX_WAIT_SECONDS)
        yield None

    async def _try(
        self, client: httpx.AsyncClient, body: Mapping[str, Any]
    ) -> tuple[dict[str, Any] | str, float]:
        """The answer, or what may pass and how many seconds the server wants to be left alone."""
        import httpx

        try:
            async with asyncio.timeout(self.timeout):
                answer = await client.post(f"{self.url}/chat/completions", json=body)
        except TimeoutError:
            return f"gave no answer in {self.timeout:g} s", 0.0
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"can't be reached ({type(error).__name__}: {str(error) or 'no words'})", 0.0
        data = _json(answer)
        status, code, detail = _problem(answer, data)
        if not status:
            assert isinstance(data, dict)
            return data, 0.0
        problem = f"answered with status {status}: {detail}"
        passes = status in _RETRIED or status >= 500
        if passes and not _is_full(code, detail):
            return problem, _retry_after(answer)
        raise ChatRefusedError(f"{self.place} {problem}", status=status, code=code, detail=detail)


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


@lru_cache(maxsize=1)
def _ssl_context() -> ssl.SSLContext:
    """As httpx makes it, once: to read the certificates takes longer than a question may."""
    import httpx

    return httpx.create_ssl_context()


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except (ValueError, RecursionError):
        return None


def _problem(answer: httpx.Response, data: Any) -> tuple[int, str, str]:
    """Status (0: none), code and words of what is wrong with an answer."""
    error = data.get("error") if isinstance(data, dict) else None
    if answer.is_success and not error:
        if _is_completion(data):
            return 0, "", ""
        # No failure that passes: a wrong URL, as a rule.
        raise InfraError(f"{answer.url} answered no chat completion: {_shown(answer.text)}")
    status = answer.status_code
    if not isinstance(error, Mapping):
        error = data if isinstance(data, dict) else {}
    code = error.get("code")
    if answer.is_success:  # some proxies say so only in the body
        status = code if isinstance(code, int) and code >= 400 else 502
    words = [word for word in (code, error.get("type")) if isinstance(word, str)]
    known = next((word for word in words if word in _FULL_CODES), "")
    detail = error.get("message") or error.get("detail") or answer.text
    shown = _shown(str(detail)).rstrip(".")
    return status, known or next(iter(words), ""), shown or "(no words)"


def _is_completion(data: Any) -> bool:
    try:
        return isinstance(data["choices"][0]["message"], dict)
    except (LookupError, TypeError):
        return False


def _is_full(code: str, detail: str) -> bool:
    return code in _FULL_CODES or _FULL.search(detail) is not None


def _shown(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]} …"


def _retry_after(answer: httpx.Response) -> float:
    """Seconds that the server asks to wait: a number or a date (RFC 9110, 10.2.3)."""
    text = answer.headers.get("Retry-After", "").strip()
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
