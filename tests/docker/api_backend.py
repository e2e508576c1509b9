"""Sandboxes over the API alone behind the backend's Protocol, without the choice of a way."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from repodrome.envs.sandbox.base import SandboxSpec
from repodrome.envs.sandbox.direct.client import sandbox_owner
from repodrome.envs.sandbox.docker.api.sandbox import ApiSandbox, start_api_sandbox
from repodrome.envs.sandbox.docker.egress import Egress
from repodrome.envs.sandbox.docker.engine import Engine
from tests.docker.daemon import BASE


@dataclass
class ApiBackend:
    """Implements :class:`~repodrome.envs.sandbox.base.SandboxBackend`."""

    engine: Engine
    image: str = BASE
    name: str = "docker-api"
    egress: Egress | None = None
    image_env: dict[str, str] = field(default_factory=dict)

    @property
    def owner(self) -> tuple[int, int]:
        return sandbox_owner()

    def check(self) -> None:
        self.engine.call_now(lambda client: client.ping())

    async def start(
        self, spec: SandboxSpec, *, live: bool = True, persist: Path | None = None
    ) -> ApiSandbox:
        return await start_api_sandbox(
            self.engine,
            spec.image or self.image,
            self.image_env,
            spec,
            live=live,
            persist=persist,
            helper=BASE,
            network="host",
            egress=self.egress,
        )

    async def prefetch(self, spec: SandboxSpec, count: int) -> None:
        return None

    async def close(self) -> None:
        self.engine.close()
