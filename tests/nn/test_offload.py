"""Parameters that wait in host memory: what is on the device when, and that nothing shows in the output.

Where there is no accelerator, the device is the CPU with real copies, so that pointing at a copy and back is exercised.
"""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stvsr_bench.nn.offload import ARENA_BYTES, BlockStream, Shelf, Transfer, tensors_of
from stvsr_bench.nn.residency import MODES, Mode, Part, Residency

DEVICES = [
    torch.device("cpu"),
    pytest.param(
        torch.device("cuda"),
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
    ),
]


class Counting(Transfer):
    """Makes real copies and knows how many bytes of them live."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device, copies=True)
        self.live = 0
        self.most = 0
        self.brought = 0

    def bring(self, tensors: list[Tensor]) -> list[Tensor]:  # type: ignore[override]
        out = super().bring(tensors)
        for tensor in out:
            size = tensor.nbytes
            self.live += size
            self.brought += size
            self.most = max(self.most, self.live)
            weakref.finalize(tensor.untyped_storage(), self._gone, size)
        return out

    def _gone(self, size: int) -> None:
        self.live -= size


class Late(Transfer):
    """A device that computes long after it was told to: notes copies that are freed before they were used."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device, copies=True)
        self.marks = self.over = 0
        self.too_early = 0

    def start(self, tensors: list[Tensor]) -> tuple[list[Tensor], Any]:  # type: ignore[override]
        copies, used = self.bring(tensors), {"until": 0}
        weakref.finalize(copies[0].untyped_storage(), self._freed, used)
        return copies, used

    def arrived(self, event: Any) -> None:
        event["until"] = self.marks + 1

    def mark(self) -> Any:
        self.marks += 1
        return self.marks

    def passed(self, event: Any) -> None:
        self.over = max(self.over, event)

    def _freed(self, used: dict[str, int]) -> None:
        self.too_early += used["until"] > self.over


class Chain(nn.Module):
    def __init__(self, depth: int = 5, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(depth))
        self.register_buffer("shift", torch.linspace(0, 1, width), persistent=False)
        self.order: list[int] = list(range(depth))
        self.fail_at: int | None = None

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x) + self.shift
        for number in self.order:
            if number == self.fail_at:
                raise RuntimeError("a block failed")
            x = self.blocks[number](x)
        return x


def _chain(depth: int = 5) -> Chain:
    torch.manual_seed(0)
    return Chain(depth).eval().requires_grad_(False)


def _size(module: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in tensors_of(module))


def _residency(chain: Chain, transfer: Transfer) -> Residency:
    return Residency(Part("chain", chain, torch.float32, blocks=list(chain.blocks)), transfer)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("inference", [False, True])
def test_every_mode_gives_the_same_output(device: torch.device, inference: bool) -> None:
    chain, x = _chain(), torch.randn(3, 16)
    residency = _residency(chain.to(device), Transfer(device, copies=True))
    expected = chain(x.to(device)).cpu()
    with torch.inference_mode(inference):
        for mode in (*MODES, *reversed(MODES)):
            residency.place(mode)
            for _ in range(2):
                residency.enter()
                assert torch.equal(chain(x.to(device)).cpu(), expected)
                residency.leave()
                assert not any(tensor.data.is_inference() for tensor in tensors_of(chain))


def test_low_brings_the_whole_part_and_frees_it() -> None:
    chain, transfer = _chain(), Counting(torch.device("cpu"))
    residency = _residency(chain, transfer)
    residency.place("low")
    assert transfer.live == 0
    residency.enter()
    assert transfer.live == _size(chain) == residency.total
    residency.leave()
    residency.leave()
    assert transfer.live == 0


def test_lowest_has_two_blocks_at_most() -> None:
    chain, transfer = _chain(), Counting(torch.device("cpu"))
    residency = _residency(chain, transfer)
    residency.place("lowest")
    residency.enter()
    expected = residency.total - 5 * _size(chain.blocks[0]) + 2 * _size(chain.blocks[0])
    for _ in range(3):
        chain(torch.randn(2, 16))
    residency.leave()
    assert transfer.most == expected == residency.streamed
    assert transfer.live == 0
    # 15 calls, the block sent for ahead of the sixteenth, and what is no block
    assert transfer.brought == 16 * _size(chain.blocks[0]) + residency.total - 5 * _size(chain.blocks[0])


def test_no_block_is_freed_before_it_was_used() -> None:
    chain, transfer = _chain(), Late(torch.device("cpu"))
    stream = BlockStream(list(chain.blocks), transfer)
    for order in ([0, 1, 2, 3, 4], [3, 3, 0]):
        chain.order = order
        stream.attach()
        chain(torch.randn(2, 16))
        chain(torch.randn(2, 16))
        stream.detach()
    assert transfer.marks > 16
    assert transfer.too_early == 0


@pytest.mark.parametrize("order", [[4, 3, 2, 1, 0], [0, 0, 2], [2, 4, 1, 1, 3, 0]])
def test_any_order_of_blocks_is_right(order: list[int]) -> None:
    chain, x, transfer = _chain(), torch.randn(2, 16), Counting(torch.device("cpu"))
    chain.order = order
    expected = chain(x)
    residency = _residency(chain, transfer)
    residency.place("lowest")
    residency.enter()
    assert torch.equal(chain(x), expected)
    residency.leave()
    assert transfer.most <= residency.streamed


@pytest.mark.parametrize("fail_at", [0, 3])
def test_a_forward_that_raises_leaves_nothing_behind(fail_at: int) -> None:
    chain, x, transfer = _chain(), torch.randn(2, 16), Counting(torch.device("cpu"))
    expected = chain(x)
    residency = _residency(chain, transfer)
    residency.place("lowest")
    chain.fail_at = fail_at
    residency.enter()
    with pytest.raises(RuntimeError, match="a block failed"):
        chain(x)
    residency.leave()
    assert transfer.live == 0
    chain.fail_at = None
    residency.enter()
    assert torch.equal(chain(x), expected)
    residency.leave()


def test_a_block_that_raises_inside_leaves_nothing_behind() -> None:
    chain, transfer = _chain(), Counting(torch.device("cpu"))
    residency = _residency(chain, transfer)
    residency.place("lowest")
    residency.enter()
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        chain.blocks[2](torch.randn(2, 3))
    residency.leave()
    assert transfer.live == 0
    residency.enter()
    chain(torch.randn(2, 16))
    residency.leave()


def test_one_block_and_repeated_attach_and_detach() -> None:
    chain, x = _chain(1), torch.randn(2, 16)
    expected = chain(x)
    stream = BlockStream(list(chain.blocks), Transfer(torch.device("cpu"), copies=True))
    for _ in range(2):
        stream.attach()
        stream.attach()
        assert torch.equal(chain(x), expected)
        assert torch.equal(chain(x), expected)
        stream.detach()
        stream.detach()
    assert not chain.blocks[0]._forward_hooks
    assert not chain.blocks[0]._forward_pre_hooks


@pytest.mark.parametrize("mode", MODES)
def test_a_cpu_is_its_own_host_and_moves_nothing(mode: Mode) -> None:
    chain = _chain()
    before = [tensor.data_ptr() for tensor in tensors_of(chain)]
    residency = _residency(chain, Transfer(torch.device("cpu")))
    residency.place(mode)
    residency.enter()
    chain(torch.randn(2, 16))
    assert [tensor.data_ptr() for tensor in tensors_of(chain)] == before
    residency.leave()


def test_masters_keep_values_and_strides_in_few_pieces_of_memory() -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(2, 3, 4, 5, generator=generator).to(memory_format=torch.channels_last),
        torch.randn(7, generator=generator).to(torch.bfloat16),
        torch.zeros(0, 3),
        torch.tensor(3.5),
        torch.randn(1, 4, generator=generator).expand(3, 4),
        torch.randn(6, 4, generator=generator).t(),
        torch.arange(5),
    ]
    expected = [tensor.clone() for tensor in tensors]
    strides = [tensor.stride() for tensor in tensors]
    shelf = Shelf(tensors, Transfer(torch.device("cpu"), copies=True))
    for tensor, value, stride in zip(tensors, expected, strides, strict=True):
        assert torch.equal(tensor, value)
        assert tensor.dtype == value.dtype
        assert 0 in stride or tensor.stride() == stride
    storages = {tensor.untyped_storage().data_ptr() for tensor in shelf.masters}
    assert len(storages) == 1


def test_a_full_piece_of_memory_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ARENA_BYTES & (ARENA_BYTES - 1) == 0, "torch rounds page-locked memory up to a power of two"
    monkeypatch.setattr("stvsr_bench.nn.offload.ARENA_BYTES", 1024)
    transfer = Transfer(torch.device("cpu"), copies=True)
    values = [torch.full((size,), float(size)) for size in (200, 50, 600, 10)]  # of 4 bytes: the third is larger
    kept = [transfer.keep(value) for value in values]
    assert all(torch.equal(a, b) for a, b in zip(kept, values, strict=True))
    assert [len(value.untyped_storage()) for value in kept] == [1024, 1024, 2400, 1024]


def test_without_page_locked_memory_the_tensors_stay_ordinary(monkeypatch: pytest.MonkeyPatch) -> None:
    transfer = Transfer(torch.device("cpu"), copies=True)

    def refuse(size: int) -> Tensor:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(transfer, "_room", refuse)
    value = torch.randn(3)
    assert torch.equal(transfer.keep(value), value)


def test_preparing_a_part_keeps_what_must_stay_exact() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv3d(4, 4, 3), nn.BatchNorm2d(4))
    part = Part("net", net, torch.bfloat16, exact=(net[2],), layout=torch.channels_last)
    part.prepare(optimised=True, compiled=False)
    assert [tensor.dtype for tensor in tensors_of(net[2])] == [torch.float32] * 4 + [torch.int64]
    assert net[0].weight.dtype == net[1].weight.dtype == torch.bfloat16
    assert net[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert net[1].weight.is_contiguous()
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())
    plain = nn.Conv2d(3, 4, 3)
    Part("net", plain, torch.float32, layout=torch.channels_last).prepare(optimised=False, compiled=False)
    assert plain.weight.is_contiguous()
