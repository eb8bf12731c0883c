"""Compiled code has its own copy of the vocabulary's numbers; they are the same."""

from __future__ import annotations

from lbtop.probes.wire.flags import mirrored

from lbtop.model import observation


def test_every_number_agrees() -> None:
    for name, numbers in mirrored().items():
        theirs = {member.name: int(member) for member in getattr(observation, name)}
        assert {key: theirs[key] for key in numbers} == numbers, name
