"""MATLAB files: what is inside cells and structures, by names that keep the order; nothing but numbers."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from toy_weights import write_card

from stvsr_bench.core.errors import WeightError
from stvsr_bench.core.weight_card import Hub, WeightFile, WeightSpec
from stvsr_bench.weights import service
from stvsr_bench.weights.cache import file_identity, files_dir
from stvsr_bench.weights.channels import check_path
from stvsr_bench.weights.mat import read_mat
from stvsr_bench.weights.readers import RawFile, read_raw


def mat(**variables: Any) -> bytes:
    data = io.BytesIO()
    scipy.io.savemat(data, variables)
    return data.getvalue()


def test_cells_structures_and_types() -> None:
    cells = np.empty((1, 2), dtype=object)
    cells[0, 0] = {"b": np.arange(6, dtype=np.int32).reshape(2, 3), "a": 2.5, "name": "text"}
    cells[0, 1] = np.array([[True, False]])
    found = read_mat(mat(model={"z": cells, "linear": np.ones((4, 1), dtype=np.float32)}, plain=np.uint8([7])))
    assert list(found) == ["model.0-z.0.0-b", "model.0-z.0.1-a", "model.0-z.1", "model.1-linear", "plain"]
    assert found["model.0-z.0.0-b"].dtype == np.int32
    assert found["model.0-z.0.0-b"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["model.1-linear"].dtype == np.float32
    assert found["plain"].tolist() == [[7]]
    square = np.empty((2, 2), dtype=object)
    square[:] = [[0.0, 1.0], [2.0, 3.0]]
    read = read_mat(mat(square=square))
    assert [float(read[f"square.{i}"].item()) for i in range(4)] == [0, 2, 1, 3]  # down the columns, as MATLAB counts
    assert all(array.flags.c_contiguous for array in found.values())


@pytest.mark.parametrize("data", [b"", b"no file of that kind" * 20, mat(a=1.0)[:150], mat(a="text")])
def test_damaged_and_empty_files(data: bytes) -> None:
    with pytest.raises(WeightError, match=r"'model\.mat': this cannot be read as mat"):
        read_raw("mat", [RawFile("model.mat", data)])


def spec(**file: Any) -> WeightSpec:
    hub = {"kind": "hub", "repository": "own/er", "revision": "a" * 40, "files": [{"path": "model.mat", **file}]}
    return WeightSpec(name="net", licence=None, reader="mat", channels=[hub])


def test_a_file_without_a_hash_is_known_by_its_place() -> None:
    assert spec().faults() == []
    assert file_identity(spec()) == f"own/er@{'a' * 40}/model.mat"
    assert file_identity(spec(sha256="b" * 64)) == "b" * 64
    assert file_identity(spec()) != file_identity(spec().model_copy(update={"channels": (
        Hub(kind="hub", repository="own/er", revision="c" * 40, files=(WeightFile(path="model.mat"),)),
    )}))  # fmt: skip
    unpinned = Hub(kind="hub", repository="own/er", files=(WeightFile(path="model.mat"),))
    assert len(spec().model_copy(update={"channels": (unpinned,)}).faults()) == 2


def test_the_first_digits_of_a_hash_are_compared(tmp_path: Path) -> None:
    path = tmp_path / "model.mat"
    path.write_bytes(mat(a=1.0))
    digits = hashlib.sha256(path.read_bytes()).hexdigest()
    check_path(path, WeightFile(path="model.mat", sha256_start=digits[:8]))
    wrong = "0" * 8 if digits[:8] != "0" * 8 else "1" * 8
    with pytest.raises(WeightError, match=rf"another file; got sha256 {digits}; accepted: sha256 {wrong} …"):
        check_path(path, WeightFile(path="model.mat", sha256_start=wrong))
    with pytest.raises(ValueError, match="sha256_start"):
        WeightFile(path="model.mat", sha256_start="abc")


def test_a_file_carried_by_hand(cards: Path, cache: Path) -> None:
    """The service keeps it as it keeps others, and records its hash."""
    channel = {"kind": "hub", "repository": "own/er", "revision": "a" * 40, "files": [{"path": "model.mat"}]}
    write_card(cards, {"name": "net", "licence": None, "reader": "mat", "keys": ["a"], "channels": [channel]})
    files_dir().mkdir(parents=True)
    (files_dir() / "model.mat").write_bytes(mat(a=np.array([[1.5, 2.5]])))
    with service.offline():
        assert service.weight_hash("toynet/net").startswith("file:own/er@")
        assert torch.equal(service.load_weight("toynet/net")["a"], torch.tensor([[1.5, 2.5]], dtype=torch.float64))
        (files_dir() / "model.mat").unlink()
        assert service.state("toynet/net") == "present"
        assert not service.weight_hash("toynet/net").startswith("file:")


def test_a_bare_tensor_gets_a_name() -> None:
    data = io.BytesIO()
    torch.save(torch.nn.Parameter(torch.ones(2)), data)
    assert torch.equal(read_raw("torch", [RawFile("prompts.pth", data.getvalue())])["tensor"], torch.ones(2))
