"""Reading the convolution networks that ncnn stores as ``.param`` (text) and ``.bin`` (bare numbers).

Source: the published ncnn files of Real-ESRGAN; networks as of BasicSR (RRDBNet) and Real-ESRGAN (SRVGGNetCompact).
Nothing is executed: the graph is parsed as text, and only the two layer types that carry numbers are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import torch

from stvsr_bench.core.errors import WeightError

MAGIC = "7767517"
_FLOAT16_TAG = 0x01306B47
_ARRAY = -23300
_KNOWN = frozenset(
    {
        "Input",
        "Split",
        "Concat",
        "Eltwise",
        "BinaryOp",
        "Interp",
        "PixelShuffle",
        "Convolution",
        "PReLU",
    }
)
# What each key of a 3x3 convolution may say, where it is there at all: sides, dilation, stride, padding, groups, int8.
_NEUTRAL = {1: 3, 2: 1, 3: 1, 4: 1, 7: 1, 8: 0, 11: 3, 12: 1, 13: 1, 14: 1, 15: 1, 16: 1, 17: 0, 18: 0}
_CONVOLUTION_KEYS = frozenset({0, 5, 6, 9, 10, *_NEUTRAL})
_LEAKY = (2, (0.2,))
_PLAIN = (0, ())

Number = int | float


@dataclass(frozen=True)
class _Layer:
    """One line of the ``.param`` file."""

    line: int
    kind: str
    name: str
    values: Mapping[int, Number | tuple[Number, ...]]

    def whole(self, key: int, default: int = 0) -> int:
        value = self.values.get(key, default)
        if not isinstance(value, int):
            _refuse(f"line {self.line}, {self.kind} '{self.name}': key {key} is {value!r}", "a whole number")
        return value

    @property
    def activation(self) -> tuple[int, tuple[Number, ...]]:
        array = self.values.get(10, ())
        return self.whole(9), array if isinstance(array, tuple) else (array,)


def read_ncnn(param: bytes, bin: bytes) -> dict[str, torch.Tensor]:
    """Return the tensors of an RRDBNet or SRVGGNetCompact under their official state-dict names, all float32.

    The layers' order decides which tensor is which, so the structure is checked against the network first: layer
    types and counts, activations, and the shape of every tensor.

    Args:
        param: the graph; LF or CRLF line ends.
        bin: the numbers, in the order of the graph's lines.

    Raises:
        WeightError: the files are damaged, do not belong together, or hold another network.
    """
    layers = _parse(param)
    counts = Counter(layer.kind for layer in layers)
    tensors = list(_read(layers, bin))
    if counts["PReLU"] and counts["PixelShuffle"] == 1 and not counts["Concat"] and not counts["Eltwise"]:
        return _srvgg(layers, tensors)
    if counts["Concat"] and counts["Eltwise"] and not counts["PReLU"] and not counts["PixelShuffle"]:
        return _rrdb(layers, tensors)
    _refuse(
        "layers " + ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())),
        "RRDBNet (Concat and Eltwise, no PReLU) or SRVGGNetCompact (PReLU and one PixelShuffle)",
    )


def _refuse(got: str, accepted: str) -> NoReturn:
    raise WeightError(
        "the ncnn files cannot be read",
        got=got,
        accepted=accepted,
        action="get both files from one release, unchanged",
    )


def _parse(param: bytes) -> list[_Layer]:
    try:
        lines = param.decode("ascii").splitlines()
    except UnicodeDecodeError:
        _refuse("a .param file that is no text", "the text form of the graph (magic 7767517)")
    if not lines or lines[0].strip() != MAGIC:
        _refuse(f"first line {lines[0][:40]!r}" if lines else "an empty .param file", f"first line {MAGIC}")
    rows = [(number, line.split()) for number, line in enumerate(lines[1:], 2) if line.strip()]
    counts = rows[0][1] if rows else []
    if len(counts) != 2 or not all(c.isdigit() for c in counts):
        _refuse(f"second line {' '.join(counts)!r}", "the number of layers and of blobs")
    if int(counts[0]) != len(rows) - 1:
        _refuse(f"{len(rows) - 1} layers", f"{counts[0]}, as the file's second line says")
    layers = [_layer(number, fields) for number, fields in rows[1:]]
    for layer in layers:
        if layer.kind not in _KNOWN:
            _refuse(f"line {layer.line}: layer type '{layer.kind}'", "the layer types " + ", ".join(sorted(_KNOWN)))
    return layers


def _layer(number: int, fields: Sequence[str]) -> _Layer:
    if len(fields) < 4 or not fields[2].isdigit() or not fields[3].isdigit():
        _refuse(f"line {number}: {' '.join(fields)[:60]!r}", "type, name, number of inputs, number of outputs, …")
    settings = fields[4 + int(fields[2]) + int(fields[3]) :]
    values: dict[int, Number | tuple[Number, ...]] = {}
    for setting in settings:
        try:
            name, _, text = setting.partition("=")
            key = int(name)
            if key <= _ARRAY:
                count, *items = text.split(",")
                if int(count) != len(items):
                    raise ValueError
                values[_ARRAY - key] = tuple(map(_number, items))
            else:
                values[key] = _number(text)
        except ValueError:
            _refuse(f"line {number}: {setting!r}", "KEY=VALUE, arrays as COUNT,V0,V1,…")
    return _Layer(number, fields[0], fields[1], values)


def _number(text: str) -> Number:
    return float(text) if any(c in text for c in ".eE") else int(text)


def _read(layers: Sequence[_Layer], data: bytes) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
    """Yield weight and bias of each convolution, and the slopes (and ``None``) of each PReLU."""
    at = 0

    def take(layer: _Layer, count: int, dtype: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        nonlocal at
        size = count * np.dtype(dtype).itemsize
        if count < 1 or at + size > len(data):
            _refuse(
                f"a .bin file of {len(data)} bytes that ends within {layer.kind} '{layer.name}' of the .param file",
                f"at least {at + max(size, 1)} bytes",
            )
        values = np.frombuffer(data, dtype, count, at).astype(np.float32)
        at += size
        return values

    for layer in layers:
        if layer.kind == "PReLU":
            yield torch.from_numpy(take(layer, layer.whole(0), "<f4")), None
        elif layer.kind == "Convolution":
            out, count = layer.whole(0), layer.whole(6)
            _check_convolution(layer, out, count)
            tag = int.from_bytes(data[at : at + 4], "little")
            at += 4
            if tag == _FLOAT16_TAG:
                weight = take(layer, count, "<f2")
                at += -2 * count % 4
            elif tag == 0:
                weight = take(layer, count, "<f4")
            else:
                _refuse(
                    f"storage tag 0x{tag:08x} of convolution '{layer.name}'",
                    f"0x{_FLOAT16_TAG:08x} (float16) or 0 (float32)",
                )
            yield (
                torch.from_numpy(weight).reshape(out, -1, 3, 3),
                torch.from_numpy(take(layer, out, "<f4")),
            )
    if at != len(data):
        _refuse(f"a .bin file of {len(data)} bytes", f"{at} bytes, as the layers of the .param file need")


def _check_convolution(layer: _Layer, out: int, count: int) -> None:
    where = f"line {layer.line}, convolution '{layer.name}'"
    for key, value in layer.values.items():
        if key not in _CONVOLUTION_KEYS or (key in _NEUTRAL and value != _NEUTRAL[key]):
            _refuse(f"{where}: key {key} is {value}", "3x3, padding 1, stride 1, no dilation, no groups, no int8")
    if layer.whole(1) != 3 or layer.whole(4) != 1 or layer.whole(5) != 1:
        _refuse(f"{where}: keys 1, 4, 5 are {layer.whole(1)}, {layer.whole(4)}, {layer.whole(5)}", "3, 1, 1")
    if out < 1 or count < 1 or count % (out * 9):
        _refuse(f"{where}: {count} weights for {out} outputs", "a whole number of 3x3 inputs for each output")


def _srvgg(
    layers: Sequence[_Layer], tensors: Sequence[tuple[torch.Tensor, torch.Tensor | None]]
) -> dict[str, torch.Tensor]:
    """Name the tensors of SRVGGNetCompact: ``body.N`` in file order, convolutions at even N."""
    kept = [layer for layer in layers if layer.kind in ("Convolution", "PReLU")]
    alternating = all(layer.kind == ("PReLU" if i % 2 else "Convolution") for i, layer in enumerate(kept))
    if len(kept) < 3 or len(kept) % 2 == 0 or not alternating:
        _refuse("another order of Convolution and PReLU", "Convolution, PReLU, …, Convolution")
    factor = next(layer for layer in layers if layer.kind == "PixelShuffle").whole(0)
    features = len(tensors[0][0])
    state: dict[str, torch.Tensor] = {}
    for i, (layer, (weight, bias)) in enumerate(zip(kept, tensors, strict=True)):
        last = i == len(kept) - 1
        if bias is None:
            _check_shape(layer, weight, (features,))
        else:
            _check_shape(layer, weight, (3 * factor**2 if last else features, features if i else 3, 3, 3))
            _check_activation(layer, _PLAIN)
            state[f"body.{i}.bias"] = bias
        state[f"body.{i}.weight"] = weight
    return state


def _rrdb(
    layers: Sequence[_Layer], tensors: Sequence[tuple[torch.Tensor, torch.Tensor | None]]
) -> dict[str, torch.Tensor]:
    """Name the tensors of RRDBNet: the convolutions in file order are those of the network in its own order."""
    kept = [layer for layer in layers if layer.kind == "Convolution"]
    blocks, rest = divmod(len(kept) - 6, 15)
    if blocks < 1 or rest:
        _refuse(f"{len(kept)} convolutions", "6 and 15 for each block")
    eltwise = [layer for layer in layers if layer.kind == "Eltwise"]
    if len(eltwise) != 4 * blocks or any(e.whole(0) != 1 or e.values.get(1) != (0.2, 1.0) for e in eltwise):
        _refuse("other sums of residuals", f"{4 * blocks} Eltwise layers that add 0.2 times the first input")
    enlarged = [layer for layer in layers if layer.kind == "Interp"]
    if [(e.whole(0), e.values.get(1), e.values.get(2)) for e in enlarged] != [(1, 2.0, 2.0)] * 2:
        _refuse("other enlargements", "two Interp layers, nearest, factor 2")
    features, growth = len(tensors[0][0]), len(tensors[1][0])
    state: dict[str, torch.Tensor] = {}
    inputs = tensors[0][0].shape[1]
    if inputs not in (3, 12, 48):
        _refuse(f"{inputs} input channels of the first convolution", "3, 12 or 48 (scale 4, 2 or 1)")
    plan: list[tuple[str, int, int, bool]] = [("conv_first", inputs, features, False)]
    for block in range(blocks):
        for dense in (1, 2, 3):
            name = f"body.{block}.rdb{dense}.conv"
            plan += [(f"{name}{k}", features + (k - 1) * growth, growth, True) for k in (1, 2, 3, 4)]
            plan.append((f"{name}5", features + 4 * growth, features, False))
    plan.append(("conv_body", features, features, False))
    plan += [(name, features, features, True) for name in ("conv_up1", "conv_up2", "conv_hr")]
    plan.append(("conv_last", features, 3, False))
    for layer, (weight, bias), (name, into, out, leaky) in zip(kept, tensors, plan, strict=True):
        assert bias is not None
        _check_shape(layer, weight, (out, into, 3, 3))
        _check_activation(layer, _LEAKY if leaky else _PLAIN)
        state[f"{name}.weight"], state[f"{name}.bias"] = weight, bias
    return state


def _check_shape(layer: _Layer, weight: torch.Tensor, expected: tuple[int, ...]) -> None:
    if tuple(weight.shape) != expected:
        _refuse(
            f"line {layer.line}, {layer.kind} '{layer.name}': shape {tuple(weight.shape)}",
            f"{expected}, the network's shape at this place",
        )


def _check_activation(layer: _Layer, expected: tuple[int, tuple[float, ...]]) -> None:
    if layer.activation != expected:
        _refuse(
            f"line {layer.line}, convolution '{layer.name}': activation {layer.activation}",
            "leaky ReLU (2) with slope 0.2" if expected == _LEAKY else "none at this place",
        )
