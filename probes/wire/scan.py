"""Byte searching shared by the parsers. Everything is inline in the declaration file beside this one."""
