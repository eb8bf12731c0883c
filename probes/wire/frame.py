"""The packet at hand: one object, filled in by layer after layer, used again for the next packet."""


class Frame:
    """Where each layer of the current packet lies in the buffer and what its header said."""
