"""DiffST's video guidance: keyframes, the start at the prompt, permutation, layouts, and what a checkpoint tells."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from stvsr_bench.core.errors import ConfigError, MethodError, WeightError
from stvsr_bench.methods.diffst.guidance import VideoGuidance, guidance_settings, keyframe_indices
from stvsr_bench.weights.strict import load_strict

TINY: dict[str, Any] = {
    "num_queries": 6,
    "width": 16,
    "heads": 4,
    "feature_dim": 16,
    "keyframes": 3,
    "text_dim": 24,
    "text_tokens": 6,
    "hidden_dim": 20,
}
"""As the paper's with few channels; no two widths are equal where the paper's differ."""
VALID = [
    (layout, guidance)
    for layout in ("channel", "token", "direct", "infvsr")
    for guidance in ("text", "video", "video_text")
    if layout != "infvsr" or guidance == "video"
]


def tiny(**changes: Any) -> VideoGuidance:
    torch.manual_seed(0)
    return VideoGuidance(**{**TINY, **changes})


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def parameters(**settings: Any) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in VideoGuidance(**settings).parameters())


FEATURES, PROMPT = drawn(2, 3, 5, 16), drawn(1, 6, 24, seed=2)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (1, [0, 0, 0, 0, 0]),
        (2, [0, 0, 1, 1, 1]),
        (5, [0, 1, 2, 3, 4]),
        (9, [0, 2, 4, 6, 8]),
        (12, [0, 3, 6, 8, 11]),
        (33, [0, 8, 16, 24, 32]),
    ],
)
def test_keyframes(frames: int, expected: list[int]) -> None:
    """Catches Python's round (2 frames: 0.5 becomes 0), truncation (12 frames: 2.75 becomes 2), and a missing end."""
    assert keyframe_indices(frames) == expected


def test_keyframes_are_the_rounded_line() -> None:
    for frames in range(1, 200):
        line = torch.linspace(0, frames - 1, 5, dtype=torch.float64)
        assert keyframe_indices(frames) == (line + 0.5).floor().int().tolist()
    assert keyframe_indices(7, 1) == [0]
    for frames, count in ((0, 5), (5, 0)):
        with pytest.raises(MethodError, match="at least 1"):
            keyframe_indices(frames, count)


def test_parameter_counts() -> None:
    """Catches another number of queries, a missing bias, a second projector layer, attention of another width."""
    with torch.device("meta"):
        full = VideoGuidance()
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in full.named_children()}
    assert counts == {"attention": 1_050_624, "projector": 18_878_464}
    assert full.queries.numel() == 262_144
    assert parameters() == 1_050_624 + 262_144 + 18_878_464
    assert parameters(layout="token", num_queries=64) == 19_965_952
    assert parameters(guidance="text") == 0
    assert parameters(layout="infvsr", guidance="video") == 1_050_624 + 262_144
    assert parameters(layout="direct") == 1_050_624 + 262_144 + 1536 * 4608 + 1536
    assert parameters(guidance="video") == 1_050_624 + 262_144 + 4096 * 513
    assert parameters(frame_position=True) == parameters() + 5 * 512


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_context_starts_as_the_prompt(dtype: torch.dtype) -> None:
    """Catches a projector that starts at random, and e_v and e_t joined in the other order."""
    context = tiny().to(dtype)(100 * FEATURES, PROMPT.to(dtype))
    assert torch.equal(context, PROMPT.to(dtype).expand(2, -1, -1))


def test_the_token_layout_starts_as_empty_tokens_and_the_prompt() -> None:
    """Catches a lift that starts at random, and the prompt ahead of the video."""
    context = tiny(layout="token", num_queries=4)(FEATURES, PROMPT)
    assert torch.equal(context[:, :4], torch.zeros(2, 4, 24))
    assert torch.equal(context[:, 4:], PROMPT.expand(2, -1, -1))


@pytest.mark.parametrize("layout", ["channel", "token"])
def test_the_gradient_reaches_the_video_side(layout: str) -> None:
    """Catches a start from which the video side can never be learned (both factors of its path zero)."""
    vrg = tiny(layout=layout)
    goal = drawn(2, 12 if layout == "token" else 6, 24, seed=5)
    entry = vrg.lift.weight if layout == "token" else vrg.projector.weight
    optimiser = torch.optim.SGD(vrg.parameters(), 0.1)
    (vrg(FEATURES, PROMPT) - goal).square().mean().backward()
    assert entry.grad is not None
    assert entry.grad[:, :16].abs().max() > 1e-4
    assert vrg.queries.grad is not None
    assert vrg.queries.grad.abs().max() == 0  # the block behind them is still zero
    optimiser.step()
    optimiser.zero_grad()
    (vrg(FEATURES, PROMPT) - goal).square().mean().backward()
    for name, parameter in vrg.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_the_projector_adds_what_the_queries_found() -> None:
    """Catches an e_v block that reads other columns than the first ones, or the prompt twice."""
    vrg = tiny()
    with torch.no_grad():
        vrg.projector.weight[:, :16] = drawn(24, 16, seed=7)
    found = vrg(FEATURES, PROMPT) - PROMPT
    torch.testing.assert_close(found, vrg.look(FEATURES) @ vrg.projector.weight[:, :16].T)


def test_attention_by_hand() -> None:
    """Catches keys and queries in each other's place, another number of heads, tokens of one keyframe only."""
    vrg = tiny(layout="infvsr", guidance="video")
    with torch.no_grad():
        vrg.attention.in_proj_bias.copy_(drawn(48, seed=8))
    wq, wk, wv = vrg.attention.in_proj_weight.chunk(3)
    bq, bk, bv = vrg.attention.in_proj_bias.chunk(3)
    tokens = FEATURES.flatten(1, 2)
    q, k, v = vrg.queries @ wq.T + bq, tokens @ wk.T + bk, tokens @ wv.T + bv
    heads = []
    for part in range(4):
        some = slice(4 * part, 4 * part + 4)
        share = torch.softmax(q[:, some] @ k[..., some].transpose(1, 2) / 4**0.5, -1)
        heads.append(share @ v[..., some])
    expected = torch.cat(heads, -1) @ vrg.attention.out_proj.weight.T + vrg.attention.out_proj.bias
    torch.testing.assert_close(vrg(FEATURES, None), expected)


def test_the_order_of_keyframes_matters_only_with_positions() -> None:
    """Catches a position that equation 6 has not, and a learned one that is not added."""
    turned = FEATURES[:, [2, 0, 1]]
    vrg = tiny()
    torch.testing.assert_close(vrg.look(FEATURES), vrg.look(turned), rtol=0, atol=1e-6)
    placed = tiny(frame_position=True)
    assert torch.equal(placed.look(FEATURES), vrg.look(FEATURES))  # zero at the start
    assert placed.frame_position is not None
    with torch.no_grad():
        placed.frame_position.copy_(drawn(3, 16, seed=9))
    assert (placed.look(FEATURES) - placed.look(turned)).abs().max() > 1e-3


@pytest.mark.parametrize(("layout", "guidance"), VALID)
def test_layouts_and_guidances(layout: str, guidance: str) -> None:
    """Catches a context of other channels than it announces, and a side that the guidance has not but that is read."""
    vrg = tiny(layout=layout, guidance=guidance)
    context = vrg(FEATURES if vrg.needs_video else None, PROMPT if vrg.needs_text else None)
    assert (vrg.needs_video, vrg.needs_text) == (guidance != "text", guidance != "video")
    channels = {"infvsr": 16, "direct": 20}.get(layout, 24) if guidance != "text" else 24
    assert vrg.context_dim == channels
    tokens = 12 if (layout, guidance) == ("token", "video_text") else 6
    assert context.shape == (1 if guidance == "text" else 2, tokens, channels)
    assert vrg.skips_text_layers == (layout == "direct" and guidance != "text")
    assert torch.equal(context, vrg(FEATURES, PROMPT))
    assert (guidance == "text") == (not list(vrg.parameters()))
    if guidance == "video":
        assert context.std() > 1e-3  # an ordinary start: there is no text path to keep


def test_raw_features_of_another_width() -> None:
    """Catches attention whose keys are bound to the width of its queries."""
    vrg = tiny(feature_dim=40, frame_position=True)
    assert vrg(drawn(1, 3, 5, 40), PROMPT).shape == (1, 6, 24)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"layout": "tokens"}, "no such layout"),
        ({"guidance": "both"}, "no such guidance"),
        ({"layout": "infvsr"}, "no place for text"),
        ({"layout": "infvsr", "guidance": "text"}, "no place for text"),
        ({"num_queries": 5}, "6 queries"),
        ({"layout": "direct", "num_queries": 5}, "6 queries"),
        ({"layout": "token", "num_queries": 0}, "needs queries"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        tiny(**settings)


@pytest.mark.parametrize(
    ("features", "prompt", "complaint"),
    [
        (None, PROMPT, "tokens of the keyframes"),
        (FEATURES[:, :2], PROMPT, "tokens of the keyframes"),
        (FEATURES[..., :8], PROMPT, "tokens of the keyframes"),
        (FEATURES, None, "prompt's embedding"),
        (FEATURES, PROMPT[:, :5], "prompt's embedding"),
        (FEATURES, PROMPT[..., :8], "prompt's embedding"),
    ],
)
def test_inputs_that_do_not_fit(features: Tensor | None, prompt: Tensor | None, complaint: str) -> None:
    with pytest.raises(MethodError, match=complaint):
        tiny()(features, prompt)


@pytest.mark.parametrize("position", [False, True])
@pytest.mark.parametrize(("layout", "guidance"), VALID)
def test_a_checkpoint_tells_its_settings(layout: str, guidance: str, position: bool) -> None:
    """Catches a layout that is taken for another one, and a size that is not read from the shapes."""
    for feature_dim in (16, 40):
        vrg = tiny(layout=layout, guidance=guidance, feature_dim=feature_dim, frame_position=position)
        told = guidance_settings(vrg.state_dict(), text_dim=24)
        again = {"layout": layout, "guidance": guidance, "num_queries": 6, "width": 16, "feature_dim": feature_dim}
        again |= {"frame_position": position, "keyframes": 3, "text_dim": 24, "hidden_dim": 20}
        assert told.items() <= again.items()
        if layout != "token" or guidance == "text":
            assert told["guidance"] == guidance
        built = VideoGuidance(**{"heads": 4, "text_tokens": 6, **({"keyframes": 3} | told)})
        load_strict(built, vrg.state_dict())


@pytest.mark.parametrize(
    "change",
    [
        {"queries": None},
        {"queries": (6,)},
        {"projector.weight": (24, 30)},
        {"lift.weight": (23, 16)},
        {"projector.weight": (24,)},
        {"frame_position": (3,)},
    ],
)
def test_shapes_of_no_layout_are_refused(change: dict[str, tuple[int, ...] | None]) -> None:
    tensors = dict(tiny().state_dict())
    for name, shape in change.items():
        tensors.pop(name, None)
        if shape is not None:
            tensors[name] = torch.zeros(shape)
    with pytest.raises(WeightError, match="no known layout"):
        guidance_settings(tensors, text_dim=24)
