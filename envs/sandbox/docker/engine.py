"""One Docker daemon: its low-level client behind one door, where foreign errors become ours."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from repodrome.errors import SandboxError, SandboxUnavailableError

Answer = TypeVar("Answer")

TIMEOUT = 60
"""Seconds that the daemon gets to answer one request that builds nothing."""
CONCURRENT = 32
"""Requests on their way to one daemon at once."""
FIX = (
    "start the daemon (`systemctl start docker`, or `dockerd` as root), see that this user may use "
    "it (group docker), or name another with DOCKER_HOST; `repodrome doctor` looks at all of it"
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a daemon is.

    Attributes:
        url: as in DOCKER_HOST (``unix://…``, ``tcp://…``, ``ssh://…``); ``""``: the client's own
            rules (DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, the current context).
        tls: directory with ``ca.pem``, ``cert.pem`` and ``key.pem``; ``""``: what
            DOCKER_TLS_VERIFY and DOCKER_CERT_PATH say, for ``tcp://``.
        context: name of a Docker context, instead of the other two.
    """

    url: str = ""
    tls: str = ""
    context: str = ""


class Engine:
    """A daemon, for any thread and any event loop; a forked child gets a client of its own.

    Args:
        address: where it is.
        make: makes the low-level client (``docker.APIClient``) for an address.

    Attributes:
        on_unreachable: told why, whenever the daemon can't be reached.
    """

    def __init__(self, address: Address, make: Callable[[Address], Any]) -> None:
        self.address = address
        self.on_unreachable: Callable[[str], None] | None = None
        self._make = make
        self._client: Any = None
        self._pid = 0
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """For messages."""
        if self.address.context:
            return f"Docker context {self.address.context!r}"
        return self.address.url or "the default Docker daemon"

    def client(self) -> Any:
        """The low-level client; its methods raise errors of their own, so prefer :meth:`call`.

        Raises:
            SandboxUnavailableError: the daemon can't be reached.
        """
        with self._lock:
            if self._client is None or self._pid != os.getpid():
                self._client = self._translated(functools.partial(self._make, self.address))
                self._pid = os.getpid()
            return self._client

    async def call(self, request: Callable[[Any], Answer]) -> Answer:
        """Send a request, ``engine.call(lambda client: client.inspect_container(name))``.

        It runs in a thread, and goes on there if the caller is cancelled.

        Raises:
            SandboxUnavailableError: the daemon can't be reached.
            NotFoundError: what was asked for isn't there.
            DockerError: the daemon refused.
        """
        return await anyio.to_thread.run_sync(
            functools.partial(self.call_now, request), abandon_on_cancel=True
        )

    async def change(self, request: Callable[[Any], Answer]) -> Answer:
        """The same, but not cut short: else nobody could tell what the request has made."""
        return await anyio.to_thread.run_sync(self.call_now, request)

    def call_now(self, request: Callable[[Any], Answer]) -> Answer:
        """As :meth:`call`, blocking."""
        client = self.client()
        return self._translated(lambda: request(client))

    async def follow(
        self,
        request: Callable[[Any], Iterable[dict[str, Any]]],
        see: Callable[[dict[str, Any]], None],
    ) -> None:
        """Send a request that answers little by little, ``client.build(…, decode=True)``.

        It has a connection of its own: if the caller is cancelled, that is cut off, by which the
        daemon knows that nobody waits for the answer any more.

        Args:
            see: told each entry of the answer, in a thread.

        Raises:
            SandboxUnavailableError: the daemon can't be reached, or is gone before the end.
            NotFoundError: what was asked for isn't there.
            DockerError: the daemon refused.
        """
        following = _Following(functools.partial(self._make, self.address))
        try:
            await anyio.to_thread.run_sync(
                lambda: self._translated(lambda: following.read(request, see)),
                abandon_on_cancel=True,
            )
        finally:
            following.cut_off()

    def _translated(self, action: Callable[[], Answer]) -> Answer:
        import docker.errors
        import requests.exceptions
        import urllib3.exceptions

        try:
            return action()
        except docker.errors.NotFound as error:
            raise NotFoundError(_explained(error)) from error
        except docker.errors.APIError as error:
            raise DockerError(f"{self.name} refused: {_explained(error)}") from error
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise self._unreachable(f"can't be reached ({_cause(error)}). Fix: {FIX}") from error
        # A stream that broke off in the middle.
        except (OSError, EOFError, urllib3.exceptions.HTTPError) as error:
            raise self._unreachable(f"went away: {error}") from error

    def _unreachable(self, why: str) -> SandboxUnavailableError:
        if self.on_unreachable is not None:
            self.on_unreachable(f"{self.name} {why}")
        return SandboxUnavailableError(f"{self.name} {why}")

    def close(self) -> None:
        """Let go of the connections; the next request opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None and self._pid == os.getpid():
            with suppress(Exception):
                client.close()


class _Following:
    """One streamed answer, that another thread may cut off."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._over = False
        self._response: Any = None

    def read(
        self,
        request: Callable[[Any], Iterable[dict[str, Any]]],
        see: Callable[[dict[str, Any]], None],
    ) -> None:
        client = self._make()
        try:
            client.hooks["response"].append(self._begun)
            for entry in request(client):
                if self._over:
                    return
                see(entry)
        except Exception:
            if not self._over:  # else it is our own doing
                raise
        finally:
            client.close()

    def _begun(self, response: Any, *_: object, **__: object) -> None:
        with self._lock:
            self._response = response
            if self._over:
                raise EOFError("nobody waits for the answer any more")

    def cut_off(self) -> None:
        """Wake the reader, whatever it waits for; harmless once it has ended."""
        from docker.types import CancellableStream

        with self._lock:
            self._over = True
            if self._response is not None:
                with suppress(Exception):  # closed meanwhile, or a transport that can't do it
                    CancellableStream(None, self._response).close()


class DockerError(SandboxError):
    """The daemon refused a request."""


class NotFoundError(DockerError):
    """The daemon has no such container, image, network or volume."""


def connect(address: Address, *, timeout: float = TIMEOUT) -> Any:
    """A low-level client by the Docker client's own rules.

    Args:
        address: where the daemon is.
        timeout: seconds that it gets for each answer.

    Raises:
        docker.errors.DockerException: nothing answers there.
        SandboxUnavailableError: there is no such context.
    """
    import docker
    from requests.adapters import HTTPAdapter

    class Client(docker.APIClient):  # type: ignore[misc]
        def merge_environment_settings(
            self, url: str, proxies: Any, stream: Any, verify: Any, cert: Any
        ) -> Any:
            # Else REQUESTS_CA_BUNDLE, meant for the web, would replace the daemon's own ca.pem.
            verify = self.verify if verify is None else verify
            return super().merge_environment_settings(url, proxies, stream, verify, cert)

    class Adapter(HTTPAdapter):
        def close(self) -> None:
            # Else they are closed once no answer refers to them, and errors do until collected.
            pools = self.poolmanager.pools
            for key in pools.keys():  # noqa: SIM118 (it can't be iterated itself)
                pools[key].close()
            super().close()

    options: dict[str, Any] = {"version": "auto", "timeout": timeout, "num_pools": CONCURRENT}
    options["max_pool_size"] = CONCURRENT
    client = Client(**options, **_where(address))
    if client.base_url.startswith(("http://", "https://")):  # the Docker client gives these 10
        client.mount(client.base_url, Adapter(pool_maxsize=CONCURRENT))
    return client


def _where(address: Address) -> dict[str, Any]:
    """``base_url`` and ``tls``: DOCKER_HOST goes before DOCKER_CONTEXT, and that before the current
    context (https://docs.docker.com/engine/manage-resources/contexts/)."""
    import docker
    from docker.tls import TLSConfig

    url = address.url
    if not address.context and not url:
        url = os.environ.get("DOCKER_HOST", "")
    if not url:
        return _of_context(address.context or os.environ.get("DOCKER_CONTEXT", ""))
    if address.tls:
        place = address.tls
        tls = TLSConfig(
            client_cert=(f"{place}/cert.pem", f"{place}/key.pem"),
            ca_cert=f"{place}/ca.pem",
            verify=True,
        )
        return {"base_url": url, "tls": tls}
    if not url.startswith("tcp://"):
        return {"base_url": url}
    found: dict[str, Any] = docker.utils.kwargs_from_env({**os.environ, "DOCKER_HOST": url})
    return found


def _of_context(name: str) -> dict[str, Any]:
    from docker.context import ContextAPI

    context = ContextAPI.get_context(name or None)
    if context is None:
        raise SandboxUnavailableError(
            f"there is no Docker context {name!r}; `docker context ls` shows those there are (they "
            "are found beside a config.json only: `echo {} >~/.docker/config.json` where it lacks)"
        )
    if not context.Host:
        return {}
    return {"base_url": context.Host, "tls": context.TLSConfig or False}


def remove_container(engine: Engine, container: str) -> None:
    """Kill and remove a container, and wait until it is gone; blocks. One that isn't there is.

    A daemon that has begun to remove it by itself (``auto_remove``) refuses to, and holds its name,
    volumes and networks until it is done.

    Raises:
        SandboxUnavailableError: the daemon can't be reached.
        DockerError: it won't.
    """
    try:
        engine.call_now(lambda client: client.remove_container(container, force=True, v=True))
    except NotFoundError:
        return
    except DockerError:
        with suppress(NotFoundError):
            engine.call_now(
                lambda client: client.wait(container, timeout=TIMEOUT, condition="removed")
            )


def _explained(error: Any) -> str:
    return str(getattr(error, "explanation", None) or error).strip()


def _cause(error: BaseException) -> str:
    """The innermost reason: the client wraps it in several layers of its own."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return str(error)
