"""Ψ of DiffST: its size, its start, where its gradient goes first, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from stvsr_bench.core.errors import ConfigError
from stvsr_bench.methods.diffst.fusion import Fusion
from stvsr_bench.nn.seeded import seed_parameters


def _three(height: int = 9, width: int = 11) -> tuple[torch.Tensor, ...]:
    return torch.rand(3, 2, 3, height, width, generator=torch.Generator().manual_seed(5)).unbind(0)


def test_parameter_count() -> None:
    """Catches another width, depth, kernel, a bias left out or a normalisation without scale."""
    with torch.device("meta"):
        psi = Fusion()
    assert sum(parameter.numel() for parameter in psi.parameters()) == 4_669_635
    assert psi.last.kernel_size == (1, 1)
    assert psi.first.weight.shape == (192, 9, 3, 3)


def test_a_fresh_one_returns_its_first_argument_to_the_bit() -> None:
    """Catches a last layer that does not start at zero, and a residual on another argument or none."""
    a, f, b = _three()
    assert torch.equal(Fusion(16, 2)(a, f, b), a)


def test_the_order_of_arguments_is_input_forward_backward() -> None:
    """Catches channels in another order than the first convolution of a checkpoint has them."""
    psi = Fusion(8, 1)
    seed_parameters(psi, "order")
    a, f, b = _three()
    before = psi(a, f, b)
    assert not torch.equal(psi(a, b, f), before)
    with torch.no_grad():
        psi.first.weight[:, 6:] = 0
        assert torch.equal(psi(a, f, b), psi(a, f, a))  # what is last no longer counts
        psi.first.weight[:, 3:6] = 0
        assert torch.equal(psi(a, f, b), psi(a, b, f))
        assert not torch.equal(psi(a, f, b), psi(f, f, b))


def test_values_stay_between_0_and_1() -> None:
    """Catches a missing clamp: the VAE gets values of a range that it never saw."""
    psi = Fusion(8, 1)
    seed_parameters(psi, "range")
    with torch.no_grad():
        psi.last.weight.mul_(20)
    out = psi(*_three())
    assert float(out.detach().min()) == 0
    assert float(out.detach().max()) == 1


def test_the_gradient_reaches_the_last_layer_first_and_then_all() -> None:
    """Catches a start that stops all gradient, for example of two zero layers in a row."""
    psi = Fusion(8, 2)
    a, f, b = (x * 0.5 + 0.25 for x in _three())  # away from the clamp
    target = b

    def step() -> dict[str, float]:
        psi.zero_grad()
        (psi(a, f, b) - target).square().mean().backward()
        found = {name: float(p.grad.abs().sum()) for name, p in psi.named_parameters() if p.grad is not None}
        with torch.no_grad():
            for parameter in psi.parameters():
                if parameter.grad is not None:
                    parameter -= 0.1 * parameter.grad
        return found

    first, second = step(), step()
    assert {name for name, size in first.items() if size > 0} == {"last.weight", "last.bias"}
    assert all(torch.isfinite(torch.tensor(size)) for size in [*first.values(), *second.values()])
    assert set(second) == {name for name, size in second.items() if size > 0} == set(psi.state_dict())


def test_half_precision_parameters_keep_the_prediction_in_float32() -> None:
    """Catches the prediction itself rounded to 8 bits of mantissa."""
    a, f, b = _three()
    psi = Fusion(8, 1).to(torch.bfloat16)
    out = psi(a, f, b)
    assert out.dtype == torch.float32
    assert torch.equal(out, a)


@pytest.mark.parametrize("sizes", [(12, 1, 8), (0, 1, 1), (8, 0, 8), (8, 1, 0)])
def test_impossible_sizes_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError, match=r"cfca\.psi.*width"):
        Fusion(*sizes)
