"""Where a tool gets the index of its workspace from: the episode says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from repodrome.tools.index.overlay import Overlay


class IndexSource(Protocol):
    """The index of the tree that a workspace began as, shared by all who began so."""

    async def overlay(self, embedder: str) -> Overlay:
        """The workspace's own overlay of it; the same one at each call.

        Slow once for each tree and embedder, when the index is made.

        Args:
            embedder: whose vectors it has; a name known to
                :func:`repodrome.tools.index.embedders.get_embedder`.

        Raises:
            UsageError: there is no such embedder, or it lacks something; names the fix.
            InfraError: the index could not be made.
        """

    async def changed(self) -> Sequence[str] | None:
        """Paths of the workspace that may differ from the tree; None: not known.

        A directory stands for all that is or was below it.
        """
