"""Datasets on disk: identity, variants, what is missing, what does not match."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from stvsr_bench.core import registry
from stvsr_bench.core.dataset_card import DatasetCard
from stvsr_bench.core.errors import BenchError, CardError, ConfigError, DataError
from stvsr_bench.data.apply import apply_protocol
from stvsr_bench.data.dataset import Dataset
from stvsr_bench.data.factory import build_dataset
from stvsr_bench.data.protocol import load_protocol, resolve_auto

MakeClip = Callable[..., Path]


def card(**changes: Any) -> DatasetCard:
    """Two clips, ``b`` before ``a``: ``full`` has 5 and 4 frames, ``first3`` three of each."""
    facts: dict[str, Any] = {
        "name": "pair",
        "version": 3,
        "title": "Pair",
        "summary": "Two clips.",
        "kind": "synthetic",
        "source": "tests",
        "urls": ["https://example.org/pair.zip"],
        "layouts": ["GT/b/0.png"],
        "licence": "CC0",
        "frame_rate": "24",
        "aliases": ["The Pair"],
        "variants": {
            "full": {"summary": "all", "n_clips": 2, "clips": ["b", "a"], "frames": {"b": 5, "a": 4}},
            "first3": {"summary": "3", "n_clips": 2, "clips": ["b", "a"], "frames": 3, "size": [8, 12], "cut_to": 3},
        },
    }
    return DatasetCard.model_validate({**facts, **changes})


def pair(root: Path, **options: Any) -> Dataset:
    return Dataset(card(), {"root": str(root), **options})


# ------------------------------------------------------------------ identity and variants


def test_the_variant_is_recognised(tmp_path: Path, make_clip: MakeClip) -> None:
    for variant, frames in (("full", (5, 4)), ("first3", (3, 3))):
        root = tmp_path / variant
        make_clip(root / "GT" / "b", frames[0])
        make_clip(root / "GT" / "a", frames[1])
        dataset = pair(root)
        assert (dataset.id, dataset.variant, dataset.expected) == (f"pair[{variant}]", variant, 2)
        assert (dataset.name, dataset.version, dataset.kind, dataset.unranked) == ("pair", 3, "synthetic", None)
        assert dataset.order == ["b", "a"]  # the card's order
        assert [len(s.gt) for s in dataset.sources() if s.gt is not None] == list(frames)
        assert f"variant '{variant}' was recognised" in dataset.notes[0]
        assert dataset.sources()[0].gt.frame_rate == Fraction(24)  # type: ignore[union-attr]


def test_a_variant_can_be_cut_from_a_longer_one(tmp_path: Path, make_clip: MakeClip) -> None:
    make_clip(tmp_path / "GT" / "b", 5)
    make_clip(tmp_path / "GT" / "a", 4)
    make_clip(tmp_path / "BIx4" / "b", 5, (2, 3))
    dataset = pair(tmp_path, variant="first3")
    assert (dataset.id, dataset.unranked) == ("pair[first3]", None)
    first = dataset.sources()[0]
    assert first.gt is not None
    assert first.lq is not None
    assert [int(frame[0, 0, 0]) for frame in first.gt[:]] == [0, 1, 2]
    assert len(first.lq) == 3
    assert "the first 3 of 5 frames" in first.notes


def test_the_wrong_variant_is_an_error_that_names_the_right_one(tmp_path: Path, make_clip: MakeClip) -> None:
    make_clip(tmp_path / "GT" / "b", 3)
    make_clip(tmp_path / "GT" / "a", 3)
    with pytest.raises(DataError) as caught:
        pair(tmp_path, variant="full").sources()
    assert "clip 'a' has 3 frames, not 4, clip 'b' has 3 frames, not 5" in str(caught.value)
    assert "what they are: variant 'first3'" in str(caught.value)
    with pytest.raises(ConfigError, match="has no variant 'first30'; accepted: full, first3"):
        pair(tmp_path, variant="first30")


@pytest.mark.parametrize(
    ("clips", "difference"),
    [
        ({"b": (5, (8, 12)), "a": (7, (8, 12))}, "clip 'a' has 7 frames, not 4"),
        ({"b": (3, (8, 12)), "a": (3, (8, 16))}, "clip 'a' has 8 rows × 16 columns, not 8 × 12"),
        ({"b": (5, (8, 12)), "a": (4, (8, 12)), "B": (5, (8, 12))}, "clip 'B' is not part of it"),
    ],
)
def test_files_of_no_known_variant_run_and_are_never_ranked(
    tmp_path: Path, make_clip: MakeClip, clips: dict[str, Any], difference: str
) -> None:
    for name, (frames, size) in clips.items():
        make_clip(tmp_path / "GT" / name, frames, size)
    dataset = pair(tmp_path)
    assert (dataset.id, dataset.expected, len(dataset.sources())) == ("pair[other]", 2, len(clips))
    assert dataset.unranked == f"the files are no known variant: {difference}"
    assert any(difference in note for note in dataset.notes)


def test_missing_clips_keep_the_variant_and_are_not_ranked(tmp_path: Path, make_clip: MakeClip) -> None:
    make_clip(tmp_path / "GT" / "a", 3)
    dataset = pair(tmp_path)
    assert (dataset.id, dataset.expected, dataset.order) == ("pair[first3]", 2, ["a"])
    assert dataset.unranked == "missing: clip 'b'"


def test_renumbered_copies_are_known_by_their_other_names(tmp_path: Path, make_clip: MakeClip) -> None:
    variant = {
        "summary": "x",
        "n_clips": 2,
        "clips": ["b", "a"],
        "also_named": [["1", "0"]],
        "frames": {"b": 2, "a": 1},
    }
    facts = card(variants={"default": variant})
    make_clip(tmp_path / "0", 1)
    make_clip(tmp_path / "1", 2)
    dataset = Dataset(facts, {"root": tmp_path})
    assert (dataset.id, dataset.order, dataset.unranked) == ("pair", ["1", "0"], None)


def test_doubtful_facts_say_so(tmp_path: Path, make_clip: MakeClip) -> None:
    variant = {"summary": "x", "n_clips": 1, "frames": 9, "certainty": {"frames": "memory"}}
    make_clip(tmp_path / "a", 1)
    dataset = Dataset(card(variants={"default": variant}), {"root": tmp_path})
    assert "1 frames, not 9 (from memory of the literature)" in str(dataset.unranked)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "Extra inputs"),
        ({"frame_rate": "fast"}, "frame_rate"),
        ({"variants": {"other": {"summary": "x", "n_clips": 1}}}, "cannot be called 'other'"),
        ({"variants": {"v": {"summary": "x", "n_clips": 2, "clips": ["a"]}}}, "1 different names are listed"),
        ({"variants": {"v": {"summary": "x", "n_clips": 1, "clips": ["a"], "frames": {"b": 3}}}}, "frames must list"),
    ],
)
def test_cards_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        card(**changes)


# ------------------------------------------------------------------ where the files lie


def test_absent_data_say_where_they_belong_and_whence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STVSR_BENCH_DATA", str(tmp_path))
    dataset = build_dataset("udm10")
    error = dataset.missing()
    assert error is not None
    for part in (
        str(tmp_path / "udm10"),
        "drive.google.com",
        "only be used for study",
        "dataset.root=FOLDER",
        "GT/000",
    ):
        assert part in str(error)
    assert (dataset.id, dataset.kind, dataset.roles, dataset.expected) == ("udm10", "synthetic", {"gt"}, 10)
    with pytest.raises(DataError, match="absent"):
        dataset.sources()
    with pytest.raises(DataError, match="absent"):
        dataset.check(load_protocol("bi-x4"))


@pytest.mark.parametrize("folder", ["pair", "PAIR", "the pair"])
def test_the_default_root_is_found_in_any_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_clip: MakeClip, folder: str
) -> None:
    monkeypatch.setenv("STVSR_BENCH_DATA", str(tmp_path))
    make_clip(tmp_path / folder / "GT" / "a")
    assert Dataset(card()).locate() == tmp_path / folder
    assert Dataset(card()).order == ["a"]


def test_missing_root_and_wrong_layout(tmp_path: Path) -> None:
    assert "no folder" in str(pair(tmp_path / "nowhere").missing())
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match="the layout is unknown"):
        pair(tmp_path).sources()


def test_prepare_runs_once_and_only_when_needed(tmp_path: Path, make_clip: MakeClip) -> None:
    calls = []

    class Rendered(Dataset):
        def prepare(self, root: Path) -> None:
            calls.append(root)
            make_clip(root / "GT" / "a")

    dataset = Rendered(card(), {"root": tmp_path / "made"})
    assert calls == []
    assert dataset.missing() is None
    assert (dataset.order, dataset.roles, calls) == (["a"], {"gt"}, [tmp_path / "made"])


# ------------------------------------------------------------------ pairs


def test_a_broken_clip_fails_only_itself(tmp_path: Path, make_clip: MakeClip) -> None:
    make_clip(tmp_path / "GT" / "a", 3)
    (make_clip(tmp_path / "GT" / "b", 3) / "0000.png").write_bytes(b"\x89PNG truncated")
    dataset = pair(tmp_path)
    broken, good = dataset.sources()
    assert (dataset.id, broken.name, good.name, good.errors) == ("pair[first3]", "b", "a", {})
    assert apply_protocol(load_protocol("bi-x4"), good).out_frames == 3
    with pytest.raises(BenchError, match=r"0000\.png"):
        apply_protocol(load_protocol("bi-x4"), broken)


def test_several_kinds_of_lq_need_a_choice(tmp_path: Path, make_clip: MakeClip) -> None:
    make_clip(tmp_path / "GT" / "a", 3)
    make_clip(tmp_path / "BIx4" / "a", 3, (2, 3))
    make_clip(tmp_path / "BDx4" / "a", 3, (2, 3), first=50)
    dataset = pair(tmp_path)
    assert any("BIx4, BDx4" in note and "not used" in note for note in dataset.check(load_protocol("bi-x4")))
    with pytest.raises(DataError, match=r"LQ folders: BIx4, BDx4; .* add dataset\.lq_role=BIx4"):
        dataset.check(load_protocol("given-x4"))
    with pytest.raises(DataError, match="which LQ is meant"):
        apply_protocol(load_protocol("given-x4"), dataset.sources()[0])
    assert apply_protocol(load_protocol("bi-x4"), dataset.sources()[0]).out_frames == 3
    chosen = pair(tmp_path, lq_role="BDx4")
    chosen.check(load_protocol("given-x4"))
    assert int(apply_protocol(load_protocol("given-x4"), chosen.sources()[0]).lq[0][0, 0, 0]) == 50
    assert (dataset.id, chosen.id) == ("pair[first3]", "pair[first3,BDx4]")  # other LQ, other results
    with pytest.raises(DataError, match="holds no LQ called 'LR'"):
        pair(tmp_path, lq_role="LR").check(load_protocol("given-x4"))


def test_frames_pair_by_natural_order_not_by_name(tmp_path: Path, make_clip: MakeClip) -> None:
    make_clip(tmp_path / "a" / "hr", 12, name="hr{:d}.png")
    make_clip(tmp_path / "a" / "lr_x4", 12, (2, 3), name="lr_{:02d}.png")
    sample = apply_protocol(load_protocol("given-x4"), pair(tmp_path).sources()[0])
    assert sample.gt is not None
    for view in (sample.gt, sample.lq):
        assert [int(frame[0, 0, 0]) for frame in view[:]] == list(range(12))


def test_clips_without_a_partner(tmp_path: Path, make_clip: MakeClip) -> None:
    for name in ("a", "b"):
        make_clip(tmp_path / "GT" / name, 3)
    make_clip(tmp_path / "LQ" / "a", 3, (2, 3))
    make_clip(tmp_path / "LQ" / "c", 3, (2, 3))
    by_name = {source.name: source for source in pair(tmp_path).sources()}
    protocol = load_protocol("given-x4")
    assert apply_protocol(protocol, by_name["a"]).out_frames == 3
    with pytest.raises(DataError, match=r"clip 'b' has no LQ; got LQ \('LQ'\) of a, c"):
        apply_protocol(protocol, by_name["b"])
    with pytest.raises(DataError, match=r"clip 'c' has no GT; got GT \('GT'\) of a, b"):
        apply_protocol(protocol, by_name["c"])
    assert apply_protocol(load_protocol("given-x4t2up"), by_name["c"]).out_frames == 5


def test_no_pair_at_all_is_an_error_of_the_dataset(tmp_path: Path, make_clip: MakeClip) -> None:
    make_clip(tmp_path / "GT" / "Walk")
    make_clip(tmp_path / "LQ" / "walk")
    with pytest.raises(DataError, match="GT: Walk; LQ: walk"):
        pair(tmp_path).check(load_protocol("given-x4"))
    pair(tmp_path).check(load_protocol("bi-x4"))


# ------------------------------------------------------------------ anyone's own clips


def folder(root: Path, **options: Any) -> Dataset:
    return build_dataset("folder", {"root": str(root), **options})


def test_own_clips_of_unknown_role(tmp_path: Path, make_clip: MakeClip) -> None:
    make_clip(tmp_path / "my clips" / "10")
    make_clip(tmp_path / "my clips" / "9")
    dataset = folder(tmp_path / "my clips")
    assert (dataset.id, dataset.kind, dataset.roles) == ("my clips", "no_gt", {"gt", "lq"})
    assert (dataset.order, dataset.expected, dataset.unranked) == (["9", "10"], None, None)
    assert resolve_auto("m", "stvsr", None, None, dataset.id, dataset.kind, dataset.roles).id == "given-x4t2up"
    assert apply_protocol(load_protocol("given-x4t2up"), dataset.sources()[0]).gt is None
    assert apply_protocol(load_protocol("gt-t2"), dataset.sources()[0]).gt is not None


def test_own_clips_with_roles(tmp_path: Path, make_clip: MakeClip) -> None:
    make_clip(tmp_path / "GT" / "a")
    assert (folder(tmp_path).kind, folder(tmp_path).roles) == ("synthetic", {"gt"})
    make_clip(tmp_path / "LQ" / "a", size=(2, 3))
    assert (folder(tmp_path).kind, folder(tmp_path).roles) == ("real", {"gt", "lq"})
    make_clip(tmp_path / "GT" / "b")
    assert folder(tmp_path).kind == "synthetic"  # LQ of some clips only
    assert folder(tmp_path, kind="real").kind == "real"


def test_the_kind_can_be_set(tmp_path: Path, make_clip: MakeClip) -> None:
    make_clip(tmp_path / "a")
    assert folder(tmp_path, kind="synthetic").roles == {"gt"}
    assert folder(tmp_path, kind="no_gt").roles == {"lq"}
    with pytest.raises(ConfigError, match=r"dataset\.kind is unknown; got fake; accepted: synthetic, real, no_gt"):
        folder(tmp_path, kind="fake")


@pytest.mark.parametrize("odd", ["a b", "a,b=c", "(1)", "~home", "café 日本", "x.y"])
def test_odd_names(tmp_path: Path, make_clip: MakeClip, odd: str) -> None:
    make_clip(tmp_path / odd / odd)
    dataset = folder(tmp_path / odd)
    assert (dataset.id, dataset.order) == (odd, [odd])
    sample = apply_protocol(load_protocol("given-x4"), dataset.sources()[0])
    assert (sample.name, int(sample.lq[2][0, 0, 0])) == (odd, 2)


def test_own_clips_need_a_root_and_a_name_of_their_own(tmp_path: Path, make_clip: MakeClip) -> None:
    make_clip(tmp_path / "vid4" / "a")
    with pytest.raises(ConfigError, match="needs the folder of your clips"):
        build_dataset("folder")
    for options in ({}, {"name": "videolq"}, {"name": "vid4[full]"}):
        with pytest.raises(ConfigError, match="the name of a registered dataset"):
            folder(tmp_path / "vid4", **options)
    assert folder(tmp_path / "vid4", name="my_vid4").id == "my_vid4"
    error = folder(tmp_path / "vid5", name="x").missing()
    assert "beside it lie vid4" in str(error)


def test_options_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no option 'rot'; accepted: nearest known: root"):
        build_dataset("vid4", {"rot": "x"})
    with pytest.raises(ConfigError, match="cannot be called otherwise"):
        build_dataset("vid4", {"name": "mine"})


# ------------------------------------------------------------------ registration


def test_a_dropped_in_dataset_runs_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_clip: MakeClip
) -> None:
    home = tmp_path / "plug" / "datasets" / "mine"
    home.mkdir(parents=True)
    text = "name: mine\nversion: 1\ntitle: M\nsummary: s\nkind: no_gt\nsource: me\nlicence: mine\n"
    (home / "card.yaml").write_text(text)
    (home / "config.yaml").write_text(f"root: {make_clip(tmp_path / 'clips' / 'a').parent}\n")
    monkeypatch.setenv("STVSR_BENCH_PATH", str(tmp_path / "plug"))
    assert build_dataset("mine").order == ["a"]
    (home / "card.yaml").write_text(text + "entry: code.py:Thing\n")
    (home / "code.py").write_text("class Thing: pass\n")
    with pytest.raises(CardError, match="is no dataset"):
        build_dataset("mine")


@pytest.mark.parametrize("name", ["folder", "udm10", "vid4", "videolq"])
def test_shipped_cards(name: str) -> None:
    entry = registry.datasets()[name]
    assert entry.card.name == name
    assert set(entry.knobs) <= registry.load_entry_class(entry).OPTIONS
    assert (entry.folder / "README.md").is_file()


# ------------------------------------------------------------------ real clips


def test_vid4(shared_data: Path) -> None:
    dataset = build_dataset("vid4", {"root": shared_data / "Vid4"})
    assert (dataset.id, dataset.kind, dataset.expected, dataset.unranked) == ("vid4[first31]", "synthetic", 4, None)
    assert dataset.order == ["calendar", "city", "foliage", "walk"]
    assert dataset.roles == {"gt", "lq"}
    assert any("lr_x4_matlab" in note for note in dataset.check(load_protocol("bi-x4")))
    calendar = dataset.sources()[0]
    made = apply_protocol(load_protocol("bi-x4t2"), calendar)
    given = apply_protocol(load_protocol("given-x4t2"), calendar)
    assert (len(made.lq), made.out_frames) == (16, 31)
    assert bool((made.lq[:3] == given.lq[:3]).all())


def test_videolq(shared_data: Path) -> None:
    dataset = build_dataset("videolq", {"root": shared_data / "VideoLQ_sample"})
    assert (dataset.id, dataset.kind, dataset.roles, dataset.expected) == ("videolq[other]", "no_gt", {"lq"}, 50)
    assert "clip 'demo_000' has 15 frames, not 100" in str(dataset.unranked)
    sample = apply_protocol(load_protocol("given-x4t2up"), dataset.sources()[0])
    assert (len(sample.lq), sample.out_frames, sample.lq.width) == (15, 29, 640)


def test_real_world_videos(shared_data: Path) -> None:
    dataset = folder(shared_data / "real_world", name="my_clips")
    assert (dataset.id, len(dataset.sources()), dataset.kind) == ("my_clips", 9, "no_gt")
    sample = apply_protocol(load_protocol("given-x4t2up"), dataset.sources()[-1])
    assert (sample.name, sample.lq.frame_rate, sample.frame_rate) == ("star_240p_15fps", 15, 30)
    assert sample.out_frames == 2 * len(sample.lq) - 1
