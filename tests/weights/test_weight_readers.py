"""Restricted readers: the five forms are read, damage is an error, and nothing that a file asks for is run."""

from __future__ import annotations

import collections
import copyreg
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from toy_weights import torch_bytes, toy_tensors

from stvsr_bench.core.errors import WeightError
from stvsr_bench.core.weight_card import Reader, WeightSpec
from stvsr_bench.weights.readers import RawFile, read_raw
from stvsr_bench.weights.shaping import check_hash, shape_weight

TENSORS = toy_tensors()


def legacy(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def npz(**arrays: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def old_numpy_pickle(value: Any) -> bytes:
    """Pickle as numpy 1 did, which is how published files are written."""
    return pickle.dumps(value, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


ARRAYS = {name: tensor.numpy() for name, tensor in TENSORS.items()}
FORMS: dict[str, tuple[Reader, bytes]] = {
    "safetensors": ("safetensors", safetensors.torch.save(TENSORS)),
    "torch zip": ("torch", torch_bytes(TENSORS)),
    "torch legacy": ("torch", legacy(collections.OrderedDict(TENSORS))),
    "npz": ("npz", npz(**ARRAYS)),
    "numpy pickle": (
        "numpy_pickle",
        old_numpy_pickle({"conv": {"weight": ARRAYS["conv.weight"], "bias": ARRAYS["conv.bias"]}}),
    ),
}


def spec(reader: Reader, **facts: Any) -> WeightSpec:
    return WeightSpec(name="w", licence=None, reader=reader, **facts)


def read(reader: Reader, data: bytes, **facts: Any) -> dict[str, torch.Tensor]:
    return shape_weight(spec(reader, **facts), read_raw(reader, [RawFile("file.bin", data)]))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_tensors(form: str, tmp_path: Path) -> None:
    reader, data = FORMS[form]
    tensors = read(reader, data)
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {n: t.tolist() for n, t in TENSORS.items()}
    path = tmp_path / "file"
    path.write_bytes(data)
    assert set(read_raw(reader, [RawFile("file", path)])) == set(TENSORS)


@pytest.mark.parametrize("keep", [0, 1, 30, 0.5, 0.97])
@pytest.mark.parametrize("form", FORMS)
def test_a_truncated_file_is_an_error(form: str, keep: float) -> None:
    reader, data = FORMS[form]
    cut = data[: keep if isinstance(keep, int) else int(len(data) * keep)]
    with pytest.raises(WeightError, match=r"file\.bin"):
        read(reader, cut)


@pytest.mark.parametrize("reader", ["safetensors", "torch", "npz", "numpy_pickle"])
@pytest.mark.parametrize("data", [b"<html><body>Sign in</body></html>" * 9, bytes(range(256)) * 8])
def test_something_else_is_an_error(reader: Reader, data: bytes) -> None:
    with pytest.raises(WeightError, match=r"file\.bin"):
        read(reader, data)


class Payload:
    """A class whose unpickling runs a command."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return (os.system, (f"touch '{self.mark}'",))


@pytest.mark.parametrize(
    ("reader", "write"),
    [
        ("numpy_pickle", lambda value: pickle.dumps(value, protocol=3)),
        ("numpy_pickle", lambda value: pickle.dumps(value, protocol=5)),
        ("torch", torch_bytes),
        ("torch", legacy),
    ],
    ids=["protocol 3", "protocol 5", "torch zip", "torch legacy"],
)
def test_a_forbidden_class_is_named_and_nothing_runs(
    reader: Reader, write: Callable[[Any], bytes], tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    data = write({"conv": Payload(mark)})
    with pytest.raises(WeightError, match=r"(posix|os|nt)\.system"):
        read(reader, data)
    assert not mark.exists()
    if reader == "numpy_pickle":
        pickle.loads(data)
        assert mark.exists(), "the payload does nothing, so the test proved nothing"


def test_an_object_array_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    holder = np.array([Payload(mark)], dtype=object)
    with pytest.raises(WeightError):
        read("npz", npz(a=holder))
    with pytest.raises(WeightError):
        read("numpy_pickle", old_numpy_pickle({"a": holder}))
    with pytest.raises(WeightError, match="array of object"):
        read("numpy_pickle", old_numpy_pickle({"a": np.array([1, "x"], dtype=object)}))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ([np.zeros(2, np.float32)], "list at ''"),
        (np.zeros(2, np.float32), "ndarray|array of float32"),
        ({"a": np.zeros(2)}, "array of float64 at 'a'"),
        ({1: np.zeros(2, np.float32)}, "dict at ''"),
        ({"a": {"b": 3.0}}, r"float at 'a\.b'"),
        ({"a": None}, "NoneType"),
    ],
)
def test_a_pickle_holds_nothing_but_float32_arrays(value: Any, complaint: str) -> None:
    with pytest.raises(WeightError, match=complaint):
        read("numpy_pickle", old_numpy_pickle(value))


def test_objects_from_outside_the_file_are_refused() -> None:
    class Persistent(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return "somewhere" if value == 7 else None

    buffer = io.BytesIO()
    Persistent(buffer, protocol=3).dump({"a": 7})
    with pytest.raises(WeightError, match="PERSID"):
        read("numpy_pickle", buffer.getvalue())
    copyreg.add_extension("collections", "OrderedDict", 201)
    try:
        data = pickle.dumps({"a": collections.OrderedDict()}, protocol=3)
        pickle.loads(data)  # fills the cache that pickle keeps of such classes
        with pytest.raises(WeightError, match="EXT1"):
            read("numpy_pickle", data)
    finally:
        copyreg.remove_extension("collections", "OrderedDict", 201)


def test_the_entry_of_a_checkpoint_is_taken() -> None:
    nested = torch_bytes({"params": TENSORS, "params_ema": {k: v + 1 for k, v in TENSORS.items()}, "iteration": 7})
    assert torch.equal(read("torch", nested, entry=["params"])["conv.bias"], TENSORS["conv.bias"])
    assert torch.equal(read("torch", nested, entry=["params_ema", "params"])["conv.bias"], TENSORS["conv.bias"] + 1)
    assert set(read("torch", torch_bytes(TENSORS), entry=["params"])) == set(TENSORS)
    with pytest.raises(WeightError, match="dict at 'params'"):
        read("torch", nested)
    with pytest.raises(WeightError, match="no state dict"):
        read("torch", torch_bytes([1, 2]))


def test_names_are_mapped_dropped_and_checked() -> None:
    stored = {**{f"module.{name}": value for name, value in TENSORS.items()}, "module.tea.0.w": torch.zeros(1)}
    data = torch_bytes(stored)
    strip = [(r"^module\.", "")]
    assert set(read("torch", data, key_map=strip, drop=["tea.*"], keys=["conv.*"])) == set(TENSORS)
    with pytest.raises(WeightError, match=r"1 unexpected: tea\.0\.w"):
        read("torch", data, key_map=strip, keys=["conv.*"])
    with pytest.raises(WeightError, match=r"1 missing: conv\.scale"):
        read("torch", data, key_map=strip, drop=["tea.*"], keys=["conv.weight", "conv.bias", "conv.scale"])
    with pytest.raises(WeightError, match="two tensors"):
        read("torch", data, key_map=[(".*", "x")])


def test_axes_are_permuted() -> None:
    turned = read("torch", torch_bytes(TENSORS), transpose=[("*.weight", (3, 2, 0, 1))])
    assert torch.equal(turned["conv.weight"], TENSORS["conv.weight"].permute(3, 2, 0, 1))
    assert turned["conv.weight"].is_contiguous()
    with pytest.raises(WeightError, match="another number of axes"):
        read("torch", torch_bytes(TENSORS), transpose=[("*", (3, 2, 0, 1))])


def test_a_wrong_hash_tells_what_the_file_holds() -> None:
    with pytest.raises(WeightError, match=r"2 tensors, 584 values, conv\.bias, conv\.weight; accepted: tensor hash 00"):
        check_hash(TENSORS, "0" * 64)
