"""What screens know of the application they stand in: what is on show, and a few things to ask of it."""

from __future__ import annotations

from typing import Protocol

from lbtop.faces.tui.feed import Feed
from lbtop.faces.tui.filtering import Filter
from lbtop.faces.tui.machine import TimeMachine
from lbtop.faces.tui.tools import Tools
from lbtop.model.snapshot import Detail, Snapshot


class Stage(Protocol):
    feed: Feed
    tools: Tools
    machine: TimeMachine
    filter: Filter
    ended: bool
    """Whether the source has ended: no newer frame will come."""

    @property
    def frame(self) -> Snapshot | None:
        """The frame on screen."""

    def detail(self, service: str) -> Detail | None:
        """Sessions and connections of one service at the frame on screen."""

    def enter(self, index: int | None) -> None:
        """Puts the whole screen at a frame of the history; None is the newest."""
