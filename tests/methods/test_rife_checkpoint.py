"""Checkpoints of the RIFE paper: by path, by hand through the card's weight, and everything that is refused."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from stvsr_bench.core.errors import WeightError
from stvsr_bench.methods.base import Request
from stvsr_bench.methods.factory import build_method
from stvsr_bench.methods.rife import Rife
from stvsr_bench.methods.rife.checkpoint import network_of, read_checkpoint
from stvsr_bench.nn.ifnet_paper import IFNet
from stvsr_bench.nn.rife4 import Rife4
from stvsr_bench.nn.seeded import seed_parameters
from stvsr_bench.video.clip import ArrayClip
from stvsr_bench.weights import service
from stvsr_bench.weights.identity import tensor_hash

Tensors = dict[str, Tensor]
WIDTHS = (12, 8, 10, 8)


def _tensors(variant: str = "paper", *, teacher: bool = False, full: bool = False) -> Tensors:
    """What an official file holds, at toy width unless ``full``."""
    sizes = () if full else (WIDTHS, 3)
    network = IFNet(*sizes, timed=variant == "paper_m", teacher=teacher)
    seed_parameters(network, "checkpoint", variant)
    return dict(network.state_dict())


def _students(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("block_tea.")}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a state dict as upstream does: names after ``module.``."""

    def written(tensors: Tensors, name: str = "flownet.pkl", prefix: str = "module.") -> Path:
        path = tmp_path / name
        torch.save({f"{prefix}{key}": tensor for key, tensor in tensors.items()}, path)
        return path

    return written


def _method(path: Path, variant: str = "paper", **options: object) -> Rife:
    method = build_method("rife", {"variant": variant, "checkpoint": str(path), **options})
    assert isinstance(method, Rife)
    return method


# ---------------------------------------------------------------------- what is accepted


@pytest.mark.parametrize("variant", ["paper", "paper_m"])
def test_every_official_spelling_is_one_weight(variant: str, tmp_path: Path, write: Callable[..., Path]) -> None:
    whole = _tensors(variant, teacher=True)
    students = _students(whole)
    write(whole)
    save_file(students, tmp_path / "converted.safetensors")
    paths = [
        tmp_path / "flownet.pkl",
        tmp_path,  # the folder that holds it
        write(whole, "bare.pkl", prefix=""),
        write(students, "students.pkl"),
        tmp_path / "converted.safetensors",
    ]
    for path in paths:
        found = read_checkpoint(path)
        assert tensor_hash(found) == tensor_hash(students), path
        network = network_of(found, variant)
        assert network.timed is (variant == "paper_m")
        assert tensor_hash(dict(network.state_dict())) == tensor_hash(students)


def test_a_given_checkpoint_is_trained_and_known_by_its_tensors(tmp_path: Path, write: Callable[..., Path]) -> None:
    students = _tensors()
    path, digest = write(students), tensor_hash(students)
    method = _method(path)
    assert not method.untrained
    assert not _method(path, allow_untrained=True).untrained
    assert method.weights_hashes() == {"checkpoint": digest}
    assert method.method_id == f"rife[paper+checkpoint-{digest[:8]}]"
    assert method.identity()["checkpoint"] == digest
    assert str(tmp_path) not in str(method.identity())
    assert _method(write(students, "elsewhere.pkl", prefix="")).identity() == method.identity()
    other = _students(_tensors()) | {"unet.conv.bias": torch.ones(3)}
    assert _method(write(other, "other.pkl")).method_id != method.method_id

    method.setup()
    frames = torch.randint(0, 256, (2, 3, 20, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    out = torch.cat(list(method.restore(ArrayClip(frames), Request(1, 2))))
    seeded = build_method("rife", {"variant": "paper", "preset": "tiny"})
    seeded.setup()
    assert not torch.equal(out, torch.cat(list(seeded.restore(ArrayClip(frames), Request(1, 2)))))


def test_a_given_hash_is_compared(write: Callable[..., Path]) -> None:
    path = write(_tensors(teacher=True))
    for digest in (tensor_hash(_tensors()), hashlib.sha256(path.read_bytes()).hexdigest()):
        _method(path, checkpoint_hash=digest).setup()
    with pytest.raises(WeightError, match=r"flownet\.pkl' is another file.*tensor hash .*accepted: 0000"):
        _method(path, checkpoint_hash="0" * 64).setup()


# ---------------------------------------------------------------------- what is refused


def _without(tensors: Tensors, *starts: str) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(starts)}


@pytest.mark.parametrize("variant", ["paper", "paper_m"])
def test_the_other_variant_is_refused_by_name(variant: str, write: Callable[..., Path]) -> None:
    other = {"paper": "paper_m", "paper_m": "paper"}[variant]
    with pytest.raises(WeightError, match=f"which is variant {other}.*set method.variant={other}"):
        _method(write(_tensors(other)), variant).setup()


@pytest.mark.parametrize("variant", ["paper", "paper_m"])
def test_other_generations_are_refused(variant: str, write: Callable[..., Path]) -> None:
    """Also 4.0, whose first block has as many input channels as that of IFNet_m, and which has a refinement."""
    older = _without(_tensors(variant), "contextnet.", "unet.")
    newer = dict(Rife4((8, 8, 8, 8), 2).state_dict())
    assert newer["block0.conv0.0.0.weight"].shape[1] == 7
    wide = _tensors(variant) | {"block0.conv0.0.0.weight": torch.zeros(6, 12, 3, 3)}
    for tensors in (older, newer, wide):
        with pytest.raises(WeightError, match="another RIFE generation"):
            _method(write(tensors), variant).setup()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda t: _without(t, "block1.convblock.3.0.bias"), r"1 missing: block1\.convblock\.3\.0\.bias"),
        (lambda t: _without(t, "block2.lastconv.weight"), r"missing: block2\.lastconv\.weight"),
        (lambda t: _without(t, "unet."), r"missing: unet\."),
        (lambda t: _without(t, "contextnet."), r"missing: contextnet\."),
        (lambda t: t | {"block2.extra": torch.zeros(3)}, r"1 unexpected: block2\.extra"),
        (
            lambda t: t | {"unet.conv.bias": torch.zeros(4)},
            r"of another shape: unet\.conv\.bias \[4\] instead of \[3\]",
        ),
        (lambda t: t | {"block0.lastconv.bias": torch.zeros(5).half()}, r"of another dtype: block0\.lastconv\.bias"),
        (lambda t: _without(t, "block0.conv0.0.0."), "not those of RIFE"),
        (lambda t: {"model": torch.zeros(1)}, "not those of RIFE"),
    ],
)
def test_whatever_does_not_fit_is_listed(
    change: Callable[[Tensors], Tensors], complaint: str, write: Callable[..., Path]
) -> None:
    with pytest.raises(WeightError, match=complaint):
        _method(write(change(_tensors()))).setup()


class _Dangerous:
    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, ("made_by_a_pickle",))


def test_files_that_are_no_state_dicts_are_refused(
    tmp_path: Path, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("absent.pkl", "."):
        with pytest.raises(WeightError, match=r"does not exist.*hzwer/ECCV2022-RIFE"):
            _method(tmp_path / name).setup()
    (tmp_path / "text.pkl").write_text("hello")
    torch.save({"module.block0": _Dangerous()}, tmp_path / "dangerous.pkl")
    whole = write(_tensors()).read_bytes()
    (tmp_path / "short.pkl").write_bytes(whole[: len(whole) // 2])
    for name in ("text.pkl", "dangerous.pkl", "short.pkl"):
        with pytest.raises(WeightError, match=name):
            _method(tmp_path / name).setup()
    assert not (tmp_path / "made_by_a_pickle").exists()


# ---------------------------------------------------------------------- through the card's weight


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where users put files by hand, in an empty cache."""
    monkeypatch.setenv("STVSR_BENCH_WEIGHTS", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "files"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("variant", ["paper", "paper_m"])
def test_a_file_put_by_hand_is_checked_and_then_known_by_its_tensors(
    variant: str, files: Path, write: Callable[..., Path]
) -> None:
    """The card has no hash, so that the size of the network decides: a wrong file must not be kept, or it stays."""
    weight, target = f"rife/{variant}", files / f"rife_{variant}_flownet.pkl"
    with pytest.raises(WeightError, match=rf"{target.name}, published as: .*Google Drive"):
        service.fetch_weight(weight)
    official = _tensors(variant, teacher=True, full=True)
    other = _tensors("paper" if variant == "paper_m" else "paper_m", full=True)
    short = _without(official, "block1.convblock.3.0.bias")
    for wrong, complaint in ((other, "another number"), (short, "another number"), (_tensors(variant), "another")):
        write(wrong).rename(target)
        with pytest.raises(WeightError, match=complaint):
            service.fetch_weight(weight)
        assert service.state(weight) == "absent"
    before = build_method("rife", {"variant": variant})
    write(official).rename(target)
    before.setup()
    digest = tensor_hash(_students(official))
    assert service.state(weight) == "present"
    assert build_method("rife", {"variant": variant}).weights_hashes() == {weight: digest}
    assert before.method_id == f"rife[{variant}]"
    assert not before.untrained


@pytest.mark.parametrize("variant", ["paper", "paper_m"])
def test_without_the_file_full_size_needs_leave(variant: str, files: Path) -> None:
    del files
    method = build_method("rife", {"variant": variant})
    assert not method.untrained
    with pytest.raises(WeightError, match=f"rife/{variant}"):
        method.setup()
    allowed = build_method("rife", {"variant": variant, "allow_untrained": True})
    assert allowed.untrained
    assert allowed.weights_hashes() == {}
    allowed.setup()
    frames = torch.randint(0, 256, (2, 3, 20, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert len(torch.cat(list(allowed.restore(ArrayClip(frames), Request(1, 2))))) == 3
