"""For which names which targets are asked: behind one port there may be several pools, told apart by Host or SNI."""

from __future__ import annotations

from lbtop.reconstruct.arrivals import counted
from lbtop.reconstruct.columns import groups
from lbtop.reconstruct.window import ServiceWindow

SAMPLE = 512  # requests and handshakes of a window that are asked
MOST = 1024  # different pairs of name and target
OFTEN = 3  # a name that is asked for less often tells nothing


class NameLedger:
    """Folds ``requests`` and ``handshakes`` of the back leg."""

    def __init__(self) -> None:
        self._asked: dict[tuple[int, int], int] = {}  # by name (string number) and target

    def fold(self, window: ServiceWindow) -> None:
        for table, column in (("requests", "host"), ("handshakes", "sni")):
            rows, target = counted(window, table)
            if not len(rows):
                continue
            for (name, number), members in groups(rows[column][:SAMPLE], target[:SAMPLE]):
                key = name, number
                if name > 1 and (key in self._asked or len(self._asked) < MOST):
                    self._asked[key] = self._asked.get(key, 0) + len(members)

    def pool(self, target: int) -> frozenset[int] | None:
        """The targets that share names with this one, itself included; None where names do not tell pools apart."""
        of_targets: dict[int, set[int]] = {}
        for (name, number), times in self._asked.items():
            if times >= OFTEN:
                of_targets.setdefault(number, set()).add(name)
        if target not in of_targets:
            return None
        pool, names = {target}, set(of_targets[target])
        while more := {number for number, known in of_targets.items() if number not in pool and known & names}:
            pool |= more
            names.update(*(of_targets[number] for number in more))
        return frozenset(pool)
