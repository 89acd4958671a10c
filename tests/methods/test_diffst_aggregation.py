"""DiffST's aggregation: flow sources, frames between keyframes, modes, odd input, and exact motion on the demo clips.

Each test says which fault it catches. Networks are toys or seeded; what they find is compared with other ways to the
same result, never with a recorded value.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stvsr_bench.core.errors import ConfigError
from stvsr_bench.methods.diffst import aggregation as aggregation_module
from stvsr_bench.methods.diffst import flow as flow_module
from stvsr_bench.methods.diffst.aggregation import CFCA, counted_parameters
from stvsr_bench.methods.diffst.flow import KeyMotion, MidMotion, NetworkFlow, RaftFlow, enlargement, key_motions
from stvsr_bench.methods.diffst.fusion import Fusion
from stvsr_bench.nn.ifnet_paper import IFNet
from stvsr_bench.nn.raft import empty_raft
from stvsr_bench.nn.rife4 import Rife4
from stvsr_bench.nn.seeded import seed_parameters
from stvsr_bench.nn.warp import flow_warp

TINY: dict[str, Any] = {"psi_width": 8, "psi_blocks": 1, "ifnet_widths": (8, 8, 8)}


def _cfca(*, seeded: bool = False, **knobs: Any) -> CFCA:
    """A small CFCA with a seeded flow network; ``seeded``: Ψ as well, else it is fresh."""
    cfca = CFCA(**{**TINY, **knobs}).eval()
    if cfca.ifnet is not None:
        seed_parameters(cfca.ifnet, "ifnet")
    if seeded and cfca.psi is not None:
        seed_parameters(cfca.psi, "psi")
    return cfca


def _texture(count: int, height: int, width: int, speed: float = 0.0) -> Tensor:
    """A smooth drawing that moves to the left by ``speed`` px per frame, ``(count, 3, height, width)``."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64), indexing="ij"
    )
    frames = []
    for t in range(count):
        at = x + speed * t
        planes = [torch.sin(at / (2 + c)) * torch.cos(y / (3 + c)) + torch.sin((at + 2 * y) / 4) for c in range(3)]
        frames.append(torch.stack(planes) / 4 + 0.5)
    return torch.stack(frames).float()


def _still(cfca: CFCA | NetworkFlow | RaftFlow) -> None:
    """Make a flow network find no motion: the layers that give flow are zero."""
    network = cfca.ifnet if isinstance(cfca, CFCA) else cfca.network
    assert network is not None
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lastconv" in name or "flow_head.conv2" in name:
                parameter.zero_()


class Pan:
    """Exact motion of :func:`_texture`: ``speed`` px per keyframe interval; both keyframes count by ``share``."""

    def __init__(self, speed: float, share: float | None = None) -> None:
        self.speed, self.share = speed, share
        self.calls: list[tuple[int, list[float]]] = []

    def between(self, first: Tensor, second: Tensor, pairs: Sequence[int]) -> KeyMotion:
        ahead = torch.zeros_like(first[:, :2])
        ahead[:, 0] = -self.speed
        return KeyMotion(ahead, -ahead)

    def toward(self, first: Tensor, second: Tensor, times: Tensor, pair: int) -> MidMotion:
        self.calls.append((pair, times.tolist()))
        late = times.view(-1, 1, 1, 1).expand(-1, 1, *first.shape[-2:])
        one = torch.zeros_like(first[:, :2])
        one[:, 0] = self.speed
        share = 1 - late if self.share is None else torch.full_like(late, self.share)
        return MidMotion(one * late, one * (late - 1), share)


# ---------------------------------------------------------------------- parameters


def test_parameters_that_count() -> None:
    """Catches another Ψ, another IFNet_m, or parts of it forgotten in the paper's total."""
    with torch.device("meta"):
        cfca = CFCA()
    assert counted_parameters(cfca) == {"psi": 4_669_635, "ifnet": 10_710_780}
    assert sum(parameter.numel() for parameter in cfca.psi.parameters()) == 4_669_635  # type: ignore[union-attr]
    assert sum(parameter.numel() for parameter in cfca.ifnet.parameters()) == 6_821_835  # type: ignore[union-attr]
    assert counted_parameters(_cfca(mode="flow_two")) == {"ifnet": 10_710_780}
    assert counted_parameters(_cfca(mode="interp")) == {}


def test_state_has_the_two_groups_and_no_keyframe_flow() -> None:
    """Catches a flow network saved with the model, and parts that the mode does not use."""
    cfca = _cfca()
    list(cfca.stream(_texture(2, 9, 9), 2, key_motions(_texture(2, 9, 9), Pan(0), "cpu")))
    assert {name.split(".")[0] for name in cfca.state_dict()} == {"psi", "ifnet"}
    assert not any(parameter.requires_grad for parameter in cfca.ifnet.parameters())  # type: ignore[union-attr]
    assert {name.split(".")[0] for name in _cfca(mode="flow_two").state_dict()} == {"ifnet"}
    assert not _cfca(mode="interp").state_dict()


# ---------------------------------------------------------------------- flow between keyframes


class Moved(nn.Module):
    """Stands for RAFT: notes sizes and ranges, and finds ``dx`` px everywhere, seen from its first argument."""

    def __init__(self, dx: float) -> None:
        super().__init__()
        self.dx = dx
        self.sizes: list[tuple[int, ...]] = []
        self.updates = 0

    def forward(self, first: Tensor, second: Tensor, num_flow_updates: int) -> list[Tensor]:
        self.sizes.append(tuple(first.shape[-2:]))
        self.updates = num_flow_updates
        assert float(first.min()) >= -1
        assert float(first.min()) < -0.2  # [-1, 1], not [0, 1]
        flow = torch.zeros(len(first), 2, *first.shape[-2:])
        flow[:, 0] = self.dx * torch.sign((first - second).mean((1, 2, 3))).view(-1, 1, 1)
        return [torch.full_like(flow, 99.0), flow]


@pytest.mark.parametrize(
    ("size", "factor", "inner"),
    [
        ((180, 320), 1, (184, 320)),
        ((80, 160), 2, (160, 320)),
        ((127, 200), 2, (256, 400)),
        ((128, 129), 1, (128, 136)),
        ((5, 7), 26, (136, 184)),
        ((1, 1), 128, (128, 128)),
    ],
)
def test_raft_gets_sizes_that_it_takes(size: tuple[int, int], factor: int, inner: tuple[int, int]) -> None:
    """Catches another factor, sides that are no multiples of 8, flow that is not divided back or cut, 12 updates."""
    network = Moved(6.0)
    frames = torch.stack([torch.full((3, *size), 0.3), torch.full((3, *size), 0.2)])
    assert enlargement(*size) == factor
    motion = RaftFlow(network).between(frames[:1], frames[1:], [0])
    assert network.sizes == [inner]
    assert network.updates == 20
    assert motion.ahead.shape == motion.behind.shape == (1, 2, *size)
    torch.testing.assert_close(motion.ahead[:, 0], torch.full((1, *size), 6.0 / factor))
    torch.testing.assert_close(motion.behind[:, 0], torch.full((1, *size), -6.0 / factor))
    assert not motion.ahead[:, 1].any()


def test_raft_is_cut_where_it_was_extended() -> None:
    """Catches padding cut on the other side: flow would be shifted by up to 7 px."""

    class Positions(nn.Module):
        def forward(self, first: Tensor, second: Tensor, num_flow_updates: int) -> list[Tensor]:
            return [first[:, :2]]  # the «flow» shows the pixel itself

    frames = _texture(2, 131, 133)
    motion = RaftFlow(Positions()).between(frames[:1], frames[1:], [0])
    torch.testing.assert_close(motion.ahead, 2 * frames[:1, :2] - 1)
    torch.testing.assert_close(motion.behind, 2 * frames[1:, :2] - 1)


def test_raft_itself_runs_on_frames_below_its_minimum_in_both_forms() -> None:
    """Catches sizes that the real network refuses, and forms that have come apart."""
    network = empty_raft()
    seed_parameters(network, "raft")
    frames = _texture(3, 21, 25, 1.5)
    one, plain = (
        key_motions(frames, RaftFlow(network, updates=2, optimised=optimised), "cpu") for optimised in (True, False)
    )
    assert len(one) == 2
    for a, b in zip(one, plain, strict=True):
        assert a.ahead.shape == (1, 2, 21, 25)
        assert a.seen_ahead is None
        assert float((a.ahead - a.behind).abs().max()) > 1e-3
        torch.testing.assert_close(a.ahead, b.ahead, rtol=0, atol=1e-3)
        torch.testing.assert_close(a.behind, b.behind, rtol=0, atol=1e-3)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not network.training


def test_key_motions_do_not_depend_on_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches pairs lost, doubled or misnumbered where a batch ends."""

    class Numbers:
        def between(self, first: Tensor, second: Tensor, pairs: Sequence[int]) -> KeyMotion:
            assert len(first) == len(second) == len(pairs)
            number = torch.tensor(list(pairs)).view(-1, 1, 1, 1).expand(-1, 2, *first.shape[-2:]).float()
            return KeyMotion(first[:, :2] + number, second[:, :2], number[:, :1] > 2, number[:, :1] > 3)

    frames = _texture(8, 4, 5, 1)
    for pixels in (1, 40, 60, 10**6):
        monkeypatch.setattr(flow_module, "KEY_PIXELS", pixels)
        motions = key_motions(frames, Numbers(), "cpu")
        assert len(motions) == 7
        for m, motion in enumerate(motions):
            assert torch.equal(motion.ahead, frames[m : m + 1, :2] + m)
            assert torch.equal(motion.behind, frames[m + 1 : m + 2, :2])
            assert motion.seen_ahead is not None
            assert motion.seen_behind is not None
            assert bool(motion.seen_ahead.all()) == (m > 2)
            assert bool(motion.seen_behind.all()) == (m > 3)


class TimedFlow(nn.Module):
    """Stands for IFNet_m: knows a pan of 8 px, and leaves a mark on padding."""

    def forward(self, pair: Tensor, time: Tensor, *, refine: bool) -> SimpleNamespace:
        assert not refine
        flow = torch.zeros(len(pair), 4, *pair.shape[-2:])
        flow[:, 0] = 8 * time.view(-1, 1, 1)
        flow[:, 2] = -8 * (1 - time.view(-1, 1, 1))
        flow[:, 1] = 50.0 * (pair.sum(1) == 0)
        return SimpleNamespace(flow=flow, logit=torch.zeros_like(flow[:, :1]))


def test_end_points_of_the_interpolating_network_are_keyframe_flow() -> None:
    """Catches τ or channels of the two ends exchanged (flow would be zero)."""
    frames = _texture(2, 20, 33, 8)
    motion = NetworkFlow(TimedFlow()).between(frames[:1], frames[1:], [0])
    assert torch.equal(motion.ahead[:, 0], torch.full((1, 20, 33), -8.0))
    assert torch.equal(motion.behind[:, 0], torch.full((1, 20, 33), 8.0))


@pytest.mark.parametrize("size", [(32, 64), (20, 33), (1, 1)])
def test_the_interpolating_network_gets_multiples_of_32_padded_at_the_right_and_bottom(size: tuple[int, int]) -> None:
    """Catches padding on another side or of another kind, and flow cut elsewhere than the frame was padded."""
    seen: list[Tensor] = []

    class Look(TimedFlow):
        def forward(self, pair: Tensor, time: Tensor, *, refine: bool) -> SimpleNamespace:
            seen.append(pair)
            return super().forward(pair, time, refine=refine)

    frames = _texture(2, *size, 1) * 0.5 + 0.4
    motion = NetworkFlow(Look()).toward(frames[:1], frames[1:], torch.tensor([0.25]), 0)
    height, width = seen[0].shape[-2:]
    assert (height % 32, width % 32) == (0, 0)
    assert height - size[0] < 32
    assert width - size[1] < 32
    assert torch.equal(seen[0][..., : size[0], : size[1]], torch.cat([frames[:1], frames[1:]], 1))
    assert not seen[0][..., size[0] :, :].any()
    assert not seen[0][..., size[1] :].any()
    assert not motion.to_first[:, 1].any()  # nothing of the padding
    assert torch.equal(motion.to_first[:, 0], torch.full((1, *size), 2.0))
    assert torch.equal(motion.to_second[:, 0], torch.full((1, *size), -6.0))
    assert torch.equal(motion.share, torch.full((1, 1, *size), 0.5))


def test_flow_is_found_in_float32_whatever_surrounds_it() -> None:
    """Catches flow rounded to 8 bits of mantissa where the surroundings run in bfloat16."""
    frames = _texture(2, 21, 25, 1.5)
    raft = empty_raft()
    seed_parameters(raft, "raft")
    for source in (RaftFlow(raft, updates=1), _cfca().flow):
        assert source is not None
        expected = source.between(frames[:1], frames[1:], [0])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = source.between(frames[:1], frames[1:], [0])
        assert torch.equal(found.ahead, expected.ahead)
        assert torch.equal(found.behind, expected.behind)


# ---------------------------------------------------------------------- frames between


@pytest.mark.parametrize("mode", ["interp", "flow_two", "flow_multi"])
@pytest.mark.parametrize("backend", ["raft", "ifnet", "exact"])
def test_a_static_clip_comes_out_as_it_went_in(mode: str, backend: str) -> None:
    """Catches frames shifted by padding, cutting, enlargement or grids, and weights that do not sum to one.

    The networks are real, at an odd size; their last layers are zero, so that they find no motion.
    """
    cfca = _cfca(mode=mode)
    if cfca.ifnet is not None:
        _still(cfca)
    frame = torch.rand(1, 3, 19, 23, generator=torch.Generator().manual_seed(1))
    keyframes = frame.repeat(3, 1, 1, 1)
    source: Any = Pan(0.0)
    if backend == "raft":
        source = RaftFlow(empty_raft(), updates=2)
        _still(source)
    elif backend == "ifnet" and cfca.flow is not None:
        source = cfca.flow
    motions = key_motions(keyframes, source, "cpu")
    assert float(torch.cat([m.ahead for m in motions]).abs().max()) == 0
    out = cfca(keyframes, 4, motions, source if backend == "exact" else None)
    torch.testing.assert_close(out, frame.expand(9, -1, -1, -1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("seeded", [False, True])
def test_keyframes_are_kept_to_the_bit(seeded: bool) -> None:
    """Catches keyframes that went through a warp, Ψ or a clamp."""
    keyframes = _texture(4, 17, 23, 2)
    out = _cfca(seeded=seeded)(keyframes, 4, key_motions(keyframes, Pan(2), "cpu"))
    assert torch.equal(out[::4], keyframes)


def test_a_fresh_fusion_is_two_frame_interpolation() -> None:
    """Catches Ψ that starts elsewhere, or that gets the videos in another order: row «Flow (Two)» of table 2."""
    keyframes = _texture(4, 17, 23, 2)
    two, multi = _cfca(mode="flow_two"), _cfca()
    motions = key_motions(keyframes, multi.flow, "cpu")  # type: ignore[arg-type]
    expected = two(keyframes, 4)
    # three videos in a batch may round otherwise than one
    torch.testing.assert_close(multi(keyframes, 4, motions), expected, rtol=0, atol=1e-5)
    for other in (_cfca(seeded=True)(keyframes, 4, motions), _cfca(mode="interp")(keyframes, 4)):
        assert float((other - expected).detach().abs().max()) > 1e-2


@pytest.mark.parametrize("time_scale", [2, 3, 4, 5])
def test_a_pan_with_exact_flow_is_the_frame_moved_by_its_time(time_scale: int) -> None:
    """Catches τ counted from the wrong side, flows or keyframes exchanged, the wrong sign, and frames out of order.

    All three videos are interpolated and each must show the moved frame where nothing left the view.
    """
    frames = _texture(2 * time_scale + 1, 24, 64, 2)  # 2 px per frame: every sample is a pixel
    keyframes = frames[::time_scale]
    speed = 2.0 * time_scale
    exact = Pan(speed)
    motions = key_motions(keyframes, exact, "cpu")
    cfca = _cfca()
    out = cfca(keyframes, time_scale, motions, exact)
    assert len(out) == len(frames)
    edge = (..., slice(int(speed), -int(speed)))
    torch.testing.assert_close(out[edge], frames[edge], rtol=0, atol=1e-4)
    videos = torch.stack(list(cfca.propagation.videos(keyframes, motions, keyframes.device)))
    for video in videos.unbind(1):
        moved = _cfca(mode="flow_two")(video, time_scale, mid_flow=exact)
        torch.testing.assert_close(moved[edge], frames[edge], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("share", "side"), [(1.0, 0), (0.0, 1)])
def test_the_share_picks_a_side(share: float, side: int) -> None:
    """Catches S and 1 - S exchanged, and borders that are not repeated."""
    keyframes = _texture(2, 16, 32, 0) * torch.tensor([1.0, 0.25]).view(2, 1, 1, 1)
    exact = Pan(4.0, share)
    middle = _cfca(mode="flow_two")(keyframes, 2, mid_flow=exact)[1:2]
    flow = torch.zeros(1, 2, 16, 32)
    flow[:, 0] = 2.0 if side == 0 else -2.0
    expected = flow_warp(keyframes[side : side + 1], flow, padding="border")
    torch.testing.assert_close(middle, expected, rtol=0, atol=1e-6)
    assert float(middle[..., -1].min()) > 0.01  # black would come in with zeros


def test_linear_blending_weighs_by_time() -> None:
    """Catches weights exchanged in mode interp."""
    keyframes = torch.stack([torch.zeros(3, 4, 5), torch.ones(3, 4, 5)])
    assert CFCA(mode="interp")(keyframes, 4)[:, 0, 0, 0].tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_every_video_has_its_own_flow_unless_it_is_shared() -> None:
    """Catches the switch ignored in either position."""
    keyframes = torch.rand(3, 3, 33, 40, generator=torch.Generator().manual_seed(2))
    calls: list[int] = []
    exact = Pan(0)  # so that the backward video is the last keyframe: another one than the input
    own, shared = _cfca(seeded=True), _cfca(seeded=True, share_flow=True)
    motions = key_motions(keyframes, exact, "cpu")
    results = []
    for cfca in (own, shared):
        assert cfca.ifnet is not None
        with torch.no_grad():
            for block in (cfca.ifnet.block0, cfca.ifnet.block1, cfca.ifnet.block2):
                block.lastconv.weight.mul_(8)
        cfca.ifnet.register_forward_pre_hook(lambda _, given: calls.append(len(given[0])))
        results.append(cfca(keyframes, 4, motions))
        calls.append(-1)
    assert calls == [9, 9, -1, 3, 3, -1]
    assert not torch.allclose(*results, atol=1e-4)
    same = [cfca(keyframes, 4, motions, exact) for cfca in (own, shared)]
    torch.testing.assert_close(*same)  # one motion for all three: sharing changes nothing


def test_rife_4_takes_the_place_of_ifnet_m() -> None:
    """Catches an interface that only one network fits: the switch ``cfca.vfi``."""
    keyframes = _texture(2, 33, 70, 3)
    network = Rife4((8, 8, 8, 8), 4)
    seed_parameters(network, "rife4")
    cfca = _cfca(mode="flow_two", vfi=network, vfi_multiple=64)
    out = cfca(keyframes, 4)
    padded = torch.nn.functional.pad(keyframes.flatten(0, 1)[None], (0, 58, 0, 31))
    found = network(padded, torch.tensor([0.5]), refine=False)
    first, second = (flow_warp(keyframes[i : i + 1], found.flow[:, 2 * i : 2 * i + 2, :33, :70]) for i in (0, 1))
    share = torch.sigmoid(found.logit)[..., :33, :70]
    expected = (share * first + (1 - share) * second).clamp(0, 1)
    torch.testing.assert_close(out[2:3], expected, rtol=0, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in cfca.parameters())
    assert counted_parameters(cfca) == {"ifnet": sum(parameter.numel() for parameter in network.parameters())}


@pytest.mark.parametrize("share_flow", [False, True])
def test_batches_and_the_plain_form_give_the_same(monkeypatch: pytest.MonkeyPatch, share_flow: bool) -> None:
    """Catches videos and times mixed up where a batch ends: one at a time is the reference."""
    keyframes = _texture(3, 21, 40, 3)
    knobs = {"seeded": True, "share_flow": share_flow}
    motions = key_motions(keyframes, _cfca().flow, "cpu")  # type: ignore[arg-type]
    plain = _cfca(optimised=False, **knobs)(keyframes, 4, motions)
    for pixels in (1, 1700, 10**6):
        monkeypatch.setattr(aggregation_module, "MID_PIXELS", pixels)
        monkeypatch.setattr(aggregation_module, "FUSION_PIXELS", pixels)
        torch.testing.assert_close(_cfca(**knobs)(keyframes, 4, motions), plain, rtol=0, atol=1e-5)


def test_a_clip_is_its_pairs() -> None:
    """Catches pairs that influence each other where nothing is propagated."""
    keyframes = _texture(4, 20, 33, 2)
    cfca = _cfca(mode="flow_two")
    whole = cfca(keyframes, 3)
    for m in range(3):
        assert torch.equal(cfca(keyframes[m : m + 2], 3), whole[3 * m : 3 * m + 4])


def test_frames_are_made_when_they_are_asked_for() -> None:
    """Catches a stream that computes the whole clip first: pairs come in order, one at a time, at their τ."""
    keyframes = _texture(4, 8, 8, 1)
    exact = Pan(1)
    stream = _cfca().stream(keyframes, 4, key_motions(keyframes, exact, "cpu"), exact)
    sizes = []
    for block in stream:
        sizes.append(len(block))
        assert len({pair for pair, _ in exact.calls}) == sum(size == 3 for size in sizes)
    assert sizes == [1, 3, 1, 3, 1, 3, 1]
    assert [pair for pair, _ in exact.calls] == [0, 1, 2]
    assert {tuple(times) for _, times in exact.calls} == {(0.25, 0.5, 0.75) * 3}


def test_fused_keyframes_change_only_where_there_are_three_videos() -> None:
    """Catches the switch ignored, or applied where there is nothing to fuse."""
    keyframes = _texture(3, 16, 24, 2)
    motions = key_motions(keyframes, Pan(2), "cpu")
    kept, fused = (_cfca(seeded=True, keep_keyframes=keep) for keep in (True, False))
    one, other = kept(keyframes, 2, motions), fused(keyframes, 2, motions)
    assert torch.equal(one[1::2], other[1::2])
    assert not torch.equal(one[::2], other[::2])
    assert fused.psi is not None
    videos = list(fused.propagation.videos(keyframes, motions, keyframes.device))
    assert torch.equal(other[2:3], fused.psi(*videos[1].unsqueeze(1).unbind(0)))
    assert torch.equal(_cfca(keep_keyframes=False)(keyframes, 2, motions)[::2], keyframes)  # a fresh Ψ
    two = _cfca(mode="flow_two", keep_keyframes=False)
    assert torch.equal(two(keyframes, 2)[::2], keyframes)


# ---------------------------------------------------------------------- training


def test_a_step_changes_frames_between_keyframes_only() -> None:
    """Catches gradient stopped on its way to Ψ, gradient into frozen parts, and Ψ applied to keyframes."""
    keyframes = _texture(3, 16, 24, 2)
    cfca = _cfca()
    assert cfca.psi is not None
    motions = key_motions(keyframes, cfca.flow, "cpu")  # type: ignore[arg-type]
    optimiser = torch.optim.SGD([p for p in cfca.parameters() if p.requires_grad], lr=1.0)
    before = cfca(keyframes, 4, motions)
    (before - 0.3).square().mean().backward()
    gradients = {name: p.grad for name, p in cfca.named_parameters() if p.grad is not None}
    assert all(name.startswith("psi.") and bool(torch.isfinite(grad).all()) for name, grad in gradients.items())
    assert {name for name, grad in gradients.items() if bool(grad.any())} == {"psi.last.weight", "psi.last.bias"}
    optimiser.step()
    after = cfca(keyframes, 4, motions)
    changed = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert changed == [False, True, True, True, False, True, True, True, False]


# ---------------------------------------------------------------------- odd input


@pytest.mark.parametrize("mode", ["interp", "flow_two", "flow_multi"])
@pytest.mark.parametrize("keep", [True, False])
def test_one_keyframe_is_returned_as_it_is(mode: str, keep: bool) -> None:
    """Catches a neighbour that is not there: n = 1 skips aggregation."""
    keyframes = _texture(1, 9, 7)
    assert torch.equal(_cfca(mode=mode, keep_keyframes=keep, seeded=True)(keyframes, 4), keyframes)
    assert key_motions(keyframes, Pan(1), "cpu") == []


@pytest.mark.parametrize("mode", ["interp", "flow_two", "flow_multi"])
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("time_scale", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (33, 65)])
def test_counts_and_sizes(mode: str, count: int, time_scale: int, size: tuple[int, int]) -> None:
    """Catches factors and sizes that only work for the usual ones."""
    keyframes = _texture(count, *size, 1)
    cfca = _cfca(mode=mode, seeded=True)
    source = NetworkFlow(IFNet((8, 8, 8), timed=True, refine=False))
    out = cfca(keyframes, time_scale, key_motions(keyframes, source, "cpu"))
    assert out.shape == (time_scale * (count - 1) + 1, 3, *size)
    assert out.dtype == torch.float32
    assert torch.equal(out[::time_scale], keyframes)
    out = out.detach()
    assert bool(torch.isfinite(out).all())
    assert 0 <= float(out.min()) <= float(out.max()) <= 1


@pytest.mark.parametrize(
    ("knobs", "names"),
    [
        ({"mode": "flow_three"}, r"cfca\.mode.*flow_two"),
        ({"prop_mode": "mean"}, r"cfca\.prop_mode.*fuse"),
        ({"fb_alpha": (0.01,)}, r"cfca\.fb_alpha"),
        ({"fb_alpha": (-0.01, 0.5)}, r"cfca\.fb_alpha"),
        ({"fb_alpha": (0.01, float("nan"))}, r"cfca\.fb_alpha"),
        ({"psi_width": 12}, r"cfca\.psi"),
    ],
)
def test_wrong_knobs_are_refused(knobs: dict[str, Any], names: str) -> None:
    with pytest.raises(ConfigError, match=names):
        CFCA(**{**TINY, **knobs})


def test_missing_motions_are_refused() -> None:
    """Catches propagation that stops early in silence."""
    keyframes = _texture(3, 8, 8)
    motions = key_motions(keyframes, Pan(1), "cpu")
    for wrong in (None, motions[:1], [*motions, motions[0]]):
        with pytest.raises(ValueError, match="3 keyframes need 2 motions"):
            _cfca()(keyframes, 2, wrong)
    with pytest.raises(ValueError, match="φt 0"):
        _cfca()(keyframes, 0, motions)


# ---------------------------------------------------------------------- exact motion of the demo clips


@pytest.fixture(scope="module")
def measure() -> Callable[..., Any]:
    """The measurement of ``benchmarks/cfca_oracle.py``."""
    script = Path(__file__).resolve().parents[2] / "benchmarks" / "cfca_oracle.py"
    found: Callable[..., Any] = runpy.run_path(str(script))["measure"]
    return found


@pytest.mark.parametrize("clip", ["astronaut", "chelsea", "coffee", "rocket"])
def test_exact_motion_beats_linear_blending(measure: Callable[..., Any], clip: str) -> None:
    """Catches whatever toy motion does not show: rotation, parallax, acceleration, occlusion, sub-pixel motion.

    Two pairs of keyframes of each demo clip at LQ size; the whole clips and their own size are measured by the script.
    """
    row = measure(clip, frames=9, time_scale=4, reduction=4)
    print(f"{clip}: linear {row.linear:.2f} dB, aggregated {row.aggregated:.2f} dB, gain {row.gain:.2f} dB")
    assert row.gain > 8  # 2 dB are asked for; more than 10 are measured
    assert min(row.forward, row.backward) > row.linear + 2  # and each propagated video alone


def test_a_seeded_fusion_is_another() -> None:
    """Guards the tests above: seeding makes Ψ differ from a fresh one, also in its last layer."""
    psi = Fusion(8, 1)
    seed_parameters(psi, "psi")
    assert bool(psi.last.weight.any())
