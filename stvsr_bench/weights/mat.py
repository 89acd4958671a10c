"""Reading MATLAB files of parameters: numbers only, nested cells and structures by dotted names."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.io


def read_mat(data: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """Return the numeric arrays of a MATLAB file up to version 7.

    An array inside cells and structures is named by its way there: the variable, then for each step the number of the
    cell (from 0, left out of a structure that stands alone) or position and name of the field, such as
    ``model.1-rf.0.4-upper``. Positions keep the order of the fields, which some readers go by. Text is left out.

    Raises:
        ValueError: the file is damaged, of another kind, or holds something besides numbers, text, cells and
            structures (functions, objects).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", scipy.io.matlab.MatReadWarning)
            variables = scipy.io.loadmat(io.BytesIO(data))
    except scipy.io.matlab.MatReadError as error:
        raise ValueError(str(error)) from error
    found: dict[str, np.ndarray[Any, Any]] = {}
    for name, value in variables.items():
        if not name.startswith("__"):
            found |= dict(_leaves(name, value))
    if not found:
        raise ValueError("no numbers in it")
    return found


def _leaves(name: str, value: Any) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    if isinstance(value, scipy.io.matlab.MatlabFunction | scipy.io.matlab.MatlabOpaque | scipy.io.matlab.MatlabObject):
        raise ValueError(f"'{name}' is a function or an object of MATLAB")
    if scipy.sparse.issparse(value):
        value = value.toarray()
    if not isinstance(value, np.ndarray | np.void):
        raise ValueError(f"'{name}' is {type(value).__name__}")
    fields = value.dtype.names
    if isinstance(value, np.void) and fields:
        for position, field in enumerate(fields):
            yield from _leaves(f"{name}.{position}-{field}", value[field])
    elif isinstance(value, np.ndarray) and (fields or value.dtype.hasobject):
        elements = value.ravel(order="F")
        for number, element in enumerate(elements):
            yield from _leaves(name if fields and len(elements) == 1 else f"{name}.{number}", element)
    elif value.dtype.kind in "biuf":
        yield name, np.ascontiguousarray(value, value.dtype.newbyteorder("="))
    elif value.dtype.kind not in "SU":
        raise ValueError(f"'{name}' holds {value.dtype}")
