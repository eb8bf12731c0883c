"""Data classes that cost nothing until they are used.

The standard library's ``@dataclass(frozen=True, slots=True)`` compiles half a dozen methods per class when its module is
imported: 0.4 ms for each of some eighty classes, more than reading and decoding 200 MB. Here the methods that can be shared
are shared, and ``__init__``, the only one that gains from being compiled, is compiled when the first instance is made.

The names mean what they mean in :mod:`dataclasses` (type checkers are shown those), its functions accept these classes, and
what is not used in this project is not here: no ``order``, ``kw_only``, ``InitVar``, nor options of single fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["dataclass", "field", "replace"]

if TYPE_CHECKING:
    from dataclasses import dataclass, field, replace
else:
    from operator import attrgetter

    _NOTHING = object()
    _set = object.__setattr__

    class _Field:
        """What :func:`field` says of one attribute."""

        __slots__ = ("default", "factory")

        def __init__(self, default, factory):
            self.default = default
            self.factory = factory

    def field(*, default=_NOTHING, default_factory=_NOTHING):
        """An attribute with a default value, or one made anew for each instance."""
        return _Field(default, default_factory)

    def dataclass(*, frozen=False, slots=False, eq=True):
        """The class with ``__init__``, ``__repr__`` and what the arguments ask for, from its annotations."""
        return lambda cls: _finish(cls, frozen, slots, eq)

    def replace(instance, /, **changes):
        """A copy with other values for some attributes. Raises TypeError for a name that it does not have."""
        for name in instance.__match_args__:
            if name not in changes:
                changes[name] = getattr(instance, name)
        return type(instance)(**changes)

    class _StandardFields:
        """``__dataclass_fields__``, made when one of the standard library's functions asks for it."""

        def __get__(self, instance, cls):
            import dataclasses

            made = dataclasses.make_dataclass(cls.__name__, [_standard(name, cls) for name in cls.__match_args__])
            type.__setattr__(cls, "__dataclass_fields__", made.__dataclass_fields__)
            return made.__dataclass_fields__

    def _standard(name, cls):
        import dataclasses

        told = cls.__record_fields__[name]
        if told is None:
            return name, object
        given = {"default": told.default} if told.factory is _NOTHING else {"default_factory": told.factory}
        return name, object, dataclasses.field(**given)

    def _finish(cls, frozen, slots, eq):
        members = dict(cls.__dict__)
        fields = {name: told for base in cls.__mro__[:0:-1] for name, told in getattr(base, "__record_fields__", {}).items()}
        own = [name for name, annotation in members.get("__annotations__", {}).items() if not _of_the_class(annotation)]
        for name in own:
            default = members.pop(name, _NOTHING)
            fields[name] = default if isinstance(default, _Field) else None if default is _NOTHING else _Field(default, _NOTHING)
        names = tuple(fields)
        values = attrgetter(*names) if names else lambda _: ()

        def __init__(self, *positional, **named):
            cls.__init__ = init = _compiled(cls, fields, frozen)
            init(self, *positional, **named)

        def __repr__(self):
            told = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
            return f"{type(self).__qualname__}({told})"

        methods = {"__init__": __init__, "__repr__": __repr__}
        if eq:

            def __eq__(self, other):
                return values(self) == values(other) if type(other) is type(self) else NotImplemented

            methods["__eq__"] = __eq__
            methods["__hash__"] = (lambda self: hash(values(self))) if frozen else None
        if frozen:
            methods |= {"__setattr__": _refuse, "__delattr__": _refuse}
            methods |= {"__getstate__": _state, "__setstate__": _restore}
        for name, method in methods.items():
            members.setdefault(name, method)
        if eq and not frozen and "__hash__" not in cls.__dict__:
            members["__hash__"] = None
        members |= {"__match_args__": names, "__record_fields__": fields, "__dataclass_fields__": _StandardFields()}
        # They reach into instances of the class that is replaced here; the new one has its own, or none.
        members.pop("__dict__", None)
        members.pop("__weakref__", None)
        if slots:
            members["__slots__"] = tuple(own)
        else:
            members |= {name: told.default for name, told in fields.items() if told and told.factory is _NOTHING}
        cls = type(cls)(cls.__name__, cls.__bases__, members)
        return cls

    def _of_the_class(annotation):
        return str(annotation).startswith(("ClassVar", "typing.ClassVar"))

    def _compiled(cls, fields, frozen):
        """An ``__init__`` that takes the fields in their order."""
        names = {"_set": _set, "_nothing": _NOTHING}
        parameters, lines = ["self"], []
        for number, (name, told) in enumerate(fields.items()):
            value = name
            if told is None:
                parameters.append(name)
            elif told.factory is _NOTHING:
                names[f"_{number}"] = told.default
                parameters.append(f"{name}=_{number}")
            else:
                names[f"_{number}"] = told.factory
                parameters.append(f"{name}=_nothing")
                value = f"_{number}() if {name} is _nothing else {name}"
            lines.append(f"  _set(self, {name!r}, {value})" if frozen else f"  self.{name} = {value}")
        if hasattr(cls, "__post_init__"):
            lines.append("  self.__post_init__()")
        exec(f"def __init__({', '.join(parameters)}):\n" + ("\n".join(lines) or "  pass"), names)
        return names["__init__"]

    def _refuse(self, name, *value):
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot change field {name!r}")

    def _state(self):
        return [getattr(self, name) for name in self.__match_args__]

    def _restore(self, state):
        for name, value in zip(self.__match_args__, state, strict=True):
            _set(self, name, value)
