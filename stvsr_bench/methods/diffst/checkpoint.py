"""Trained parameters of DiffST: a file or folder becomes named groups of tensors, each explained or refused.

No official checkpoint exists yet. What one will probably look like is known from the same group's other releases: a
state dict of the transformer under Wan's own names (InfVSR), or a folder in the layout of diffusers (DOVE).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stvsr_bench.core.errors import WeightError
from stvsr_bench.methods.diffst.recognise import (
    diffusers_names,
    fusion_options,
    guidance_options,
    ifnet_tensors,
    transformer_settings,
)
from stvsr_bench.weights.readers import RawFile, read_raw
from stvsr_bench.weights.stored import StoredTensors, find_tensors, opened, read_json
from stvsr_bench.weights.strict import shorten

TRANSFORMER, PSI, IFNET, VRG = GROUPS = ("transformer.", "cfca.psi.", "cfca.ifnet.", "vrg.")
"""First parts of names in a state dict of everything that was trained, and of the flow network."""
SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt")
"""Files of a folder that are read."""
ENTRIES = ("state_dict", "model", "module", "params")
"""Where a checkpoint of training keeps its state dict, among other things."""

_WRAPPED = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod)\.")
"""What parallel training and compiling put into names, anywhere."""
_FRONT = re.compile(r"^(?:model\.)*(?:diffusion_model\.)?")
_PLAIN = re.compile(
    r"^(patch_embedding|text_embedding|time_embedding|time_projection|condition_embedder|blocks|head|proj_out"
    r"|scale_shift_table)(\.|$)"
)
"""Names of the transformer, by diffusers and by Wan."""
_LEFT_ALONE = ("vae", "text_encoder", "tokenizer", "scheduler")
"""Folders of diffusers' layout that are not read: the VAE is frozen, and the prompt is embedded once for all."""
_DTYPES = (torch.bfloat16, torch.float16, torch.float32)


@dataclass(frozen=True)
class Trained:
    """What a checkpoint holds. A group that it lacks is empty.

    Attributes:
        path: the file or folder.
        files: everything that was read, for its identity.
        transformer: tensors under diffusers' names, in their own dtype, mapped into memory where the file allows it.
        transformer_config: of ``WanTransformer3DModel``.
        psi: Ψ, float32.
        ifnet: the three blocks of IFNet_m, float32.
        vrg: the guidance, float32.
        cfca_options: options of the group ``cfca`` that the tensors fix.
        vrg_options: arguments of ``VideoGuidance`` that they fix.
        notes: what a user should know.
    """

    path: Path
    files: tuple[Path, ...]
    transformer: Mapping[str, Tensor]
    transformer_config: Mapping[str, Any]
    psi: Mapping[str, Tensor]
    ifnet: Mapping[str, Tensor]
    vrg: Mapping[str, Tensor]
    cfca_options: Mapping[str, Any] = field(default_factory=dict)
    vrg_options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def lacking(self) -> tuple[str, ...]:
        """The groups that the paper trains and that are not here."""
        held = {TRANSFORMER: self.transformer, PSI: self.psi, VRG: self.vrg}
        return tuple(group for group, tensors in held.items() if not tensors)


def open_trained(path: Path) -> Trained:
    """Read a checkpoint and tell what it is. Whether every tensor fits is left to the strict loading.

    Args:
        path: a ``.safetensors`` file, or another one that torch reads as tensors only, with a state dict: the groups
            :data:`GROUPS`, or the transformer alone under the names of diffusers or Wan. Or a folder of such files,
            in which ``transformer/`` may be in the layout of diffusers.

    Raises:
        WeightError: there is nothing to read, or something that cannot be explained; what, is listed.
    """
    located = _located(path)
    tensors: dict[str, Tensor] = {}
    if located.transformer is not None:
        stored = located.transformer
        with stored.reading() as get:
            tensors = _named(stored.folder, {name: get(name) for name in stored.tensors}, TRANSFORMER)
    for file in located.loose:
        read = _named(file, _state_dict(file))
        twice = sorted(set(read) & set(tensors))
        if twice:
            raise WeightError(
                f"'{file}' holds tensors that another file holds, too",
                got=f"{len(twice)}: {shorten(twice)}",
                action="keep one of the files there, or name a single one",
            )
        tensors |= read
    if not tensors:
        raise WeightError(
            f"'{path}' holds no parameters", accepted=f"transformer/, or a file that ends in {', '.join(SUFFIXES)}"
        )
    return _explained(path, located, tensors)


def checkpoint_files(path: Path) -> list[Path]:
    """Return the files that :func:`open_trained` reads, without reading a tensor.

    Raises:
        WeightError: ``path`` does not exist, or a folder of diffusers' layout is incomplete or damaged.
    """
    return list(_located(path).files)


# ---------------------------------------------------------------------- what lies there


@dataclass(frozen=True)
class _Located:
    """Files of a checkpoint: the folder ``transformer/``, the transformer's configuration, and all other files."""

    transformer: StoredTensors | None
    config: Path | None
    loose: tuple[Path, ...]
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        stored = self.transformer
        inside = [] if stored is None else [*stored.files, *sorted(stored.folder.glob("*.safetensors.index.json"))]
        return (*inside, *([] if self.config is None else [self.config]), *self.loose)


def _located(path: Path) -> _Located:
    if path.is_file():
        return _Located(None, None, (path,))
    if not path.is_dir():
        raise WeightError(
            "the checkpoint does not exist",
            got=f"'{path}'",
            accepted="a file with a state dict, or a folder with transformer/",
            action="correct method.checkpoint",
        )
    listed = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    folders = {entry.name for entry in listed if entry.is_dir()}
    strange = [name for name in sorted(folders - {"transformer", *_LEFT_ALONE}) if _holds_tensors(path / name)]
    if strange:
        raise WeightError(
            f"'{path}' has folders of parameters that no part of DiffST explains",
            got=shorten([f"{name}/" for name in strange]),
            accepted="transformer/, and a state dict of the other groups beside it",
        )
    home = path / "transformer" if "transformer" in folders else path
    stored = find_tensors(home) if home is not path else None
    config = home / "config.json"
    notes = [] if stored is None else list(stored.notes)
    notes += [
        f"left alone: {name}/ of the checkpoint"
        for name in _LEFT_ALONE
        if name in folders and _holds_tensors(path / name)
    ]
    loose = tuple(entry for entry in listed if entry.suffix in SUFFIXES and entry.is_file())
    return _Located(stored, config if config.is_file() else None, loose, tuple(notes))


def _holds_tensors(folder: Path) -> bool:
    return any(entry.suffix in (*SUFFIXES, ".bin") for entry in folder.iterdir())


def _state_dict(file: Path) -> Mapping[str, Tensor]:
    """The named tensors of a file, out of the entry in which a checkpoint of training keeps them."""
    if file.suffix == ".safetensors":
        with opened(file) as handle:
            return {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    loaded: Mapping[str, Any] = read_raw("torch", [RawFile(str(file), file)])
    inner: dict[str, Mapping[str, Tensor]] = {name: value for name, value in loaded.items() if _all_tensors(value)}
    if len(inner) == 1 and (name := next(iter(inner))) in ENTRIES:
        return inner[name]
    if not _all_tensors(loaded):
        wrong = sorted(str(name) for name, value in loaded.items() if not isinstance(value, Tensor))
        raise WeightError(
            f"'{file}' holds more than one state dict" if len(inner) > 1 else f"'{file}' holds no plain state dict",
            got=shorten(sorted(map(str, inner)) if len(inner) > 1 else wrong) or "nothing",
            accepted=f"named tensors only, or one state dict as {', '.join(ENTRIES)}",
            action="write what is to be used into a file of its own",
        )
    return loaded


def _all_tensors(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items())
    )


def _named(source: Path, tensors: Mapping[str, Tensor], group: str = "") -> dict[str, Tensor]:
    """Put the tensors of ``source`` under the names of :data:`GROUPS`; a bare name belongs to ``group``.

    Raises:
        WeightError: two get one name, or a tensor is of a dtype that no trained parameter has (a quantised one, whose
            scale is elsewhere, would otherwise be taken at its face value).
    """
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        short = _FRONT.sub("", _WRAPPED.sub("", name))
        if not short.startswith(GROUPS):
            short = f"{TRANSFORMER if _PLAIN.match(short) else group}{short}"
        if short in named:
            raise WeightError(f"'{source}': two tensors get one name", got=f"{short}, of which one is called {name}")
        if tensor.dtype not in _DTYPES:
            raise WeightError(
                f"'{source}' holds parameters that are quantised, or none",
                got=f"{name} {tensor.dtype}",
                accepted=", ".join(map(str, _DTYPES)),
            )
        named[short] = tensor
    return named


# ---------------------------------------------------------------------- what it is


def _explained(path: Path, located: _Located, tensors: Mapping[str, Tensor]) -> Trained:
    foreign = sorted(name for name in tensors if not name.startswith(GROUPS))
    if foreign:
        raise WeightError(
            f"'{path}' holds tensors that no part of DiffST explains",
            got=f"{len(foreign)}: {shorten(foreign)}",
            accepted=f"names that begin with {', '.join(GROUPS)}, or those of Wan's transformer",
            action="if this is an official release, please report its names: a rule for them is then added",
        )
    groups = {
        group: {name.removeprefix(group): tensor for name, tensor in tensors.items() if name.startswith(group)}
        for group in GROUPS
    }
    transformer = diffusers_names(path, groups[TRANSFORMER])
    config: dict[str, Any] = {} if located.config is None else read_json(located.config)
    settings = transformer_settings(path, transformer, config) if transformer else {}
    small = {group: {name: tensor.float() for name, tensor in groups[group].items()} for group in (PSI, IFNET, VRG)}
    return Trained(
        path=path,
        files=located.files,
        transformer=transformer,
        transformer_config=settings,
        psi=small[PSI],
        ifnet=ifnet_tensors(path, small[IFNET]),
        vrg=small[VRG],
        cfca_options=fusion_options(path, small[PSI]),
        vrg_options=guidance_options(path, small[VRG], settings),
        notes=located.notes,
    )
