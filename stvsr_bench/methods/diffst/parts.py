"""DiffST's networks: built from the options, and filled with what there is of trained parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from stvsr_bench.core.errors import WeightError
from stvsr_bench.methods.diffst.aggregation import CFCA
from stvsr_bench.methods.diffst.checkpoint import Trained
from stvsr_bench.methods.diffst.dape import Dape, load_dape
from stvsr_bench.methods.diffst.guidance import VideoGuidance
from stvsr_bench.methods.diffst.prompt import TOKENS, load_prompt, seeded_prompt
from stvsr_bench.methods.diffst.wan import (
    TINY_TRANSFORMER,
    TINY_VAE,
    TRANSFORMER,
    VAE,
    WanVae,
    build_transformer,
    exact_parts,
)
from stvsr_bench.nn.ifnet_paper import WIDTHS
from stvsr_bench.nn.raft import empty_raft
from stvsr_bench.nn.rife4 import Rife4
from stvsr_bench.nn.seeded import seed_parameters
from stvsr_bench.weights import service
from stvsr_bench.weights.stored import assign, check_fit, find_tensors, read_json
from stvsr_bench.weights.strict import load_strict

OFFICIAL, WAN, RAM, DAPE, PROMPT = (f"diffst/{name}" for name in ("official", "wan", "ram", "dape", "prompt"))
VFI = {"ifnet_m": "rife/paper_m", "rife4": "rife/4.0"}
RIFE4_MULTIPLE = 128
"""What RIFE 4.0 pads frames to."""
PROMPT_FILE = "diffst_prompt.safetensors"
RAFT = {"raft_large": "raft/large", "raft_things": "raft/things"}

_TEXT_LAYERS = "condition_embedder.text_embedder"

TINY_DAPE: dict[str, Any] = {
    "image_size": 64,
    "width": 8,
    "depths": (1, 1, 1, 1),
    "heads": (1, 1, 2, 2),
    "window": 2,
    "features": 16,
}
TINY_TEXT = (9, int(TINY_TRANSFORMER["text_dim"]))
"""Tokens of the toy prompt, and their channels."""
TINY_GUIDANCE: dict[str, Any] = {"width": 16, "heads": 2, "text_tokens": TINY_TEXT[0], "text_dim": TINY_TEXT[1]}
TINY_FUSION: dict[str, Any] = {"psi_width": 16, "psi_blocks": 1}
TINY_IFNET = (16, 12, 8, 8)

Seeded = Callable[[nn.Module, torch.dtype, str], nn.Module]
"""Fills a network on the meta device with parameters that stand in for trained ones, seeded by a name."""


def needed_weights(cfca: Mapping[str, Any], vrg: Mapping[str, Any], trained: Trained | None) -> list[str]:
    """Ids of the published parameters that the options need.

    Args:
        cfca: the group of options.
        vrg: likewise.
        trained: a user's checkpoint, which takes the place of the official one and of the flow network that it holds.
    """
    wanted = [OFFICIAL] if trained is None else []
    wanted.append(WAN)
    if cfca["mode"] == "flow_multi" and cfca["key_flow"] in RAFT:
        wanted.append(RAFT[cfca["key_flow"]])
    held = trained is not None and bool(trained.ifnet) and cfca["vfi"] == "ifnet_m"
    if cfca["mode"] != "interp" and not held:
        wanted.append(VFI[cfca["vfi"]])
    if vrg["guidance"] != "text":
        wanted += [RAM, DAPE]
    if vrg["guidance"] != "video" and vrg["fuse"] != "infvsr":
        wanted.append(PROMPT)
    return wanted


@dataclass
class Networks:
    """All of DiffST.

    Attributes:
        cfca: aggregation, with Ψ and IFNet_m where its mode has them.
        raft: flow between keyframes; ``None`` where none is needed or IFNet_m finds it.
        dape: the keyframes' tokens; ``None`` where the guidance is text.
        guidance: makes the context.
        vae: Wan's.
        vae_config: its configuration.
        transformer: Wan's.
        prompt: ``(1, L, text_dim)``, or ``None`` where the guidance is video.
        notes: what a user should know.
    """

    cfca: CFCA
    raft: nn.Module | None
    dape: Dape | None
    guidance: VideoGuidance
    vae: Any
    vae_config: Mapping[str, Any]
    transformer: Any
    prompt: Tensor | None
    notes: list[str] = field(default_factory=list)

    @property
    def dape_size(self) -> tuple[int, int]:
        """Side of the pictures that DAPE sees, pixels, and its channels at the finest level; zeros without it."""
        if self.dape is None:
            return 0, 0
        return self.dape.image_size, int(self.dape.visual_encoder.features[0][0].out_channels)


@dataclass
class Builder:
    """Builds the networks.

    Attributes:
        cfca: options, see :data:`~stvsr_bench.methods.diffst.settings.CFCA`.
        vrg: options, see :data:`~stvsr_bench.methods.diffst.settings.VRG`.
        prompt: the text.
        tiny: at toy width.
        untrained: published parameters that are absent are seeded instead.
        trained: a checkpoint that takes the place of the official one.
        dtype: of the run.
        optimised: the form of the networks.
        seeded: see :data:`Seeded`.
    """

    cfca: Mapping[str, Any]
    vrg: Mapping[str, Any]
    prompt: str
    tiny: bool
    untrained: bool
    trained: Trained | None
    dtype: torch.dtype
    optimised: bool
    seeded: Seeded
    notes: list[str] = field(default_factory=list)

    def build(self) -> Networks:
        """Build and fill everything, on the CPU.

        Raises:
            WeightError: parameters are absent, or do not fit.
        """
        if self.trained is not None:
            self.notes.extend(self.trained.notes)
        dape = self._dape()
        guidance = self._guidance(dape)
        vae, config = self._vae()
        return Networks(
            cfca=self._cfca(),
            raft=self._raft(),
            dape=dape,
            guidance=guidance,
            vae=vae,
            vae_config=config,
            transformer=self._transformer(guidance),
            prompt=self._prompt(guidance),
            notes=self.notes,
        )

    def _has(self, weight: str) -> bool:
        """Whether published parameters are to be loaded; the service says what to do about absent ones."""
        if self.tiny:
            return False
        if not self.untrained or service.state(weight) == "present":
            return True
        self.notes.append(f"diffst: {weight} is absent; seeded parameters stand in for it")
        return False

    def _raft(self) -> nn.Module | None:
        weight = RAFT.get(self.cfca["key_flow"])
        if self.cfca["mode"] != "flow_multi" or weight is None:
            return None
        network = empty_raft()
        if self._has(weight):
            counters = {name for name, _ in network.named_buffers() if name.endswith("num_batches_tracked")}
            load_strict(network, service.load_weight(weight), allow_missing=counters)
        else:
            seed_parameters(network, "diffst", "raft")
        return network

    def _cfca(self) -> CFCA:
        trained = self.trained
        told = {} if trained is None else dict(trained.cfca_options)
        self._tell("cfca", told, self.cfca)
        options = {**self.cfca, **(TINY_FUSION if self.tiny else {}), **told}
        names = ("mode", "keep_keyframes", "prop_mode", "chain", "fb_alpha", "share_flow")
        network = CFCA(
            **{name: options[name] for name in (*names, "psi_width", "psi_blocks", "psi_groups")},
            ifnet_widths=TINY_IFNET if self.tiny else WIDTHS,
            **self._other_vfi(),
            optimised=self.optimised,
        )
        if network.ifnet is not None:
            weight, own = VFI[self.cfca["vfi"]], self.cfca["vfi"] == "ifnet_m"
            if trained is not None and trained.ifnet and own:
                load_strict(network.ifnet, trained.ifnet)
            elif self._has(weight):
                tensors = service.load_weight(weight)
                load_strict(network.ifnet, {n: t for n, t in tensors.items() if n.startswith("block") or not own})
            else:
                seed_parameters(network.ifnet, "diffst", "ifnet")
        if network.psi is not None:
            if trained is not None and trained.psi:
                load_strict(network.psi, _as_float32(trained.psi))
            elif self.tiny:  # at its start Ψ changes nothing: here it has to
                seed_parameters(network.psi, "diffst", "psi")
        return network

    def _other_vfi(self) -> dict[str, Any]:
        """What takes the place of IFNet_m, where that is asked for."""
        if self.cfca["vfi"] == "ifnet_m" or self.cfca["mode"] == "interp":
            return {}
        network = Rife4(*((TINY_IFNET, 2) if self.tiny else ()), optimised=self.optimised)
        return {"vfi": network, "vfi_multiple": RIFE4_MULTIPLE}

    def _dape(self) -> Dape | None:
        if self.vrg["guidance"] == "text":
            return None
        network = Dape(feature=self.vrg["feature"], **(TINY_DAPE if self.tiny else {}))
        if self._has(RAM) and self._has(DAPE):
            load_dape(network, service.load_weight(RAM), service.load_weight(DAPE))
        else:
            seed_parameters(network, "diffst", "dape")
        return network

    def _guidance(self, dape: Dape | None) -> VideoGuidance:
        trained = self.trained
        told = {} if trained is None else dict(trained.vrg_options)
        ours = {"fuse": "layout", "frame_pos": "frame_position"}
        given = {ours.get(name, name): value for name, value in self.vrg.items() if name != "feature"}
        self._tell("vrg", told, given)
        sizes: dict[str, Any] = dict(TINY_GUIDANCE) if self.tiny else {}
        config = TINY_TRANSFORMER if self.tiny else (trained.transformer_config if trained is not None else TRANSFORMER)
        config = config or TRANSFORMER
        sizes["hidden_dim"] = config["num_attention_heads"] * config["attention_head_dim"]
        if dape is not None:
            sizes["feature_dim"] = dape.feature_dim
            if told.get("feature_dim", dape.feature_dim) != dape.feature_dim:
                raise WeightError(
                    "the checkpoint's guidance takes other features of the keyframes",
                    got=f"{told['feature_dim']} channels, and vrg.feature={self.vrg['feature']} has {dape.feature_dim}",
                    accepted="as many",
                    action="set method.vrg.feature=raw (1536 channels) or embeds (512)",
                )
        if self.tiny and given["num_queries"] == TOKENS:
            sizes["num_queries"] = TINY_TEXT[0]
        network = VideoGuidance(**{**given, **sizes, **told})
        if trained is not None and trained.vrg:
            load_strict(network, _as_float32(trained.vrg))
        elif self.tiny:  # at its start the guidance is the prompt alone: here it has to be more
            seed_parameters(network, "diffst", "guidance")
        return network

    def _vae(self) -> tuple[Any, Mapping[str, Any]]:
        config: Mapping[str, Any] = TINY_VAE if self.tiny else VAE
        folder = service.weight_folder(WAN) / "vae" if self._has(WAN) else None
        if folder is not None:
            config = {**VAE, **read_json(folder / "config.json")}
        network: Any = WanVae.build(config, optimised=self.optimised)
        if folder is None:
            self.seeded(network, self.dtype, "vae")
        else:
            stored = find_tensors(folder)
            names = {name: name for name in stored.tensors}
            check_fit(network, stored, names)
            assign(network, stored, names, lambda _, tensor: tensor.to(self.dtype, copy=True))
        return network, config

    def _transformer(self, guidance: VideoGuidance) -> Any:
        trained = self.trained
        own = trained is not None and bool(trained.transformer)
        config: Mapping[str, Any] = TINY_TRANSFORMER if self.tiny else TRANSFORMER
        folder = service.weight_folder(WAN) / "transformer" if not own and self._has(WAN) else None
        if own and trained is not None:
            config = trained.transformer_config
        elif folder is not None:
            config = {**TRANSFORMER, **read_json(folder / "config.json")}
        skips = guidance.skips_text_layers
        network = build_transformer(config, guidance.context_dim, past_text_layers=skips)
        exact = {id(tensor) for part in exact_parts(network) for tensor in _tensors(part)}
        exact_names = {name for name, tensor in network.named_parameters() if id(tensor) in exact}

        def convert(name: str, tensor: Tensor) -> Tensor:
            return tensor.to(torch.float32 if name in exact_names else self.dtype, copy=True)

        if own and trained is not None:
            tensors = {name: convert(name, tensor) for name, tensor in trained.transformer.items()}
            load_strict(network, tensors, assign=True)
        elif folder is not None:
            stored = find_tensors(folder)
            text: nn.Module | None = None
            if skips or guidance.context_dim != config["text_dim"]:
                self.notes.append("diffst: Wan's text layers do not take this context; theirs are seeded or left out")
                text = network.condition_embedder.text_embedder
                network.condition_embedder.text_embedder = nn.Identity()
            names = {name: name for name in stored.tensors if text is None or not name.startswith(_TEXT_LAYERS)}
            check_fit(network, stored, names)
            assign(network, stored, names, convert)
            if text is not None and not skips:
                network.condition_embedder.text_embedder = self.seeded(text, self.dtype, "text_embedder")
        else:
            self.seeded(network, self.dtype, "transformer")
        return network

    def _prompt(self, guidance: VideoGuidance) -> Tensor | None:
        if not guidance.needs_text:
            return None
        tokens, text_dim = guidance.text_shape
        if self._has(PROMPT):
            file = service.weight_folder(PROMPT) / PROMPT_FILE
            return load_prompt(file, self.prompt, tokens=tokens, text_dim=text_dim)
        return seeded_prompt(self.prompt, tokens=tokens, text_dim=text_dim)

    def _tell(self, group: str, told: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        """Say which options the checkpoint decides otherwise."""
        for name, value in told.items():
            if name in given and given[name] != value:
                self.notes.append(f"diffst: the checkpoint has {group} {name} {value}, not {given[name]}")


def _tensors(part: nn.Module | Tensor) -> list[Tensor]:
    return [part] if isinstance(part, Tensor) else list(part.parameters())


def _as_float32(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.float() for name, tensor in tensors.items()}
