"""``python -m lbtop``."""

from lbtop.cli import process

process()
