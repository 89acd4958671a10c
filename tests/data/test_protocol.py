"""Protocol files, which pairs fit, and what ``auto`` stands for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stvsr_bench.core.errors import CardError, ConfigError, IncompatibleError, UnknownNameError
from stvsr_bench.data import protocol as module
from stvsr_bench.data.protocol import (
    Protocol,
    fits,
    fitting_protocols,
    known_protocols,
    load_protocol,
    require_fit,
    resolve_auto,
)

TABLE = {  # id: (source, degradation, scale, time scale, frame rule)
    "bi-x4": ("generate", "bi", 4, 1, "every"),
    "bi-x4t2": ("generate", "bi", 4, 2, "every"),
    "bi-x4t4": ("generate", "bi", 4, 4, "every"),
    "bi-float-x4": ("generate", "bi_float", 4, 1, "every"),
    "bd-x4": ("generate", "bd", 4, 1, "every"),
    "bd-x4-offset0": ("generate", "bd_offset0", 4, 1, "every"),
    "bd-x4-offset2": ("generate", "bd_offset2", 4, 1, "every"),
    "given-x1": ("given", None, 1, 1, "every"),
    "given-x1t2": ("given", None, 1, 2, "every"),
    "given-x1t4": ("given", None, 1, 4, "every"),
    "given-x4": ("given", None, 4, 1, "every"),
    "given-x4t2": ("given", None, 4, 2, "every"),
    "given-x4t2up": ("given", None, 4, 2, "all"),
    "given-x4t4": ("given", None, 4, 4, "every"),
    "gt-t2": ("gt", None, 1, 2, "every"),
    "gt-t4": ("gt", None, 1, 4, "every"),
    "gt-t8": ("gt", None, 1, 8, "every"),
    "diffst-x4t4": ("generate", "dove", 4, 4, "every"),
    "diffst-dove-x4t4": ("given", None, 4, 4, "every"),
    "diffst-real-x4t4": ("given", None, 4, 4, "every"),
    "diffst-real-x1t4": ("given", None, 1, 4, "every"),
    "osdenhancer-x4t2": ("generate", "dove", 4, 2, "every"),
    "osdenhancer-dove-x4t2": ("given", None, 4, 2, "every"),
    "osdenhancer-real-x4t2": ("given", None, 4, 2, "every"),
    "osdenhancer-gopro-x4t8": ("generate", "dove", 4, 8, "windows(9, stride 8)"),
    "star-x4": ("generate", "star", 4, 1, "every"),
    "star-fixed-x4": ("generate", "star_fixed", 4, 1, "every"),
    "star-dove-x4": ("given", None, 4, 1, "every"),
    "ultravsr-x4": ("generate", "realbasicvsr", 4, 1, "every"),
    "ultravsr-dove-x4": ("given", None, 4, 1, "every"),
    "diffvsr-x4": ("generate", "realbasicvsr", 4, 1, "every"),
    "diffvsr-dove-x4": ("given", None, 4, 1, "every"),
    "realbasicvsr-byte-x4": ("generate", "realbasicvsr_byte", 4, 1, "every"),
    "dove-unit-x4": ("generate", "dove_unit", 4, 1, "every"),
    "realesrgan-x4": ("generate", "real_esrgan", 4, 1, "every"),
}


def test_the_shipped_protocols() -> None:
    loaded = {name: load_protocol(name) for name in known_protocols()}
    found = {n: (p.source, p.degradation, p.scale, p.time_scale, p.frame_rule) for n, p in loaded.items()}
    assert found == TABLE
    # A number is comparable only where the draws are equal, so the seed of every shipped protocol is the same.
    assert {p.degradation_seed for p in loaded.values()} == {0}
    assert all(p.id == name and p.version >= 1 and p.title for name, p in loaded.items())
    assert loaded["bi-x4"].kinds == loaded["gt-t8"].kinds == ("synthetic", "real")
    assert loaded["given-x4"].kinds == ("real", "no_gt")


def test_one_line_says_what_a_protocol_does() -> None:
    assert load_protocol("bi-x4t2").explain() == "LQ = bi of GT, frames 0, 2, 4 … kept; ×4 in space, ×2 in time"
    assert "every frame kept, rate ×2, no GT" in load_protocol("given-x4t2up").explain()
    assert load_protocol("given-x4").explain() == "LQ from disk, every frame; ×4 in space, ×1 in time"
    assert load_protocol("osdenhancer-gopro-x4t8").explain() == (
        "LQ = dove of GT, windows of 9 frames, stride 8, of which frames 0, 8 are kept; ×4 in space, ×8 in time"
    )


def test_unknown_names_list_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="bi-x4t2"):
        load_protocol("bi-4xt2")
    with pytest.raises(UnknownNameError):
        load_protocol("../config")
    with pytest.raises(ConfigError, match="'auto' is not a protocol"):
        load_protocol("auto")


GOOD = "id: my-x2\nversion: 2\ntitle: t\nsource: given\nscale: 2\ntime_scale: 1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "frames: 3\n", "frames: unknown field"),
        (GOOD.replace("given", "generate"), "a degradation belongs to source: generate"),
        (GOOD + "degradation: bi\n", "a degradation belongs to source: generate"),
        (GOOD.replace("given", "gt"), "scale must be 1"),
        (GOOD + "frame_rule: all\n", "frame_rule: all raises the rate"),
        (GOOD + "frame_rule: windows(9,stride 8)\n", "is not known; accepted: every, all, windows"),
        (GOOD + "frame_rule: windows(9, stride 8)\n", "frame_rule windows needs time_scale > 1"),
        (GOOD + "degradation_seed: -1\n", "degradation_seed"),
        (GOOD + "metrics: Best\n", "metrics"),
        (GOOD.replace("my-x2", "other"), "names another protocol"),
        (GOOD.replace("scale: 2", "scale: 0", 1), "scale"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str) -> None:
    monkeypatch.setattr(module, "conf_dir", lambda: tmp_path)
    (tmp_path / "protocol").mkdir()
    (tmp_path / "protocol" / "my-x2.yaml").write_text(GOOD)
    assert load_protocol("my-x2").scale == 2
    (tmp_path / "protocol" / "my-x2.yaml").write_text(text)
    with pytest.raises(CardError, match=message):
        load_protocol("my-x2")


def test_superseded_versions_stay_readable_and_unlisted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "conf_dir", lambda: tmp_path)
    (tmp_path / "protocol").mkdir()
    (tmp_path / "protocol" / "my-x2.yaml").write_text(GOOD)
    (tmp_path / "protocol" / "my-x2@1.yaml").write_text(GOOD.replace("version: 2", "version: 1"))
    (tmp_path / "protocol" / "auto.yaml").write_text("id: auto\n")
    assert known_protocols() == ["my-x2"]
    assert (load_protocol("my-x2").version, load_protocol("my-x2@1").version) == (2, 1)
    (tmp_path / "protocol" / "my-x2@1.yaml").write_text(GOOD)
    with pytest.raises(CardError, match="names another protocol"):
        load_protocol("my-x2@1")


@pytest.mark.parametrize("name", TABLE)
def test_which_tasks_fit(name: str) -> None:
    protocol = load_protocol(name)
    assert fits(protocol, "vsr") == (protocol.time_scale == 1)
    assert fits(protocol, "vfi") == (protocol.scale == 1 < protocol.time_scale)
    assert fits(protocol, "stvsr")
    assert not fits(protocol, "stvsr", scales={2, 3})
    assert not fits(protocol, "stvsr", time_scales={3, 16})
    assert fits(protocol, "stvsr", {protocol.scale}, {protocol.time_scale})
    assert fits(protocol, "stvsr", roles={"gt"}) == (protocol.source != "given")
    assert fits(protocol, "stvsr", roles={"lq"}) == (protocol.source == "given")


AUTO = {
    ("vsr", "synthetic"): "bi-x4",
    ("vsr", "real"): "given-x4",
    ("vsr", "no_gt"): "given-x4",
    ("vfi", "synthetic"): "gt-t2",
    ("vfi", "real"): "gt-t2",
    ("vfi", "no_gt"): None,
    ("stvsr", "synthetic"): "bi-x4t2",
    ("stvsr", "real"): "given-x4t2",
    ("stvsr", "no_gt"): "given-x4t2up",
}


@pytest.mark.parametrize(("task", "kind"), AUTO)
def test_auto(task: str, kind: str) -> None:
    scales, times = ({1} if task == "vfi" else None), ({1} if task == "vsr" else None)
    expected = AUTO[task, kind]  # type: ignore[index]
    if expected is not None:
        assert resolve_auto("m", task, scales, times, "d", kind).id == expected  # type: ignore[arg-type]
        return
    with pytest.raises(IncompatibleError) as caught:
        resolve_auto("m", task, scales, times, "d", kind)  # type: ignore[arg-type]
    assert "that fit 'm' and 'd': diffst-real-x1t4, given-x1t2, given-x1t4;" in str(caught.value)


def test_auto_heeds_the_factors_and_what_the_dataset_holds() -> None:
    assert resolve_auto("m", "stvsr", {4}, {4}, "d", "synthetic").id == "bi-x4t4"
    assert resolve_auto("m", "vfi", {1}, {8}, "d", "synthetic").id == "gt-t8"
    with pytest.raises(IncompatibleError, match="none fits both, nor 'm' on any dataset"):
        resolve_auto("m", "vsr", {2}, {1}, "d", "synthetic")
    # Clips of unknown role count as LQ, yet an explicit protocol may take them as GT: the list says which.
    with pytest.raises(IncompatibleError, match=r"that fit 'm' and 'd': .*gt-t2, gt-t4, gt-t8"):
        resolve_auto("m", "vfi", {1}, None, "d", "no_gt", {"gt", "lq"})


def test_auto_heeds_what_the_card_prefers() -> None:
    card = {"gopro": ["osdenhancer-gopro-x4t8"], "synthetic": ["diffst-x4t4", "osdenhancer-x4t2"]}

    def found(dataset: str, times: set[int] | None = None, kind: str = "synthetic", **more: object) -> str:
        return resolve_auto("m", "stvsr", {1, 4}, times, dataset, kind, preferred=card, **more).id  # type: ignore[arg-type]

    assert found("vid4") == "diffst-x4t4"
    assert found("vid4[first31]", {2}) == "osdenhancer-x4t2"
    assert found("gopro[other]") == "osdenhancer-gopro-x4t8"
    assert found("gopro", {4}) == "diffst-x4t4"
    assert found("vid4", {2}, "real") == "given-x4t2"
    with pytest.raises(UnknownNameError, match="bi-x4t2"):
        resolve_auto("m", "stvsr", None, None, "d", "synthetic", preferred={"synthetic": ["bi-x4t"]})


def test_auto_heeds_how_much_larger_than_its_lq_the_gt_is() -> None:
    def found(task: str, scales: set[int] | None, lq_scale: int | None) -> str:
        return resolve_auto("m", task, scales, None, "d", "real", lq_scale=lq_scale).id  # type: ignore[arg-type]

    assert [found("stvsr", None, scale) for scale in (None, 4, 1)] == ["given-x4t2", "given-x4t2", "given-x1t2"]
    assert found("vfi", {1}, 1) == "gt-t2"
    with pytest.raises(IncompatibleError) as caught:
        found("stvsr", {4}, 1)
    assert "that holds ground truth and LQ clips, ×1 apart" in str(caught.value)
    assert "given-x4t2," not in str(caught.value)
    assert "given-x4t2up" in str(caught.value)  # which needs no GT, so its size does not matter
    with pytest.raises(IncompatibleError):
        found("stvsr", None, 2)


def test_pairs_that_do_not_fit_list_those_that_do() -> None:
    with pytest.raises(IncompatibleError) as caught:
        require_fit(load_protocol("bi-x4t2"), "bicubic", "vsr", None, {1}, "vid4", {"gt"})
    assert "method 'bicubic' does not fit protocol 'bi-x4t2'" in str(caught.value)
    assert "that fit 'bicubic' and 'vid4': bd-x4, bd-x4-offset0, bd-x4-offset2, bi-float-x4, bi-x4, " in str(
        caught.value
    )
    with pytest.raises(IncompatibleError, match="that fit 'dis_flow' and 'vid4': gt-t2, gt-t4, gt-t8;"):
        require_fit(load_protocol("bi-x4"), "dis_flow", "vfi", {1}, None, "vid4", {"gt"})
    with pytest.raises(IncompatibleError) as caught:
        require_fit(load_protocol("bi-x4"), "bicubic", "vsr", None, {1}, "videolq", {"lq"})
    assert "dataset 'videolq' does not fit protocol 'bi-x4'" in str(caught.value)
    assert "that fit 'bicubic' and 'videolq': diffvsr-dove-x4, given-x1, given-x4, " in str(caught.value)


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("task", ["vsr", "vfi", "stvsr"])
@pytest.mark.parametrize("roles", [{"gt"}, {"lq"}, {"gt", "lq"}])
def test_every_pair_fits_or_is_an_error_that_lists(name: str, task: str, roles: set[str]) -> None:
    protocol = load_protocol(name)
    scales, times = ({1} if task == "vfi" else {4}), ({1} if task == "vsr" else None)
    listed = fitting_protocols(task, scales, times, roles)  # type: ignore[arg-type]
    if name in listed:
        require_fit(protocol, "m", task, scales, times, "d", roles)  # type: ignore[arg-type]
        return
    with pytest.raises(IncompatibleError) as caught:
        require_fit(protocol, "m", task, scales, times, "d", roles)  # type: ignore[arg-type]
    assert all(other in str(caught.value) for other in listed)


def test_protocols_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_protocol("bi-x4").scale = 2  # type: ignore[misc]
    assert set(Protocol.model_fields) == set(load_protocol("bi-x4").model_dump())


def test_protocols_need_no_torch() -> None:
    code = "import sys, stvsr_bench.data.protocol as p; p.load_protocol('bi-x4'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
