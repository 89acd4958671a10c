"""Golden values of the video metrics: DOVER and FasterVQA, at toy width and, with recipe weights, at full width."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from functools import cache
from typing import Any

import numpy as np
import torch
from metric_claims import Claim, Golden
from torch import nn

from stvsr_bench.metrics.batch import FrameBatch
from stvsr_bench.metrics.clip_views import ClipView, FragmentView, Sampler, SmallView
from stvsr_bench.metrics.dover.metric import aesthetic_indices, technical_indices
from stvsr_bench.metrics.dover.network import DoverNetwork
from stvsr_bench.metrics.fastervqa import FasterVqaNetwork, cli_indices, dataset_indices
from stvsr_bench.metrics.functional import video_quality as quality
from stvsr_bench.metrics.functional.fragments import fragment_offsets
from stvsr_bench.weights.strict import load_strict

ALIGNED = {"technical": 32, "fastervqa": 8}
SAMPLERS: dict[str, Sampler] = {
    "technical": technical_indices,
    "aesthetic": aesthetic_indices,
    "fastervqa": dataset_indices,
}
PARTS = {
    "technical": ("technical_backbone", "technical_head"),
    "aesthetic": ("aesthetic_backbone", "aesthetic_head"),
    "fastervqa": ("fragments_backbone", "vqa_head"),
}
CPU = torch.device("cpu")


def _clip(golden: Golden) -> torch.Tensor:
    return golden.clip(golden.expected["vqa"]["input"])


@cache
def _view(golden: Golden, name: str) -> torch.Tensor:
    """A view as the metrics make it, from batches of five frames, but with the recorded frames and offsets."""
    clip, expected = _clip(golden), golden.expected["vqa"]
    view = _recorded(name, expected["indices"][name], clip)
    if isinstance(view, FragmentView):
        view.offsets = torch.tensor(expected["fragment_offsets"][f"{name}_h_w"])
    return _filled(view, clip)


def _recorded(name: str, indices: list[int], clip: torch.Tensor) -> ClipView:
    def sampler(count: int, rng: np.random.RandomState) -> tuple[int, ...]:
        return tuple(indices)

    if name == "aesthetic":
        return SmallView(name, "golden", len(clip), sampler, antialias=True, device=CPU)
    size = (clip.shape[2], clip.shape[3])
    return FragmentView(
        name, "golden", len(clip), sampler, size=size, aligned=ALIGNED[name], grid="reference", device=CPU
    )


def _filled(view: ClipView, clip: torch.Tensor) -> torch.Tensor:
    for start in range(0, len(clip), 5):
        part = clip[start : start + 5]
        view.observe(FrameBatch(part, None, range(start, start + len(part))), start)
    return view.pixels


def _sha256(view: torch.Tensor) -> str:
    return hashlib.sha256(view.contiguous().numpy().tobytes()).hexdigest()


def _resized_sha256(golden: Golden, view: torch.Tensor, expected: str) -> str:
    """The hash of a view that interpolation made; by the README it holds only for the set's own version of torch."""
    made_with, here = (version.split("+")[0] for version in (golden.expected["meta"]["torch"], torch.__version__))
    return _sha256(view) if made_with == here else expected


# -------------------------------------------------------------------------------------------- sampling and views


def _size(golden: Golden, match: re.Match[str]) -> list[int]:
    return list(_clip(golden).shape[2:])


def _normalisation(golden: Golden, match: re.Match[str]) -> list[float]:
    """The constants as they come out of what they do to 0 and 255."""
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(1, 2, 1, 1).expand(3, -1, -1, -1)
    low, high = quality.normalise_view(ends)[0, :, :, 0, 0].double().unbind(1)
    deviation = 255 / (high - low)
    return (-low * deviation if match[1] == "mean" else deviation).tolist()


def _indices(golden: Golden, match: re.Match[str]) -> list[int]:
    rng = np.random.RandomState(golden.expected["meta"]["seed"])
    return list(SAMPLERS[match[1]](len(_clip(golden)), rng))


def _offsets(golden: Golden, match: re.Match[str]) -> Any:
    name, expected = match[1], golden.expected["vqa"]
    blocks = len(expected["indices"][name]) // ALIGNED[name]
    seed = golden.expected["meta"]["seed"] + (name == "fastervqa")
    height, width = expected["size"]
    return fragment_offsets(height, width, blocks, torch.Generator().manual_seed(seed)).tolist()


def _view_hash(golden: Golden, match: re.Match[str]) -> str:
    return _sha256(_view(golden, match[1]))


def _aesthetic_view(golden: Golden, match: re.Match[str]) -> dict[str, Any]:
    view, expected = _view(golden, "aesthetic"), golden.expected["vqa"]["aesthetic_view"]["sha256"]
    return {
        "dtype": str(view.dtype),
        "sha256": _resized_sha256(golden, view, expected),
        "mean": view.double().mean((1, 2, 3)).tolist(),
    }


def _fallback(golden: Golden, match: re.Match[str]) -> dict[str, Any]:
    """Frames with a side below 224, the grid laid on the size before."""
    expected = golden.expected["vqa"]["fallback_upsample"]
    words = re.fullmatch(r"(\S+) frame (\d+) repeated 32 times", expected["clip"])
    assert words is not None
    still = golden.clip(words[1])[int(words[2])].expand(32, -1, -1, -1)
    view = _filled(_recorded("technical", list(range(32)), still), still)
    return {"sha256": _resized_sha256(golden, view, expected["sha256"]), "mean": float(view.double().mean())}


def _index_table(golden: Golden, match: re.Match[str]) -> dict[str, list[int]]:
    rng, count = np.random.RandomState(0), int(match[1])
    return {
        "dover_technical(32,3,2)": list(technical_indices(count, rng)),
        "dover_aesthetic(1,32,2,1)": list(aesthetic_indices(count, rng)),
        "fastervqa_dataset(4,8,2,1)": list(dataset_indices(count, rng)),
        "fastervqa_cli_SampleFrames(32)": list(cli_indices(count, rng)),
    }


# -------------------------------------------------------------------------------------------- networks


def recipe(key: str, shape: tuple[int, ...], seed: int = 1234) -> torch.Tensor:
    """Weights by the recipe of the set's README."""
    a = np.random.RandomState((zlib.crc32(key.encode()) + seed) % 2**32).standard_normal(shape).astype(np.float32)
    if "bias_table" in key:
        a = np.float32(0.5) * a
    elif key.endswith("gamma"):
        a = np.float32(0.3) * a
    elif len(shape) == 1:
        a = np.float32(1) + np.float32(0.1) * a if key.endswith("weight") else np.float32(0.1) * a
    else:
        a = a * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    return torch.from_numpy(a.astype(np.float16).astype(np.float32))


def _tiny(golden: Golden) -> list[nn.Module]:
    stored = [golden.weights(f"vqa_tiny_{name}") for name in ("technical", "aesthetic", "fastervqa")]
    for tensors in stored:  # what makes the full width is what made these
        assert all(torch.equal(recipe(key, tuple(value.shape)), value) for key, value in tensors.items())
    dim = len(stored[0]["technical_backbone.patch_embed.proj.weight"])
    return [_loaded(DoverNetwork(dim), stored[0] | stored[1]), _loaded(FasterVqaNetwork(dim), stored[2])]


def _full(golden: Golden) -> list[nn.Module]:
    keys = json.loads((golden.folder / "state_dict_keys.json").read_text())
    networks: list[nn.Module] = []
    for network, name in ((DoverNetwork(), "DOVER.pth"), (FasterVqaNetwork(), "FAST_VQA_3D_1_1.pth[state_dict]")):
        own = {key: [str(value.dtype)[6:], list(value.shape)] for key, value in network.state_dict().items()}
        assert own == keys[name]
        tensors = {key: recipe(key, tuple(shape)) for key, (dtype, shape) in keys[name].items() if dtype == "float32"}
        networks.append(_loaded(network, tensors))
    return networks


def _loaded(network: nn.Module, tensors: dict[str, torch.Tensor]) -> nn.Module:
    load_strict(network, tensors, allow_missing=[name for name, _ in network.named_buffers()])
    return network.eval()


@cache
@torch.inference_mode()
def _forward(golden: Golden, width: str) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Features and score map of each network."""
    dover, fastervqa = _tiny(golden) if width.startswith("tiny") else _full(golden)
    found = {}
    for name, (trunk, head) in PARTS.items():
        network = fastervqa if name == "fastervqa" else dover
        clips = golden.expected["vqa"][width][f"{name}_feat"]["shape"][0]
        views = torch.split(_view(golden, name), 32, dim=1)[:clips]
        features = torch.cat([network.get_submodule(trunk)(quality.normalise_view(view)) for view in views])
        found[name] = features, network.get_submodule(head)(features)
    return found


def _summary(golden: Golden, match: re.Match[str]) -> dict[str, Any]:
    features, scores = _forward(golden, match[1])[match[2]]
    values = features if match[3] == "feat" else scores
    return {
        "shape": list(values.shape),
        "mean": float(values.mean()),
        "std": float(values.std()),
        "first8": values.flatten()[:8].tolist(),
    }


def _raw(golden: Golden, match: re.Match[str]) -> float:
    return float(_forward(golden, match[1])[match[2]][1].mean())


def _fused(golden: Golden, match: re.Match[str]) -> float:
    """From the set's own raw scores: these are compared above, and a sigmoid of ours would hide or swell the rest."""
    raw = golden.expected["vqa"][match[1]]
    logit = quality.fused_logit(raw["technical_raw"], raw["aesthetic_raw"])
    return logit if match[2] == "fused_logit" else quality.sigmoid(logit)


def _rescaled(golden: Golden, match: re.Match[str]) -> float:
    return quality.sigmoid(quality.fastervqa_logit(golden.expected["vqa"][match[1]]["fastervqa_raw"]))


def _fusion_table(golden: Golden, match: re.Match[str]) -> list[dict[str, float]]:
    return [
        {
            "technical": row["technical"],
            "aesthetic": row["aesthetic"],
            "overall": quality.sigmoid(quality.fused_logit(row["technical"], row["aesthetic"])),
            "technical_only": quality.sigmoid(quality.technical_logit(row["technical"])),
            "aesthetic_only": quality.sigmoid(quality.aesthetic_logit(row["aesthetic"])),
        }
        for row in golden.expected["fusion_table"]
    ]


def _network(value: float) -> float:
    return 2e-5 + 2e-5 * abs(value)


def _formula(value: float) -> float:
    return 1e-9 * abs(value)


_WIDTH = r"vqa/(tiny_width\d+|full_width\d+_recipe)"
_NAME = "(technical|aesthetic|fastervqa)"

CLAIMS: list[Claim] = [
    Claim(r"vqa/size", _size, 0),
    Claim(r"vqa/(mean|std)", _normalisation, 1e-4),
    Claim(rf"vqa/indices/{_NAME}", _indices, 0),
    Claim(r"vqa/fragment_offsets/(technical|fastervqa)_h_w", _offsets, 0),
    Claim(r"vqa/view_sha256_uint8_CTHW/(technical|fastervqa)", _view_hash, 0),
    Claim(r"vqa/aesthetic_view", _aesthetic_view, 1e-3),
    Claim(r"vqa/fallback_upsample", _fallback, 1e-3),
    Claim(r"vqa_frame_indices_numpy_seed0/(\d+)", _index_table, 0),
    Claim(rf"{_WIDTH}/{_NAME}_raw", _raw, _network),
    Claim(rf"{_WIDTH}/{_NAME}_(feat|score_map)", _summary, _network),
    Claim(rf"{_WIDTH}/(fused_logit|fused)", _fused, _formula),
    Claim(rf"{_WIDTH}/fastervqa_rescaled", _rescaled, _formula),
    Claim(r"fusion_table", _fusion_table, _formula),
]
