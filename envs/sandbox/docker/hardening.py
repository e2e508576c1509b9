"""What every container of ours is created with: no rights, limits, no network unless asked for."""

from __future__ import annotations

from typing import Any

from repodrome.envs.sandbox.base import SandboxLimits

USER = "60700:60700"
"""Uid and gid of everything in a container; the same as embedded sandboxes have on the host."""
SHM_MB = 64
OVERHEAD_PIDS = 8
"""Processes of ours in a container, beside the agent's."""


def host_config(
    limits: SandboxLimits, *, network: str = "none", runtime: str = ""
) -> dict[str, Any]:
    """Keyword arguments for ``APIClient.create_host_config``.

    Args:
        limits: memory (swap included, so there is none), processors and processes; the disk is the
            matter of whoever mounts something writable, since the root is read-only.
        network: name of a network, or ``none``.
        runtime: of the daemon, such as ``runsc``; default: its own.
    """
    from docker.types import LogConfig, Ulimit

    memory = limits.memory_mb << 20
    config: dict[str, Any] = {
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "read_only": True,
        "network_mode": network,
        "ipc_mode": "private",
        "mem_limit": memory,
        "memswap_limit": memory,
        "nano_cpus": max(10_000_000, int(limits.cpus * 1_000_000_000)),
        "pids_limit": limits.pids + OVERHEAD_PIDS,
        "shm_size": SHM_MB << 20,
        "ulimits": [
            Ulimit(name="core", soft=0, hard=0),
            Ulimit(name="nofile", soft=4096, hard=4096),
            Ulimit(name="fsize", soft=limits.file_mb << 20, hard=limits.file_mb << 20),
            Ulimit(name="cpu", soft=limits.cpu_seconds, hard=limits.cpu_seconds),
        ],
        # What is printed goes to whoever is attached; kept as well, it would fill the host's disk.
        "log_config": LogConfig(type="none"),
    }
    if runtime:
        config["runtime"] = runtime
    return config
