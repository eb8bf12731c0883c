"""How a recording begins."""

MAGIC = b"lbtoprec"
VERSION = 1
