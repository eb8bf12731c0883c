"""The project's data classes behave as the standard library's."""

import copy
import dataclasses
import pickle

import pytest

from lbtop.model.record import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Point:
    """A frozen one."""

    x: int
    y: int = 2
    tags: tuple = ()

    @property
    def sum(self):
        return self.x + self.y


@dataclass(frozen=True, slots=True)
class Named(Point):
    name: str = "n"


@dataclass(slots=True)
class Tally:
    counts: dict = field(default_factory=dict)
    total: int = 0


@dataclass()
class Loose:
    """One whose instances have a dictionary."""

    total: int = 0
    parts: list = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Bare:
    value: list = field(default=None)


@dataclasses.dataclass(frozen=True, slots=True)
class Standard:
    x: int
    y: int = 2
    tags: tuple = ()


def test_values_and_defaults():
    assert (Point(1).x, Point(1).y, Point(1, y=5).y, Point(1).sum) == (1, 2, 5, 3)
    assert repr(Point(1)) == repr(Standard(1)).replace("Standard", "Point")
    assert Named(1, name="m") == Named(1, 2, (), "m")
    with pytest.raises(TypeError):
        Point()
    with pytest.raises(TypeError):
        Point(1, 2, (), 4)


def test_equality_and_hash():
    assert Point(1) == Point(1, 2) != Point(2)
    assert Point(1) != Standard(1)
    assert Point(1) != Named(1)
    assert hash(Point(1)) == hash(Point(1, 2))
    assert Bare() != Bare()
    assert len({Bare(), Bare()}) == 2
    assert Tally() == Tally()
    with pytest.raises(TypeError):
        hash(Tally())


def test_frozen_ones_cannot_be_changed():
    for change in (lambda p: setattr(p, "x", 3), lambda p: delattr(p, "x"), lambda p: setattr(p, "new", 3)):
        with pytest.raises(AttributeError):
            change(Point(1))
    with pytest.raises(dataclasses.FrozenInstanceError):
        Point(1).x = 3


def test_others_can_but_not_extended():
    tally = Tally()
    tally.total += 1
    tally.counts["a"] = 1
    assert Tally().counts == {}
    with pytest.raises(AttributeError):
        tally.new = 1


@pytest.mark.parametrize("instance", [Point(1, tags=("a",)), Named(1), Tally({1: 2}, 3), Loose(4, [5])])
def test_copies(instance):
    assert pickle.loads(pickle.dumps(instance)) == instance
    assert copy.deepcopy(instance) == instance
    assert copy.copy(instance) == instance


def test_without_slots_there_is_a_dictionary():
    loose = Loose(1)
    loose.new = 2
    assert loose.__dict__ == {"total": 1, "parts": [], "new": 2}


def test_replace():
    assert replace(Point(1), y=9) == Point(1, 9)
    with pytest.raises(TypeError):
        replace(Point(1), z=9)


def test_the_standard_functions_accept_them():
    assert dataclasses.is_dataclass(Point)
    assert [one.name for one in dataclasses.fields(Point(1))] == ["x", "y", "tags"]
    assert dataclasses.asdict(Tally({1: Point(2)}, 3)) == {"counts": {1: {"x": 2, "y": 2, "tags": ()}}, "total": 3}
    assert dataclasses.replace(Point(1), x=7) == Point(7)


def test_matching():
    match Point(1):
        case Point(x, y):
            assert (x, y) == (1, 2)
