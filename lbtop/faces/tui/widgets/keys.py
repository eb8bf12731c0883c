"""The keys of a screen on its last line.

Textual's Footer makes a widget per key, and all of them anew whenever the focus moves: two thirds of what a key press cost.
"""

from __future__ import annotations

from rich.text import Text
from textual import events
from textual.widgets import Static

from lbtop.faces.tui.palette import style


class Keys(Static):
    """What the keys do; a click is a key pressed."""

    DEFAULT_CSS = "Keys { dock: bottom; height: 1; background: $panel; }"

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._ends: list[tuple[int, str]] = []  # column behind, key
        self._shown = Text()

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda screen: self.tell())
        self.call_after_refresh(self.tell)

    def tell(self) -> None:
        """Draws the keys that are bound here and meant to be shown, each action once."""
        text = Text(no_wrap=True, overflow="ellipsis")
        told: set[str] = set()
        self._ends = []
        for key, active in self.screen.active_bindings.items():
            binding = active.binding
            if not binding.show or binding.action in told:
                continue
            told.add(binding.action)
            text.append(f" {self.app.get_key_display(binding)} ", style("accent"))
            text.append(f"{binding.description} ")
            self._ends.append((text.cell_len, key))
        if text != self._shown:
            self._shown = text
            self.update(text, layout=False)

    def on_click(self, event: events.Click) -> None:
        key = next((key for end, key in self._ends if event.x < end), None)
        if key is not None:
            self.app.simulate_key(key)
