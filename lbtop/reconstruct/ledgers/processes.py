"""Which processes are at the targets' ends, where the source says so."""

from __future__ import annotations

from lbtop.model.observation import Side
from lbtop.reconstruct.window import ServiceWindow

MOST = 1024
"""Different processes of one service; later ones are left out."""

Process = tuple[int, int, int, int]
"""Process id, and the numbers of the texts of program, container and pod."""


class ProcessLedger:
    """Folds ``processes`` of the back leg."""

    def __init__(self) -> None:
        self._claims: dict[tuple[int, Process], int] = {}  # by target: connections at whose target's end, minus at the other

    def fold(self, window: ServiceWindow) -> None:
        rows, targets = window.back["processes"], window.target["processes"]
        for row, number in zip(rows, targets.tolist(), strict=True):
            key = number, (int(row["pid"]), int(row["process"]), int(row["container"]), int(row["pod"]))
            if key in self._claims or len(self._claims) < MOST:
                end = int(row["end"])
                self._claims[key] = self._claims.get(key, 0) + (end == Side.SERVER) - (end == Side.CLIENT)

    def at(self, target: int) -> list[Process]:
        """The processes at this target's end, by connections. One said to be at both ends alike is at neither."""
        found = [(claims, process) for (number, process), claims in self._claims.items() if number == target and claims > 0]
        return [process for _, process in sorted(found, key=lambda one: -one[0])]
