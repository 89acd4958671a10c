"""Reading pickles of numpy arrays without running anything that they ask for."""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Iterator
from typing import Any

import numpy as np

from stvsr_bench.core.errors import WeightError

try:
    from numpy._core.multiarray import _reconstruct
except ImportError:  # numpy 1
    from numpy.core.multiarray import _reconstruct  # type: ignore[no-redef]

# By name, and never imported by the name that the file gives.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
# Objects from outside the file, and classes by number instead of by name.
_FOREIGN = {"PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4"}
_DAMAGE = (
    pickle.UnpicklingError,
    *(EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError),
)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _forbidden(f"{module}.{name}") from None


def _forbidden(name: str) -> WeightError:
    return WeightError(
        "a pickle asks for what a file of arrays does not need; nothing of it was run",
        got=name,
        accepted=", ".join(".".join(pair) for pair in _ALLOWED),
        action="do not use this file; take the one that the card names",
    )


def read_numpy_pickle(data: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """Return the float32 arrays of a pickled nested dictionary, by their names joined with dots.

    Raises:
        WeightError: the pickle names anything but ``numpy.ndarray``, ``numpy.dtype`` and their constructor (nothing
            is run), is damaged, or holds something else than float32 arrays in dictionaries with text keys.
    """
    try:
        for opcode, _, _ in pickletools.genops(data):
            if opcode.name in _FOREIGN:
                raise _forbidden(f"an object from outside the file ({opcode.name})")
        value = _Unpickler(io.BytesIO(data)).load()
    except _DAMAGE as error:
        raise WeightError("a pickle of arrays cannot be read", got=f"{type(error).__name__}: {error}") from error
    return dict(_flat(value, ""))


def _flat(value: Any, prefix: str) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    if type(value) is dict and all(type(key) is str for key in value):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else key)
    elif type(value) is np.ndarray and value.dtype == np.float32 and prefix:
        yield prefix, value
    else:
        kind = f"array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise WeightError(
            "a pickle of arrays holds something else",
            got=f"{kind} at '{prefix}'",
            accepted="dictionaries with text keys that hold float32 arrays",
        )
