"""Finding the declarations in a folder, so that a new one is a new file and nothing else."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from typing import TypeVar

Declared = TypeVar("Declared")


def classes_in(package: str, path: Iterable[str], base: type[Declared]) -> Iterator[type[Declared]]:
    """Yield the subclasses of `base` that the modules of a package define, by module name.

    Parameters
    ----------
    package, path
        Its ``__name__`` and ``__path__``.
    base
        What they are subclasses of.
    """
    for info in pkgutil.iter_modules(path):
        module = importlib.import_module(f"{package}.{info.name}")
        for value in vars(module).values():
            is_class = isinstance(value, type) and issubclass(value, base)
            if is_class and value.__module__ == module.__name__:
                yield value
