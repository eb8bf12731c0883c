"""What the dashboard may ask for beyond its snapshots. It gets functions: where the answers come from is not its business."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from lbtop.model.snapshot import ConnectionRow

Fields = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Observed:
    """The observations behind one connection, in order; ``note`` says what is missing of them, or nothing."""

    rows: Iterable[Fields]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Tools:
    """``observations(connection)``: the rows behind it. ``whatif(service, algorithm, targets)``: what that algorithm would have
    done, as in ``lbtop whatif --json``; ``targets`` is a number, ``+1`` or ``-1``. Both may take seconds and raise RuntimeError
    with a sentence. ``while_reading``: they may be asked before all is read. ``without`` says why they are missing."""

    observations: Callable[[ConnectionRow], Observed] | None = None
    whatif: Callable[[str, str, str], Fields] | None = None
    algorithms: tuple[str, ...] = ()
    without: str = "only over a capture"
    while_reading: bool = False
