"""The shipped datasets: facts that must not drift, variants that must be told apart, what cannot be run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stvsr_bench.core import registry
from stvsr_bench.core.dataset_card import OTHER_VARIANT
from stvsr_bench.core.errors import DataError
from stvsr_bench.data.dataset import Dataset
from stvsr_bench.data.factory import build_dataset
from stvsr_bench.data.protocol import known_protocols
from stvsr_bench.data.state import dataset_state

MakeClip = Callable[..., Path]
Touch = Callable[..., None]

# kind, then clips × frames × (rows, columns) of every variant; None where no source tells
FACTS = {
    "udm10": ("synthetic", {"default": (10, 32, (720, 1272))}),
    "spmcs": ("synthetic", {"default": (30, 31, (540, 960)), "rbpn11": (11, 31, (540, 960))}),
    "reds4": ("synthetic", {"default": (4, 100, (720, 1280))}),
    "reds30": ("synthetic", {"default": (30, 100, (720, 1280))}),
    "youhq40": ("synthetic", {"default": (40, None, (1080, 1920))}),
    "gopro": ("synthetic", {"default": (11, None, (720, 1280))}),
    "mvsr4x": ("real", {"default": (15, 100, (1024, 1024)), "all": (300, 100, (1024, 1024))}),
    "realvsr": ("real", {"default": (50, 50, (512, 1024)), "all": (500, 50, (512, 1024))}),
    "videolq": ("no_gt", {"default": (50, 100, None)}),
    "openvid30": ("synthetic", {"default": (30, None, None)}),
    "realvideo10": ("no_gt", {"default": (10, None, None)}),
    "hq_vsr": ("training", {"default": (2055, None, None)}),
    "adobe240": (
        "training",
        {"train": (100, None, (720, 1280)), "valid": (16, None, (720, 1280)), "test": (17, None, (720, 1280))},
    ),
    "div2k": ("training", {"train": (800, 1, None), "valid": (100, 1, None)}),
    "reds": ("training", {"train": (240, 100, (720, 1280)), "val": (30, 100, (720, 1280))}),
}
ANNOUNCED = ["adobe240", "div2k", "hq_vsr", "openvid30", "realvideo10", "reds"]
SHIPPED = sorted(name for name, entry in registry.datasets().items() if entry.origin == "installed")


def test_every_dataset_of_the_catalogue_is_there() -> None:
    assert sorted({*FACTS, "vid4", "demo", "folder"}) == SHIPPED


@pytest.mark.parametrize("name", FACTS)
def test_facts(name: str) -> None:
    card = registry.datasets()[name].card
    kind, variants = FACTS[name]
    assert (card.kind, card.status) == (kind, "announced" if name in ANNOUNCED else "runnable")
    assert {key: (v.n_clips, v.frames, v.size) for key, v in card.variants.items()} == variants
    assert card.lq_at_gt_size == (name in ("mvsr4x", "realvsr"))
    assert (card.not_reproducible is not None) == (name in ("openvid30", "realvideo10"))


@pytest.mark.parametrize("name", SHIPPED)
def test_what_a_card_names_exists(name: str) -> None:
    entry = registry.datasets()[name]
    for use in entry.card.used_by:
        assert use.method in registry.methods()
        assert set(use.protocols) <= set(known_protocols()), use.method
        assert bool(use.protocols) == (entry.card.kind != "training")
    assert (entry.folder / "README.md").is_file()
    if entry.card.status == "runnable":
        assert set(entry.knobs) <= registry.load_entry_class(entry).OPTIONS
    if name not in ("demo", "folder"):
        assert entry.card.used_by
        assert entry.card.urls or entry.card.missing


@pytest.mark.parametrize("name", ANNOUNCED)
def test_announced_datasets_say_why_they_cannot_be_run(name: str, tmp_path: Path, touch: Touch) -> None:
    touch(tmp_path, "a/0.png")
    card = registry.datasets()[name].card
    for options in ({}, {"root": str(tmp_path)}):
        with pytest.raises(DataError, match=f"dataset '{name}' cannot be run: it is only announced") as caught:
            build_dataset(name, options)
        assert caught.value.got == card.missing
        assert "dataset=folder" in str(caught.value.action)


def test_clips_of_your_own_cannot_take_the_name_of_an_announced_dataset(tmp_path: Path, make_clip: MakeClip) -> None:
    make_clip(tmp_path / "a")
    with pytest.raises(Exception, match="'hq_vsr' is the name of a registered dataset"):
        build_dataset("folder", {"root": str(tmp_path), "name": "hq_vsr"})


def spmcs(root: Path, touch: Touch, names: list[str]) -> str | None:
    touch(root, *(f"{name}/truth/{i:04d}.png" for name in names for i in range(31)))
    return dataset_state(registry.datasets()["spmcs"].card, {"root": root}).variant


def test_the_two_sets_called_spmcs(tmp_path: Path, touch: Touch) -> None:
    eleven = list(registry.datasets()["spmcs"].card.variants["rbpn11"].clips)
    others = [f"other_{i:03d}" for i in range(19)]
    assert spmcs(tmp_path / "rbpn", touch, eleven) == "rbpn11"
    assert spmcs(tmp_path / "whole", touch, eleven + others) == "default"
    assert spmcs(tmp_path / "part", touch, others) == "default"
    taken = dataset_state(registry.datasets()["spmcs"].card, {"root": tmp_path / "whole", "variant": "rbpn11"})
    assert (taken.state, taken.count) == ("present", "11 of 11")


def test_reds4_is_read_out_of_the_training_set(tmp_path: Path, make_clip: MakeClip) -> None:
    card = registry.datasets()["reds4"].card
    small = {"default": card.variants["default"].model_copy(update={"frames": 2, "size": (8, 12)})}
    for i in (*range(12), 15, 20):
        make_clip(tmp_path / "train_sharp" / f"{i:03d}", 2)
        make_clip(tmp_path / "train_sharp_bicubic" / "X4" / f"{i:03d}", 2, (2, 3))
    dataset = Dataset(card.model_copy(update={"variants": small}), {"root": str(tmp_path)})
    assert (dataset.id, dataset.order, dataset.unranked) == ("reds4", ["000", "011", "015", "020"], None)
    assert any("10 clips in the folder belong to no part of it" in note for note in dataset.notes)


def test_the_training_set_of_reds_is_not_taken_for_its_validation_set(tmp_path: Path, touch: Touch) -> None:
    card = registry.datasets()["reds30"].card
    card = card.model_copy(update={"variants": {"default": card.variants["default"].model_copy(update={"frames": 1})}})
    touch(tmp_path, *(f"val/val_sharp/{i:03d}/00000000.png" for i in range(30)))
    touch(tmp_path, *(f"renamed/GT/{i}/00000000.png" for i in range(240, 270)))
    touch(tmp_path, *(f"train/train_sharp/{i:03d}/00000000.png" for i in range(31)))
    states = [dataset_state(card, {"root": tmp_path / root}).state for root in ("val", "renamed", "train")]
    assert states == ["present", "present", "other"]


@pytest.mark.parametrize(("frames", "variant"), [(31, "default"), (33, "default"), (25, OTHER_VARIANT)])
def test_about_32_frames_of_youhq40(tmp_path: Path, touch: Touch, frames: int, variant: str) -> None:
    touch(tmp_path, *(f"GT/{i:03d}/{j:08d}.png" for i in range(40) for j in range(frames)))
    found = dataset_state(registry.datasets()["youhq40"].card, {"root": tmp_path})
    assert (found.variant or OTHER_VARIANT) == variant


@pytest.mark.parametrize(("clips", "variant"), [(15, "default"), (12, "default"), (300, "all"), (200, "all")])
def test_test_clips_and_all_clips_of_mvsr4x(tmp_path: Path, touch: Touch, clips: int, variant: str) -> None:
    card = registry.datasets()["mvsr4x"].card
    few = {key: v.model_copy(update={"frames": 1}) for key, v in card.variants.items()}
    touch(tmp_path, *(f"{role}/{i:03d}/1.png" for role in ("wide", "tele") for i in range(clips)))
    found = dataset_state(card.model_copy(update={"variants": few}), {"root": tmp_path})
    assert (found.variant, found.state) == (variant, "present" if clips in (15, 300) else "incomplete")
