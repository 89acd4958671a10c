"""Tensors in safetensors files, located first and read one after another: for networks larger than one file."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from stvsr_bench.core.errors import WeightError
from stvsr_bench.weights.strict import shorten

FLOATING = ("BF16", "F16", "F32")
"""Stored dtypes of which a network's parameters may be, as safetensors calls them."""


@dataclass(frozen=True)
class Stored:
    """Where one tensor lies.

    Attributes:
        file: safetensors file.
        shape: its shape.
        dtype: as safetensors calls it (``BF16``, ``F32``, …).
    """

    file: Path
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class StoredTensors:
    """The tensors of one network; nothing of them is read yet.

    Attributes:
        folder: where the files lie.
        tensors: by the names in the files.
        notes: what a user should know about the folder.
    """

    folder: Path
    tensors: Mapping[str, Stored]
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> list[Path]:
        """The files that hold the tensors, in order of their names."""
        return sorted({stored.file for stored in self.tensors.values()})

    @contextlib.contextmanager
    def reading(self) -> Iterator[Callable[[str], Tensor]]:
        """Open the files inside the block; the function gives a tensor by its name, mapped, not copied.

        Raises:
            WeightError: a file cannot be read any more.
        """
        handles: dict[Path, Any] = {}
        with contextlib.ExitStack() as stack:

            def get(name: str) -> Tensor:
                file = self.tensors[name].file
                if file not in handles:
                    handles[file] = stack.enter_context(opened(file))
                tensor: Tensor = handles[file].get_tensor(name)
                return tensor

            yield get


def opened(file: Path) -> Any:
    """Open a safetensors file; its header must be whole and its size must be what the header says.

    Raises:
        WeightError: it is absent, truncated, or another kind of file.
    """
    try:
        return safe_open(file, framework="pt", device="cpu")
    except (SafetensorError, OSError, ValueError) as error:
        if not file.is_file():
            raise WeightError(f"'{file}' is absent", action="fetch it again") from error
        raise WeightError(
            f"'{file}' is damaged, or no safetensors file",
            got=f"{file.stat().st_size} bytes; {str(error).splitlines()[0][:200]}",
            action="it was probably not transferred whole: fetch it again",
        ) from error


def read_json(file: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        WeightError: it is absent, or holds something else.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightError(f"cannot read '{file}'", got=error.strerror) from error
    except ValueError as error:
        raise WeightError(f"'{file}' is no JSON file", got=str(error)[:200], action="fetch it again") from error
    if not isinstance(value, dict):
        raise WeightError(f"'{file}' holds another value", got=type(value).__name__, accepted="names and values")
    return value


def find_tensors(folder: Path, stem: str = "diffusion_pytorch_model") -> StoredTensors:
    """Locate the tensors of a network in ``folder``, laid out as diffusers does.

    With ``<stem>.safetensors.index.json`` the files that it names hold the tensors, and exactly those that it says;
    without it ``<stem>.safetensors`` does. Any other safetensors file there is left alone, with a note.

    Raises:
        WeightError: a file is absent or damaged, or the index and the files disagree.
    """
    index, single = folder / f"{stem}.safetensors.index.json", folder / f"{stem}.safetensors"
    if index.is_file():
        placed = _placed(index)
    elif single.is_file():
        placed = None
    else:
        there = [path.name for path in sorted(folder.glob("*.safetensors"))]
        raise WeightError(
            f"'{folder}' lacks its tensors",
            got=f"{shorten(there)} without an index" if there else "no safetensors file",
            accepted=f"{index.name} and the files it names, or {single.name}",
        )
    used = {single} if placed is None else {folder / shard for shard in placed.values()}
    tensors: dict[str, Stored] = {}
    for file in sorted(used):
        found = _header(file)
        if placed is not None:
            _agree(index, file, set(found), {name for name, shard in placed.items() if shard == file.name})
        tensors |= found
    stale = [path.name for path in sorted(folder.glob("*.safetensors")) if path not in used]
    notes = (f"left alone, because {index.name} does not name it: {folder.name}/{name}" for name in stale)
    return StoredTensors(folder, tensors, tuple(notes))


def _placed(index: Path) -> dict[str, str]:
    """The index's table: tensor → file name."""
    table = read_json(index).get("weight_map")
    if not isinstance(table, dict) or not table or not all(isinstance(shard, str) for shard in table.values()):
        raise WeightError(f"'{index}' has no table of tensors", accepted="weight_map: {tensor: file}")
    outside = sorted({shard for shard in table.values() if Path(shard).name != shard})
    if outside:
        raise WeightError(f"'{index}' names a file outside its folder", got=shorten(outside), accepted="bare names")
    absent = sorted({shard for shard in table.values() if not (index.parent / shard).is_file()})
    if absent:
        raise WeightError(
            f"'{index.parent}' is incomplete",
            got=f"no {shorten(absent)}",
            accepted=f"every file that {index.name} names",
        )
    return table


def _header(file: Path) -> dict[str, Stored]:
    with opened(file) as handle:
        slices = ((name, handle.get_slice(name)) for name in handle.keys())  # noqa: SIM118
        return {name: Stored(file, tuple(part.get_shape()), str(part.get_dtype())) for name, part in slices}


def _agree(index: Path, file: Path, found: set[str], named: set[str]) -> None:
    faults = [
        f"{len(names)} {what}: {shorten(sorted(names))}"
        for what, names in (("absent", named - found), ("not in the index", found - named))
        if names
    ]
    if faults:
        raise WeightError(
            f"'{file}' holds other tensors than {index.name} says",
            got="; ".join(faults),
            action="files of two releases were mixed: fetch the folder again",
        )


def check_fit(
    module: nn.Module, stored: StoredTensors, names: Mapping[str, str], *, action: str = "take the matching checkpoint"
) -> None:
    """Compare what lies in the files with what ``module`` has; nothing is read but names, shapes and dtypes.

    Args:
        module: the network, also on the meta device.
        stored: where the tensors lie.
        names: every name in the files → name in ``module``.
        action: what to do when they do not fit.

    Raises:
        WeightError: tensors are missing, unexpected, of another shape or not of floating point; all are listed.
    """
    own = module.state_dict()
    given = {final: stored.tensors[name] for name, final in names.items()}
    both = sorted(set(own) & set(given))
    faults = {
        "missing": sorted(set(own) - set(given)),
        "unexpected": sorted(set(given) - set(own)),
        "of another shape": [
            f"{name} {list(given[name].shape)} instead of {list(own[name].shape)}"
            for name in both
            if given[name].shape != tuple(own[name].shape)
        ],
        "of a dtype that no parameter has": [
            f"{name} {given[name].dtype}" for name in both if given[name].dtype not in FLOATING
        ],
    }
    if any(faults.values()):
        raise WeightError(
            f"the tensors of '{stored.folder}' do not fit {type(module).__name__}",
            got="; ".join(f"{len(each)} {kind}: {shorten(each)}" for kind, each in faults.items() if each),
            accepted=f"exactly its {len(own)} tensors, as {', '.join(FLOATING)}",
            action=action,
        )


def assign(
    module: nn.Module, stored: StoredTensors, names: Mapping[str, str], convert: Callable[[str, Tensor], Tensor]
) -> None:
    """Make the stored tensors the parameters of ``module``, which was made on the meta device and which they fit.

    The files are read in their order, and each tensor is copied once, out of the mapped file: the peak is the size of
    what is loaded and of one tensor more.

    Args:
        module: the network.
        stored: where the tensors lie.
        names: every name in the files → name in ``module``.
        convert: given a name of ``module`` and the mapped tensor, makes one of its own; see :func:`as_own`.

    Raises:
        WeightError: a file cannot be read any more.
    """
    with stored.reading() as get:
        order = sorted(names, key=lambda name: stored.tensors[name].file)
        tensors = {names[name]: convert(names[name], get(name)) for name in order}
    module.load_state_dict(tensors, strict=True, assign=True)


def as_own(dtype: torch.dtype) -> Callable[[str, Tensor], Tensor]:
    """A ``convert`` that copies out of the file into ``dtype``: aligned memory that outlives the file."""
    return lambda _, tensor: tensor.to(dtype, copy=True)
