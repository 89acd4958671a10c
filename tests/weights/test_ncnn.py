"""The reader of ncnn's files: what it makes of small ones, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stvsr_bench.core.errors import WeightError
from stvsr_bench.weights.ncnn import read_ncnn

HALF, SINGLE = b"\x47\x6b\x30\x01", b"\x00\x00\x00\x00"


def _convolution(name: str, into: int, out: int, *, leaky: bool = False) -> str:
    activation = " 9=2 -23310=1,2.000000e-01" if leaky else ""
    return f"Convolution {name} 1 1 a b 0={out} 1=3 4=1 5=1 6={out * into * 9}{activation}"


def _param(lines: list[str], end: str = "\n") -> bytes:
    return end.join(["7767517", f"{len(lines)} {len(lines)}", *lines, ""]).encode()


def _srvgg() -> tuple[list[str], bytes, dict[str, np.ndarray]]:
    """A net of three features, one middle convolution and factor 2: its lines, its data, its tensors."""
    rng = np.random.default_rng(0)
    shapes = [(3, 3), (3, 3), (12, 3)]
    lines, data, tensors = ["Input in 0 1 data"], b"", {}
    for i, (out, into) in enumerate(shapes):
        weight = rng.standard_normal((out, into, 3, 3)).astype("<f2" if i != 1 else "<f4")
        bias, slopes = rng.standard_normal((2, out)).astype("<f4")
        lines.append(_convolution(f"conv{i}", into, out))
        block = weight.tobytes()
        data += (HALF if i != 1 else SINGLE) + block + b"\0" * (-len(block) % 4) + bias.tobytes()
        tensors |= {f"body.{2 * i}.weight": weight.astype("f4"), f"body.{2 * i}.bias": bias}
        if i < 2:
            lines.append(f"PReLU slopes{i} 1 1 a b 0={out}")
            data += slopes.tobytes()
            tensors[f"body.{2 * i + 1}.weight"] = slopes
    lines += [
        "PixelShuffle shuffle 1 1 a b 0=2",
        "Interp large 1 1 a b 0=1 1=2.000000e+00 2=2.000000e+00",
        "BinaryOp sum 2 1 a b c",
    ]
    return lines, data, tensors


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_names_shapes_and_values(end: str) -> None:
    """An odd count of float16 weights is followed by padding; LF and CRLF read the same."""
    lines, data, tensors = _srvgg()
    state = read_ncnn(_param(lines, end), data)
    assert set(state) == set(tensors)
    for name, expected in tensors.items():
        assert state[name].dtype == torch.float32
        assert torch.equal(state[name], torch.from_numpy(expected)), name


def _changed(old: str, new: str) -> bytes:
    lines, _, _ = _srvgg()
    text = _param(lines).decode()
    assert old in text
    return text.replace(old, new, 1).encode()


@pytest.mark.parametrize(
    ("param", "message"),
    [
        (b"", "an empty .param file"),
        (b"\xff\xfe", "is no text"),
        (_changed("7767517", "7767518"), "first line '7767518'"),
        (_changed("9 9", "8 9"), "9 layers; accepted: 8"),
        (_changed("9 9", "nine"), "number of layers"),
        (_changed("PixelShuffle", "Reorg"), "layer type 'Reorg'"),
        (_changed("PixelShuffle shuffle 1 1 a b 0=2", "PixelShuffle shuffle"), "number of inputs"),
        (_changed("1=3", "1=5"), "key 1 is 5"),
        (_changed("4=1", "4=0"), "key 4 is 0"),
        (_changed("5=1", "5=0"), "keys 1, 4, 5 are 3, 1, 0"),
        (_changed("5=1", "5=1 2=2"), "key 2 is 2"),
        (_changed("5=1", "5=1 7=3"), "key 7 is 3"),
        (_changed("5=1", "5=1 18=1.0"), "key 18 is 1.0"),
        (_changed("5=1", "5=1 77=1"), "key 77 is 1"),
        (_changed("5=1", "5=1 9=1"), "activation (1, ())"),
        (_changed("5=1", "5"), "'5'; accepted: KEY=VALUE"),
        (_changed("5=1", "5=1 -23310=2,0.5"), "'-23310=2,0.5'"),
        (_changed("6=81", "6=80"), "80 weights for 3 outputs"),
        (_changed("0=2", "0=3"), "shape (12, 3, 3, 3); accepted: (27, 3, 3, 3)"),
        (_changed("PReLU slopes0 1 1 a b 0=3", "PReLU slopes0 1 1 a b 0=2"), "storage tag"),
        (_changed("Interp large 1 1 a b", "Concat large 1 1 a b"), "accepted: RRDBNet"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused(param: bytes, message: str) -> None:
    _, data, _ = _srvgg()
    with pytest.raises(WeightError) as caught:
        read_ncnn(param, data)
    assert message in str(caught.value)


def test_data_that_does_not_fit_is_refused() -> None:
    lines, data, _ = _srvgg()
    with pytest.raises(WeightError, match=r"ends within Convolution 'conv2'"):
        read_ncnn(_param(lines), data[:-4])
    with pytest.raises(WeightError, match=rf"{len(data) + 4} bytes; accepted: {len(data)} bytes"):
        read_ncnn(_param(lines), data + b"\0" * 4)
    with pytest.raises(WeightError, match="storage tag 0x000d4b38"):
        read_ncnn(_param(lines), b"\x38\x4b\x0d\x00" + data[4:])
    with pytest.raises(WeightError, match="ends within Convolution 'conv0'"):
        read_ncnn(_param(lines), b"")


def _rrdb() -> tuple[list[str], bytes]:
    """One block of four features and growth two, all zeros."""
    plan = [(3, 4, False)]
    for _ in range(3):
        plan += [(4 + 2 * k, 2, True) for k in range(4)] + [(12, 4, False)]
    plan += [(4, 4, False), (4, 4, True), (4, 4, True), (4, 4, True), (4, 3, False)]
    lines = ["Input in 0 1 data", "Concat joined 2 1 a b c"]
    lines += [_convolution(f"conv{i}", into, out, leaky=leaky) for i, (into, out, leaky) in enumerate(plan)]
    lines += [f"Eltwise add{i} 2 1 a b c 0=1 -23301=2,2.000000e-01,1.000000e+00" for i in range(4)]
    lines += [f"Interp large{i} 1 1 a b 0=1 1=2.000000e+00 2=2.000000e+00" for i in range(2)]
    return lines, b"".join(SINGLE + bytes(4 * out * (into * 9 + 1)) for into, out, _ in plan)


def test_the_convolutions_of_rrdbnet_stand_in_the_networks_order() -> None:
    lines, data = _rrdb()
    state = read_ncnn(_param(lines), data)
    assert len(state) == 2 * (6 + 15)
    assert state["conv_first.weight"].shape == (4, 3, 3, 3)
    assert state["body.0.rdb3.conv5.weight"].shape == (4, 12, 3, 3)
    assert state["conv_last.bias"].shape == (3,)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2.000000e-01,1.000000e+00", "1.000000e+00,1.000000e+00", "other sums of residuals"),
        ("1=2.000000e+00", "1=4.000000e+00", "other enlargements"),
        ("9=2 -23310=1,2.000000e-01", "9=2 -23310=1,1.000000e-01", "activation (2, (0.1,))"),
        ("9=2 -23310=1,2.000000e-01", "", "activation (0, ())"),
    ],
)
def test_another_network_of_the_same_shapes_is_refused(old: str, new: str, message: str) -> None:
    lines, data = _rrdb()
    with pytest.raises(WeightError) as caught:
        read_ncnn(_param(lines).replace(old.encode(), new.encode(), 1), data)
    assert message in str(caught.value)
