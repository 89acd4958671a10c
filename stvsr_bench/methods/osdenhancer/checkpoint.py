"""The official checkpoint folder: ``transformer/ vae/ scheduler/ prompt_embeddings/``, opened and loaded strictly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from stvsr_bench.core.errors import ConfigError, WeightError
from stvsr_bench.methods.osdenhancer.configs import Configs
from stvsr_bench.methods.osdenhancer.texture import (
    WRAPPED,
    TextureCheck,
    adding_texture,
    check_texture,
    texture_pairs,
)
from stvsr_bench.methods.osdenhancer.transformer_config import TransformerConfig
from stvsr_bench.methods.osdenhancer.vae import VaeConfig
from stvsr_bench.weights.stored import StoredTensors, as_own, assign, check_fit, find_tensors, read_json
from stvsr_bench.weights.strict import shorten

CONFIGS = ("transformer/config.json", "vae/config.json", "scheduler/scheduler_config.json")
PROMPT = "prompt_embeddings/empty.safetensors"
PROMPT_KEY = "prompt_embedding"

Positive = Annotated[int, Field(ge=1)]
DcnWeights = Literal["rounded", "float32"]

_NEWER = "take the folder that upstream published on 2026-06-25 or later, whole"
_OLD = (
    "these look like the files from before 2026-06-25, whose LoRA names and VAE configuration were wrong: download the "
    "files of 2026-06-25 or later"
)


class _Schema(BaseModel):
    """Types and ranges in a configuration; other keys are left to the class that reads it."""

    model_config = ConfigDict(extra="ignore", strict=True)


class _Vae(_Schema):
    block_out_channels: list[Positive]
    latent_channels: Positive
    layers_per_block: Positive
    norm_num_groups: Positive
    sample_height: Positive
    sample_width: Positive
    scaling_factor: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    temporal_compression_ratio: float = 4


class _Scheduler(_Schema):
    num_train_timesteps: Annotated[int, Field(ge=400)]  # the one step is from timestep 399
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"]
    beta_start: Annotated[float, Field(gt=0, lt=1)]
    beta_end: Annotated[float, Field(gt=0, lt=1)]
    prediction_type: Literal["v_prediction"]
    rescale_betas_zero_snr: bool
    snr_shift_scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    trained_betas: list[float] | None = None


@dataclass(frozen=True)
class Checkpoint:
    """An official folder whose configurations are read and whose tensors are located; none of them is loaded yet.

    Attributes:
        folder: where it lies.
        configs: of transformer, VAE and scheduler, as the files say; unknown keys are still among them.
        transformer: the transformer's tensors by their official names, among them the inert ones of the TE LoRA.
        vae: the VAE's tensors.
    """

    folder: Path
    configs: Configs
    transformer: StoredTensors
    vae: StoredTensors

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about the folder: files that were left alone."""
        return (*self.transformer.notes, *self.vae.notes)

    @property
    def files(self) -> tuple[str, ...]:
        """The files that decide what is computed, relative to the folder: no stale shard, no README."""
        parts = (self.transformer, self.vae)
        used = [file for part in parts for file in (*part.files, *part.folder.glob("*.safetensors.index.json"))]
        return tuple(sorted({*CONFIGS, PROMPT, *(file.relative_to(self.folder).as_posix() for file in used)}))

    def load_transformer(
        self, network: nn.Module, dtype: torch.dtype, *, apply_te: bool = False, device: torch.device | str = "cpu"
    ) -> TextureCheck:
        """Give the transformer, made on the meta device, its parameters.

        The TE LoRA's own tensors are left out, as the official forward leaves them out.

        Args:
            network: ``STVSRTransformer.from_config(configs.transformer)`` under ``torch.device("meta")``.
            dtype: of the run; bfloat16 loses nothing of the official files.
            apply_te: add the TE LoRA to the base weights, once: for a release found not to hold it. It moves pixels.
            device: where the check of the TE LoRA computes; the parameters stay on the CPU.

        Returns:
            The check of the TE LoRA; its ``text`` belongs into the run's notes.

        Raises:
            WeightError: a tensor is missing, unexpected, of another shape or of no floating point.
            ConfigError: ``apply_te``, although the base weights hold the TE LoRA already, or there is none.
        """
        pairs, rest = texture_pairs(self.transformer)
        names = own_names(rest.tensors)
        own = network.state_dict()
        old = any("lora" in name.lower() for name in names.values() if name not in own)
        check_fit(network, rest, names, action=_OLD if old else _NEWER)
        check = check_texture(self.transformer, device)
        if apply_te and check.outcome in ("merged", "absent"):
            raise ConfigError(
                "apply_te=true: the TE LoRA cannot be added to the base weights",
                got=check.text,
                accepted="apply_te=false, which is what the official code computes",
            )
        with self.transformer.reading() as get:
            assign(network, rest, names, adding_texture(get, pairs, dtype) if apply_te else as_own(dtype))
        return check

    def load_vae(self, vae: nn.Module, dtype: torch.dtype, *, dcn_weights: DcnWeights = "rounded") -> None:
        """Give the VAE, made on the meta device, its parameters; those of the deformable convolutions are float32.

        Args:
            vae: ``STVSRVae.from_config(configs.vae)`` under ``torch.device("meta")``.
            dtype: of everything else.
            dcn_weights: ``rounded`` to ``dtype`` first, as the official code does by its order of casts, or the stored
                ``float32`` values.

        Raises:
            WeightError: a tensor is missing, unexpected, of another shape or of no floating point.
        """
        plain = as_own(dtype)

        def convert(name: str, tensor: Tensor) -> Tensor:
            if ".dcn_pack." not in name:
                return plain(name, tensor)
            rounded = tensor.to(dtype) if dcn_weights == "rounded" else tensor
            return rounded.to(torch.float32, copy=True)

        names = {name: name for name in self.vae.tensors}
        check_fit(vae, self.vae, names, action=_OLD)
        assign(vae, self.vae, names, convert)

    def load_prompt(self, dtype: torch.dtype) -> Tensor:
        """Return the embedding of the empty prompt ``[1, L, text_embed_dim]`` (officially L = 226) in ``dtype``.

        Raises:
            WeightError: the file is damaged, or holds another tensor.
        """
        file = self.folder / PROMPT
        stored = find_tensors(file.parent, file.stem)
        width = self.configs.transformer["text_embed_dim"]
        found = stored.tensors.get(PROMPT_KEY)
        if found is None or len(found.shape) != 2 or found.shape[0] < 1 or found.shape[1] != width:
            raise WeightError(
                f"'{file}' holds no prompt embedding that fits the transformer",
                got="; ".join(f"{name} {list(each.shape)}" for name, each in stored.tensors.items()) or "no tensor",
                accepted=f"{PROMPT_KEY} [tokens, {width}]",
                action=_NEWER,
            )
        with stored.reading() as get:
            return get(PROMPT_KEY).to(dtype, copy=True)[None]


def open_checkpoint(folder: Path) -> Checkpoint:
    """Open an official folder: read its configurations, locate its tensors.

    Args:
        folder: with ``transformer/``, ``vae/``, ``scheduler/`` and ``prompt_embeddings/``.

    Raises:
        WeightError: a file is absent or damaged, or a configuration makes no sense.
    """
    absent = [name for name in (*CONFIGS, PROMPT) if not (folder / name).is_file()]
    if absent:
        raise WeightError(
            f"'{folder}' is no OSDEnhancer checkpoint" if folder.is_dir() else f"there is no folder '{folder}'",
            got=f"no {shorten(absent)}" if folder.is_dir() else None,
            accepted="a folder with transformer/, vae/, scheduler/ and prompt_embeddings/, as on the hub",
        )
    configs = Configs(*(_config(folder / name) for name in CONFIGS))
    _checked(folder / CONFIGS[0], TransformerConfig.of, configs.transformer)
    _checked(folder / CONFIGS[1], _Vae.model_validate, configs.vae)
    _checked(folder / CONFIGS[1], VaeConfig.of, configs.vae)
    _checked(folder / CONFIGS[2], _Scheduler.model_validate, configs.scheduler)
    return Checkpoint(folder, configs, find_tensors(folder / "transformer"), find_tensors(folder / "vae"))


def _config(file: Path) -> dict[str, Any]:
    """A configuration without what only says who wrote it."""
    return {key: value for key, value in read_json(file).items() if not key.startswith("_")}


def _checked(file: Path, check: Callable[[Mapping[str, Any]], object], config: Mapping[str, Any]) -> None:
    """Run ``check``; what it complains of is told as a fault of ``file``."""
    try:
        check(config)
    except ConfigError as error:
        raise WeightError(f"'{file}': {error.what}", got=error.got, accepted=error.accepted, action=_NEWER) from error
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise WeightError(f"'{file}' makes no sense", got=shorten(faults), action=_NEWER) from error


def own_names(official: Iterable[str]) -> dict[str, str]:
    """Map official names of the transformer, without the TE LoRA's, to those of ``STVSRTransformer``.

    A wrapped layer stands as ``X.base_layer.weight`` or as ``X.weight``, but not as both.

    Raises:
        WeightError: a layer stands in both forms.
    """
    names = {}
    for name in official:
        layer, marker, rest = name.partition(".base_layer.")
        names[name] = f"{layer}.{rest}" if marker and WRAPPED.fullmatch(layer) else name
    twice = sorted(final for final, count in Counter(names.values()).items() if count > 1)
    if twice:
        raise WeightError(
            "layers of the transformer stand twice in the checkpoint, with and without 'base_layer'",
            got=shorten(twice),
            accepted="one form for each layer",
            action=_NEWER,
        )
    return names
