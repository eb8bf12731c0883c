"""A browser's session seen from inside: the process that draws for it gets its frames from the one that serves."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from lbtop.faces.tui.channel import Channel
from lbtop.faces.tui.feed import ChannelFeed

VARIABLE = "LBTOP_SESSION"


def environment(descriptor: int, engine: int | None) -> dict[str, str]:
    """What tells a process that it draws for a browser: where its frames come from, and which process makes them."""
    return {VARIABLE: f"{descriptor}:{engine or 0}"}


def joined(given: Mapping[str, str] = os.environ) -> ChannelFeed | None:
    """The frames of the session that this process was started for; None in any other process."""
    said = given.get(VARIABLE)
    if not said:
        return None
    descriptor, _, engine = said.partition(":")
    return ChannelFeed(Channel(socket.socket(fileno=int(descriptor))), "", pid=int(engine) or None)
