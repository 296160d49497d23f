"""The registry of methods: a method is one function and the dataclass of its options."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import typing
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from ..image import Image
from ..scan import CTScan, MRScan
from ..solvers.common import Callback


class Track(Protocol):
    """Opens a progress bar of `total` steps; the solver's callback moves it."""

    def __call__(self, label: str, total: int) -> AbstractContextManager[Callback]:
        """Return a context whose value is the callback."""


Recipe = Callable[[Any, Any, Track], Image]


def option(default: Any, text: str, *, choices: tuple[str, ...] = ()) -> Any:
    """Field of an options dataclass: its default and what a physicist reads about it."""
    return dataclasses.field(default=default, metadata={"help": text, "choices": choices})


@dataclass(frozen=True)
class Option:
    """One option of a method, as the help shows it."""

    name: str
    kind: type
    default: Any
    help: str
    choices: tuple[str, ...]

    def parse(self, value: Any) -> Any:
        """`value` as the option's type; text from a command line is read as a number or a bool.

        Raises
        ------
        ValueError
            The value does not fit; the message says what would.
        """
        if value is None and self.default is None:
            return None
        if self.kind is not str and value in self.choices:  # a word instead of a number
            return value
        try:
            parsed = _convert(value, self.kind)
        except (TypeError, ValueError):
            raise ValueError(
                f"option {self.name} must be {self._expected}, got {value!r}"
            ) from None
        if self.kind is int and parsed < 1:
            raise ValueError(f"option {self.name} must be 1 or more, got {value!r}")
        if self.kind is float and not 0 <= parsed < math.inf:
            raise ValueError(f"option {self.name} must be 0 or more and finite, got {value!r}")
        if self.kind is str and self.choices and not any(_is(parsed, c) for c in self.choices):
            raise ValueError(
                f"option {self.name} must be one of {', '.join(self.choices)}, got {value!r}"
            )
        return parsed

    @property
    def _expected(self) -> str:
        return " or ".join([_article(self.kind), *self.choices])

    def __str__(self) -> str:
        choices = f" ({', '.join(self.choices)})" if self.choices else ""
        return f"{self.name}={self.default}: {self.help}{choices}"


@dataclass(frozen=True)
class Method:
    """A registered reconstruction method.

    `run(scan, options, track)` returns an `Image`; `options` is the dataclass of its options.
    `unit` is what it reconstructs independently of the rest of the scan: each "voxel" (of all
    data), each "volume" (a slice, where the scan is a stack), each "series" (all but the slices),
    or only the "scan". `takes_maps` says whether it uses coil maps
    that the centre of k-space decides: they can be made before a scan is complete.
    """

    name: str
    modality: str
    summary: str
    run: Recipe
    options_type: type
    unit: str = "scan"
    takes_maps: bool = False

    @property
    def options(self) -> tuple[Option, ...]:
        """What can be set, with defaults and help."""
        hints = typing.get_type_hints(self.options_type)
        return tuple(
            Option(
                f.name,
                _plain_type(hints[f.name]),
                f.default,
                f.metadata["help"],
                f.metadata["choices"],
            )
            for f in dataclasses.fields(self.options_type)
        )

    def parse(self, given: dict[str, Any]) -> Any:
        """Build the options dataclass from names and values.

        Raises
        ------
        TypeError
            An option that this method does not have; the message says whose it is.
        ValueError
            A value that does not fit.
        """
        known = {o.name: o for o in self.options}
        for name in given:
            if name not in known:
                raise TypeError(_unknown_option(self, name))
        return self.options_type(**{k: known[k].parse(v) for k, v in given.items()})

    def __str__(self) -> str:
        lines = [f"{self.name} ({self.modality}): {self.summary}"]
        return "\n".join(lines + [f"    {o}" for o in self.options])


class MethodList(tuple[Method, ...]):
    """Methods that print as a table."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n".join(map(str, self))


_registry: dict[tuple[str, str], Method] = {}  # by modality and name


def method(
    name: str, modality: str, unit: str = "scan", *, takes_maps: bool = False
) -> Callable[[Recipe], Recipe]:
    """Register ``(scan, options, track) -> Image``; the docstring's first line is its summary.

    `unit` and `takes_maps` are those of `Method`.
    """

    def register(recipe: Recipe) -> Recipe:
        hints = typing.get_type_hints(recipe)
        summary = (inspect.getdoc(recipe) or "").splitlines()[0].rstrip(".")
        _registry[modality, name] = Method(
            name, modality, summary, recipe, hints["options"], unit, takes_maps
        )
        return recipe

    return register


def methods(modality: str | None = None) -> MethodList:
    """Registered methods, all or those for ``"mri"`` or ``"ct"``.

    Raises
    ------
    ValueError
        Another modality.
    """
    if modality not in (None, "mri", "ct"):
        raise ValueError(f'modality must be "mri" or "ct", got {modality!r}')
    return MethodList(m for m in _all() if modality in (None, m.modality))


def find(name: str, scan: MRScan | CTScan) -> Method:
    """The method called `name`, if it takes this scan.

    Raises
    ------
    ValueError
        No such method (the nearest name is suggested), or one of the other modality.
    """
    return find_for(modality_of(scan), name)


def find_for(modality: str, name: str) -> Method:
    """The method called `name` of ``"mri"`` or ``"ct"``; raises as `find`."""
    names = [m.name for m in methods(modality)]
    if (modality, name) in _registry:
        return _registry[modality, name]
    others = [m for m, other in _registry if other == name]
    if others:
        raise ValueError(
            f"method {name!r} is for {others[0]} data, the scan is {modality}: "
            f"choose one of {', '.join(names)}"
        )
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ValueError(f"unknown method {name!r}{hint}: for {modality} there are {', '.join(names)}")


def modality_of(scan: MRScan | CTScan) -> str:
    """``"mri"`` or ``"ct"``; a `TypeError` for anything that is no scan."""
    if isinstance(scan, MRScan):
        return "mri"
    if isinstance(scan, CTScan):
        return "ct"
    raise TypeError(f"expected an MRScan or a CTScan, got {type(scan).__name__}")


def _all() -> Iterator[Method]:
    names = (
        "mri", "mri_regularized", "mri_dynamic", "parallel", "multislice", "ct",
        "ct_iterative", "learned", "diffusion", "zero_shot",
    )  # fmt: skip
    for module in names:
        import_module(f".{module}", __package__)  # registers its recipes
    yield from _registry.values()


def _unknown_option(method: Method, name: str) -> str:
    names = [o.name for o in method.options]
    owners = dict.fromkeys(m.name for m in _all() if name in {o.name for o in m.options})
    near = difflib.get_close_matches(name, names, n=1)
    hint = f", did you mean {near[0]!r}?" if near else ""
    if owners and not near:
        hint = f" (it is an option of {', '.join(owners)})"
    takes = ", ".join(names) or "no options"
    return f"method {method.name!r} has no option {name!r}{hint}; it takes {takes}"


def _is(value: str, choice: str) -> bool:
    """Whether a value is a choice; ``name=NUMBER`` stands for any value of that name."""
    name, sign, _ = choice.partition("=")
    return value.startswith(name + sign) if sign else value == choice


def _plain_type(hint: Any) -> type:
    """The type in ``T | None``."""
    plain = [t for t in typing.get_args(hint) if t is not type(None)] or [hint]
    return typing.cast(type, plain[0])


def _convert(value: Any, kind: type) -> Any:
    if kind is bool:
        if isinstance(value, str):
            if value.lower() not in ("true", "yes", "1", "false", "no", "0"):
                raise ValueError
            return value.lower() in ("true", "yes", "1")
        if not isinstance(value, bool):
            raise TypeError
        return value
    if kind in (int, float) and isinstance(value, bool):
        raise TypeError
    if kind is int and isinstance(value, float) and value != int(value):
        raise ValueError
    if kind is str and not isinstance(value, str):
        raise TypeError
    return kind(value)


def _article(kind: type) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}[kind]
