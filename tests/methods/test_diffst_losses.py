"""What DiffST is trained for, on motion known by hand, and the gradient's way to Ψ. Each test says what it catches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel
from torch import Tensor, nn

from stvsr_bench.core.errors import ConfigError
from stvsr_bench.methods.diffst.aggregation import CFCA
from stvsr_bench.methods.diffst.flow import KeyMotion
from stvsr_bench.methods.diffst.frames import enlarged
from stvsr_bench.methods.diffst.losses import GAMMA, Losses, consistency_loss, losses
from stvsr_bench.methods.diffst.step import OneStep, latent_scale
from stvsr_bench.methods.diffst.wan import TINY_TRANSFORMER, TINY_VAE, WanVae
from stvsr_bench.nn.seeded import seed_parameters

HEIGHT, WIDTH = 16, 32


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def moving(pairs: int, dx: float, dy: float = 0.0, height: int = HEIGHT, width: int = WIDTH) -> KeyMotion:
    """The motion of a scene that moves by (dx, dy) from each frame to the next."""
    flow = torch.tensor([dx, dy]).view(1, 2, 1, 1).repeat(pairs, 1, height, width)
    return KeyMotion(flow, -flow)


def translating(count: int, dx: int) -> Tensor:
    """``(1, T, 3, H, W)``: a random texture that moves right by dx; what comes in is new."""
    texture = drawn(3, HEIGHT, WIDTH + dx * (count - 1))
    starts = [dx * (count - 1 - i) for i in range(count)]
    return torch.stack([texture[..., start : start + WIDTH] for start in starts])[None]


def on_flat_ground(count: int, dx: int) -> Tensor:
    """``(1, T, 3, H, W)``: a textured square that moves right by dx over one colour, far from the border."""
    video = torch.full((1, count, 3, HEIGHT, WIDTH), 0.5)
    square = drawn(3, 6, 6, seed=2)
    for i in range(count):
        video[0, i, :, 5:11, 8 + dx * i : 14 + dx * i] = square
    return video


def steps(*values: float) -> Tensor:
    """``(1, T, 3, H, W)``, each frame of one value."""
    return torch.tensor(values).view(1, -1, 1, 1, 1).repeat(1, 1, 3, HEIGHT, WIDTH)


def printed(motion: KeyMotion) -> KeyMotion:
    """The flows with the superscripts of equation 10 as they are printed: those of the other direction."""
    return KeyMotion(motion.behind, motion.ahead)


# ---------------------------------------------------------------------- consistency


def test_a_translating_clip_is_consistent_and_inconsistent_by_the_printed_direction() -> None:
    """Catches a warp by the flow i+1→i as equation 10 prints it, and zeros drawn in at the border."""
    video, motion = on_flat_ground(4, 3), moving(3, 3.0)
    assert float(consistency_loss(video, motion)) < 1e-6
    assert float(consistency_loss(video, printed(motion))) > 0.01


def test_only_what_leaves_the_frame_is_inconsistent() -> None:
    """Catches a loss in the interior: with the mask nothing is left, without it exactly the border is."""
    dx, count = 3, 4
    video, motion = translating(count, dx), moving(count - 1, 3.0)
    assert float(consistency_loss(video, motion, masked=True)) < 1e-6
    first, second = video[0, :-1], video[0, 1:]
    # frame i's last columns are gone from frame i + 1, whose edge stands in for them; its first are new there
    early = (second[..., -1:] - first[..., -dx:]).abs().sum()
    late = (first[..., :1] - second[..., :dx]).abs().sum()
    expected = (early + late) / first.numel()
    torch.testing.assert_close(consistency_loss(video, motion), expected, rtol=1e-5, atol=0)
    assert float(consistency_loss(video, printed(motion), masked=True)) > 0.1


def test_directions_are_added_and_pairs_and_pixels_averaged() -> None:
    """Catches the mean of both directions (half), a sum of pairs, and squares in place of absolute values."""
    still = moving(2, 0.0)
    torch.testing.assert_close(consistency_loss(steps(0.0, 0.1, 0.4), still), torch.tensor(2 * (0.1 + 0.3) / 2))


def test_the_printed_sum_adds_up_a_clip() -> None:
    """Catches a switch that is ignored, and a sum that grows with the batch."""
    video, still = steps(0.0, 0.1, 0.4), moving(2, 0.0)
    one = consistency_loss(video, still, reduction="sum")
    torch.testing.assert_close(one, torch.tensor(2 * (0.1 + 0.3)) * 3 * HEIGHT * WIDTH)
    batch = torch.cat([video, torch.zeros_like(video)])
    torch.testing.assert_close(consistency_loss(batch, moving(4, 0.0), reduction="sum"), one / 2)


def test_motion_belongs_to_the_pairs_clip_after_clip() -> None:
    """Catches pairs that run from one clip of a batch into the next, or time before clips."""
    video = torch.cat([on_flat_ground(3, 3), on_flat_ground(3, 1)])
    both = KeyMotion(*(torch.cat(flows) for flows in zip(moving(2, 3.0)[:2], moving(2, 1.0)[:2], strict=True)))
    assert float(consistency_loss(video, both)) < 1e-6
    assert float(consistency_loss(video.flip(0), both)) > 0.01


def test_what_the_mask_leaves_out_counts_nothing() -> None:
    """Catches a mask of the wrong direction, a mean over what is left only, and own masks of ``motion`` ignored."""
    video, still = steps(0.0, 0.5), moving(1, 0.0)
    left = torch.arange(WIDTH).expand(1, 1, HEIGHT, WIDTH) < WIDTH // 4
    seen, none = still._replace(seen_ahead=left), torch.zeros_like(left)
    assert float(consistency_loss(video, seen)) == 1.0  # the switch is off
    torch.testing.assert_close(consistency_loss(video, seen, masked=True), torch.tensor(0.5 / 4 + 0.5))
    marked = steps(0.0, 0.0)
    marked[0, 0, ..., 0, 0] = 1.0  # both directions miss it; one of them is left
    for masks in ((~none, none), (none, ~none)):
        hidden = KeyMotion(*still[:2], *masks)
        expected = torch.tensor(1 / (HEIGHT * WIDTH))
        torch.testing.assert_close(consistency_loss(marked, hidden, masked=True), expected)
    conflict = KeyMotion(still.ahead + 3, still.behind + 3)  # flows that do not lead back: nothing is valid
    assert float(consistency_loss(video, conflict, masked=True)) == 0.0
    assert float(consistency_loss(video, conflict, masked=True, alpha=(10.0, 10.0))) > 0.9


def test_masks_are_used_in_their_own_direction() -> None:
    """Catches what frame i hides applied to frame i + 1."""
    first, second = steps(0.0, 0.0).unbind(1)
    second = second.clone()
    second[..., 4, 4] = 1.0
    motion = moving(1, 2.0)  # the mark comes from x = 2 of the first frame, which does not have it
    at = torch.ones(1, 1, HEIGHT, WIDTH, dtype=torch.bool)
    first_hides, second_hides = at.clone(), at.clone()
    first_hides[..., 4, 2] = False
    second_hides[..., 4, 4] = False
    video = torch.stack([first, second], 1)
    right = KeyMotion(*motion[:2], first_hides, second_hides)
    wrong = KeyMotion(*motion[:2], second_hides, first_hides)
    assert float(consistency_loss(video, right, masked=True)) < 1e-6
    assert float(consistency_loss(video, wrong, masked=True)) > 1e-3


def test_one_frame_is_consistent() -> None:
    """Catches the mean over no pair, which is not a number."""
    assert float(consistency_loss(steps(0.3), moving(0, 0.0))) == 0.0


def test_flow_gets_no_gradient() -> None:
    """Catches training that moves the true video's flow in place of the restored video."""
    flows = [flow.requires_grad_() for flow in moving(3, 2.5)[:2]]
    video = translating(4, 3).requires_grad_()
    consistency_loss(video, KeyMotion(*flows)).backward()
    assert video.grad is not None
    assert bool(video.grad.any())
    assert [flow.grad for flow in flows] == [None, None]


# ---------------------------------------------------------------------- all of them


def largest(found: Tensor, true: Tensor) -> Tensor:
    """A distance of frames that no mean over pixels gives: one value for each."""
    assert found.ndim == 4
    assert found.dtype == true.dtype == torch.float32
    return (found - true).abs().flatten(1).amax(1)


def given(**changes: Any) -> dict[str, Any]:
    return {
        "latents": drawn(2, 4, 2, 4, 4, seed=3),
        "target_latents": drawn(2, 4, 2, 4, 4, seed=4),
        "video": drawn(2, 5, 3, HEIGHT, WIDTH, seed=5),
        "target": drawn(2, 5, 3, HEIGHT, WIDTH, seed=6),
        "motion": moving(8, 0.0),
        "perceptual": largest,
        **changes,
    }


def test_each_loss_compares_its_own_pair() -> None:
    """Catches pairs exchanged, absolute errors in place of squares, and frames pooled before the perceptual mean."""
    case = given()
    found = losses(**case)
    torch.testing.assert_close(found.latent, (case["latents"] - case["target_latents"]).square().mean())
    torch.testing.assert_close(found.reconstruction, (case["video"] - case["target"]).square().mean())
    torch.testing.assert_close(found.perceptual, (case["video"] - case["target"]).abs().amax((2, 3, 4)).mean())
    torch.testing.assert_close(found.consistency, consistency_loss(case["video"], case["motion"]))


def test_a_perfect_restoration_of_a_clip_that_moves_costs_nothing() -> None:
    """Catches any of the four that does not vanish where it should."""
    video, latents = on_flat_ground(5, 2), drawn(1, 4, 2, 4, 4)
    found = losses(**given(video=video, target=video, latents=latents, target_latents=latents, motion=moving(4, 2.0)))
    assert float(found.total()) < 1e-6


def test_gamma_weighs_the_consistency_alone() -> None:
    """Catches another default, and γ on another term or on all of them."""
    terms = Losses(*torch.tensor([1.0, 10.0, 100.0, 1000.0]))
    assert GAMMA == 0.1
    assert float(terms.total()) == 211.0
    assert float(terms.total(0.5)) == 611.0
    assert float(terms.total(0.0)) == 111.0


def test_switches_reach_the_consistency() -> None:
    """Catches a switch that is accepted and not passed on."""
    case = given(motion=moving(8, 3.0))
    for switches in ({"consis_reduction": "sum"}, {"consis_mask": True}):
        changed, plain = losses(**case, **switches), losses(**case)
        assert changed.consistency != plain.consistency
        assert changed[:3] == plain[:3]


def test_targets_get_no_gradient() -> None:
    """Catches a true video or true latents that are drawn towards the restored ones."""
    case = given()
    own = [case[name].requires_grad_() for name in ("latents", "video")]
    true = [case[name].requires_grad_() for name in ("target_latents", "target")]
    losses(**case).total().backward()
    assert all(tensor.grad is not None and bool(tensor.grad.any()) for tensor in own)
    assert [tensor.grad for tensor in true] == [None, None]


def test_half_precision_is_compared_in_float32() -> None:
    """Catches sums of squares in 8 bits of mantissa."""
    case = given()
    half = {name: x.bfloat16() if isinstance(x, Tensor) else x for name, x in case.items()}
    for each, exact in zip(losses(**half), losses(**case), strict=True):
        assert each.dtype == torch.float32
        torch.testing.assert_close(each, exact, rtol=2e-3, atol=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"video": drawn(2, 1, 3, HEIGHT, WIDTH)},
        {"target_latents": drawn(1, 4, 2, 4, 4)},
        {"motion": moving(4, 0.0)},
        {"motion": moving(8, 0.0, width=WIDTH - 1)},
    ],
)
def test_tensors_of_other_shapes_are_refused(changes: dict[str, Any]) -> None:
    """Catches broadcasting, which makes a number of anything."""
    with pytest.raises(ValueError, match=r"shape|flows"):
        losses(**given(**changes))


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"max.*mean, sum"):
        consistency_loss(steps(0.0, 0.1), moving(1, 0.0), reduction="max")  # type: ignore[arg-type]


# ---------------------------------------------------------------------- the way back to Ψ


class Chain:
    """The way of training at toy width: CFCA, enlargement, frozen VAE, one step, frozen VAE, losses."""

    def __init__(self, *, optimised: bool = True) -> None:
        self.cfca = CFCA(psi_width=8, psi_blocks=1, ifnet_widths=(16, 12, 8, 8))
        torch.manual_seed(0)
        self.vae = WanVae(**TINY_VAE)
        self.vae.optimised = optimised
        self.transformer = WanTransformer3DModel(**TINY_TRANSFORMER)
        for name, network in self.networks.items():
            seed_parameters(network, "losses", name)
        assert self.cfca.psi is not None
        self.psi = self.cfca.psi
        with torch.no_grad():
            self.psi.last.weight.mul_(0.1)  # stay away from the clamp, where the gradient ends
        self.vae.requires_grad_(False)
        self.transformer.requires_grad_(False)
        self.scale = latent_scale(TINY_VAE)
        self.keyframes = drawn(2, 3, 16, 16, seed=7) * 0.4 + 0.3
        self.motions = [moving(1, 1.0, height=16, width=16)]
        self.target = drawn(1, 5, 3, 32, 32, seed=8)
        self.context = drawn(1, 6, int(TINY_TRANSFORMER["text_dim"]), seed=9)

    @property
    def networks(self) -> dict[str, nn.Module]:
        return {"cfca": self.cfca, "vae": self.vae, "transformer": self.transformer}

    def latents(self, frames: Tensor) -> Tensor:
        """Standardised latents of ``(T, 3, h, w)`` in [0, 1], φs = 2."""
        video = enlarged(frames, 2).transpose(0, 1)[None]
        return self.scale(self.vae.moments(video).chunk(2, dim=1)[0])

    def loss(self) -> Losses:
        restored = OneStep()(self.transformer, self.latents(self.cfca(self.keyframes, 4, self.motions)), self.context)
        decoded = self.vae.decode(self.scale.inverse(restored)).sample
        with torch.no_grad():
            true = self.latents(self.target[0, ..., ::2, ::2])
        return losses(
            latents=restored,
            target_latents=true,
            video=(decoded.transpose(1, 2) + 1) / 2,
            target=self.target,
            motion=moving(4, 0.5, height=32, width=32),
            perceptual=lambda found, real: (found - real).square().mean((1, 2, 3)),
        )


@pytest.mark.parametrize("term", ["latent", "reconstruction", "perceptual", "consistency", "total"])
def test_psi_gets_the_true_gradient_through_the_frozen_vae(term: str) -> None:
    """Catches an encoder, aggregation or decoder without gradient, and latents cut off in the update or before it.

    The gradient is compared with finite differences along itself, which no gradient that lacks a path would survive.
    """
    toy = Chain()

    def value() -> Tensor:
        found = toy.loss()
        return found.total() if term == "total" else getattr(found, term)

    value().backward()
    gradients = {name: p.grad for name, p in toy.psi.named_parameters()}
    assert all(g is not None and bool(g.isfinite().all()) and bool(g.any()) for g in gradients.values())
    size = torch.stack([g.square().sum() for g in gradients.values() if g is not None]).sum().sqrt()
    ends = []
    with torch.no_grad():
        for reach in (0.004, -0.008):  # there, and back beyond the start
            for name, p in toy.psi.named_parameters():
                p.add_(gradients[name], alpha=reach / float(size))
            ends.append(float(value()))
    assert (ends[0] - ends[1]) / 0.008 == pytest.approx(float(size), rel=0.01)


def test_nothing_frozen_gets_a_gradient_and_both_forms_of_the_vae_give_the_same() -> None:
    """Catches flow network, VAE or transformer trained along, and a buffer of the fast VAE that cuts the gradient."""
    found = []
    for optimised in (True, False):
        toy = Chain(optimised=optimised)
        toy.loss().total().backward()
        for network in toy.networks.values():
            own = {id(p) for p in toy.psi.parameters()}
            assert all(p.grad is None for p in network.parameters() if id(p) not in own)
        found.append([p.grad for p in toy.psi.parameters()])
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-7)
