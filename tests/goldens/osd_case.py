"""One case of the OSDEnhancer golden set: its description, inputs and parameters, wherever the parameters lie."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

INDEX = "diffusion_pytorch_model.safetensors.index.json"


@dataclass(frozen=True)
class Case:
    """What one folder of the golden set asks.

    Attributes:
        folder: where it lies; ``checkpoint`` is below it where the case has a folder in the official layout.
        config: its ``config.json``.
        inputs: the given tensors by name.
        weights: the parameters under their official names. A whole pipeline's start with ``transformer.`` and
            ``vae.``, and ``prompt_embedding`` stands beside them, whichever way they are stored.
    """

    folder: Path
    config: dict[str, Any]
    inputs: dict[str, Tensor]
    weights: dict[str, Tensor]

    @property
    def name(self) -> str:
        """The folder's name, for messages only."""
        return self.folder.name

    @property
    def kind(self) -> str:
        """What is under test: ``preproc``, ``transformer``, ``drb``, ``vae`` or ``pipeline``."""
        return str(self.config["spec"]["kind"])

    @property
    def checkpoint(self) -> Path | None:
        """The folder in the official layout, where the case has one."""
        folder = self.folder / "ckpt"
        return folder if folder.is_dir() else None

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The parameters below ``prefix``, with the prefix (and its dot) taken off."""
        start = f"{prefix}."
        return {name.removeprefix(start): tensor for name, tensor in self.weights.items() if name.startswith(start)}

    def expected(self) -> dict[str, Tensor]:
        """The reference's results by name."""
        return load_file(self.folder / "outputs.safetensors")


def load(folder: Path) -> Case:
    """Read the case in ``folder``."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    single = folder / "weights.safetensors"
    if single.is_file():
        weights = load_file(single)
    elif (folder / "ckpt").is_dir():
        weights = _official(folder / "ckpt")
    else:
        weights = {}
    return Case(folder, config, load_file(folder / "inputs.safetensors"), weights)


def cases(folder: Path) -> list[Path]:
    """Every case of the set, in the order of their names."""
    return sorted(path.parent for path in folder.glob("*/config.json"))


def _official(folder: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for part in ("transformer", "vae"):
        for file in _files(folder / part):
            weights |= {f"{part}.{name}": tensor for name, tensor in load_file(file).items()}
    return weights | dict(load_file(folder / "prompt_embeddings" / "empty.safetensors"))


def _files(folder: Path) -> list[Path]:
    """The files that the index names, or the one file there is."""
    if not (folder / INDEX).is_file():
        return [folder / "diffusion_pytorch_model.safetensors"]
    index: Mapping[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    return [folder / name for name in sorted(set(index["weight_map"].values()))]
