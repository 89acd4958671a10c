"""DiffST as users meet it: its card, its options and ids, and what is said while its parameters are not published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from stvsr_bench.core import registry
from stvsr_bench.core.errors import ConfigError, IncompatibleError, MethodError, WeightError
from stvsr_bench.core.weight_card import Hub
from stvsr_bench.data.protocol import resolve_auto
from stvsr_bench.evaluation.compose import compose
from stvsr_bench.evaluation.weights import weights_named
from stvsr_bench.methods.diffst.fusion import Fusion
from stvsr_bench.methods.diffst.parts import DAPE, OFFICIAL, PROMPT, PROMPT_FILE, RAM, WAN
from stvsr_bench.methods.diffst.prompt import load_prompt, prompt_key
from stvsr_bench.methods.factory import build_method
from stvsr_bench.weights import service

CARD = registry.methods()["diffst"].card


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds nothing."""
    monkeypatch.setenv("STVSR_BENCH_WEIGHTS", str(tmp_path / "cache"))
    return tmp_path / "cache"


def built(*overrides: str) -> Any:
    """The method as the command line builds it."""
    options = compose(["method=diffst", "dataset=demo", *overrides])["method"]
    return build_method("diffst", {key: value for key, value in options.items() if key != "card"})


# ---------------------------------------------------------------------- card


def test_the_card_has_code_and_says_what_lacks() -> None:
    assert (CARD.status, CARD.entry) == ("announced", "stvsr_bench.methods.diffst:DiffST")
    assert "trained parameters" in CARD.missing
    assert CARD.parameters == 1_581_460_978
    assert f"diffst/{CARD.weights[0].name}" == OFFICIAL
    assert not CARD.weights[0].published
    assert [f"diffst/{weight.name}" for weight in CARD.weights[1:]] == [WAN, RAM, DAPE, PROMPT]
    for weight in CARD.weights[1:]:
        assert weight.faults() == []
        assert weight.on_request, "`fetch all` would bring gigabytes for a method whose own parameters lack"
        assert weight.licence is not None


def test_what_is_fetched_is_pinned_by_file() -> None:
    """Fault caught: a branch that moves, or a size that is not the sum of the files'."""
    for weight in CARD.weights[1:-1]:
        for channel in weight.channels:
            assert all(file.sha256 for file in channel.files), weight.name
            assert "second-hand" in weight.note, "nobody here has hashed the files themselves"
    wan = CARD.weights[1]
    (hub,) = wan.channels
    assert isinstance(hub, Hub)
    assert hub.pinned
    assert sum(file.size or 0 for file in hub.files) == wan.size
    assert {file.path.partition("/")[0] for file in hub.files} == {"transformer", "vae"}


@pytest.mark.parametrize(
    ("kind", "roles", "lq_scale", "expected"),
    [
        ("synthetic", {"gt"}, None, "diffst-x4t4"),
        ("synthetic", {"gt", "lq"}, 4, "diffst-x4t4"),
        ("real", {"gt", "lq"}, None, "diffst-real-x4t4"),
        ("real", {"gt", "lq"}, 4, "diffst-real-x4t4"),
        ("real", {"gt", "lq"}, 1, "diffst-real-x1t4"),
        ("real", {"gt", "lq"}, 2, None),
        ("no_gt", {"lq"}, None, "given-x4t4"),
    ],
)
def test_any_factor_changes_no_protocol_that_auto_takes(
    kind: Any, roles: set[Any], lq_scale: int | None, expected: str | None
) -> None:
    """The card once named the factors of the paper only, and ``auto`` was theirs."""
    for scales, times in (((1, 4), (4,)), (CARD.scales, CARD.time_scales)):
        given: tuple[Any, ...] = ("diffst", "stvsr", scales, times, "d", kind, roles, CARD.protocols, lq_scale)
        if expected is None:
            with pytest.raises(IncompatibleError):
                resolve_auto(*given)
        else:
            assert resolve_auto(*given).id == expected


# ---------------------------------------------------------------------- options


def test_nested_options_reach_the_method() -> None:
    method = built(
        "method.preset=tiny", "method.cfca.mode=interp", "method.vrg.guidance=text", "method.tile.size=[64,96]"
    )
    assert (method.cfca["mode"], method.vrg["guidance"], method.tile["size"]) == ("interp", "text", [64, 96])
    assert method.cfca["fb_alpha"] == [0.01, 0.5], "what is not given keeps its default"
    assert method.method_id == "diffst[cfca.mode=interp,preset=tiny,tile.size=(64,96),vrg.guidance=text]"
    assert built("method.preset=tiny", "method.memory=low").method_id == "diffst[preset=tiny]"


def test_a_group_may_be_given_in_part_from_python() -> None:
    method = build_method("diffst", {"preset": "tiny", "cfca": {"mode": "flow_two"}})
    assert method.method_id == "diffst[cfca.mode=flow_two,preset=tiny]"


def test_the_readme_speaks_of_every_option_that_moves_pixels() -> None:
    text = (registry.methods()["diffst"].folder / "README.md").read_text(encoding="utf-8")
    for knob, value in built("method.preset=tiny").identity().items():
        for option in value if isinstance(value, dict) else [knob]:
            assert f"{option}`" in text or f"{option}=" in text, option


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("method.cfca.mod=interp", "method.cfca.mode"),
        ("method.vrg.guidence=text", "method.vrg.guidance"),
        ("method.cfca.mode=flow_three", "interp, flow_two, flow_multi"),
        ("method.vrg.guidance=tags", "text, video, video_text"),
        ("method.cfca=interp", "cfca"),
        ("+method.cfca.colour=1", "no option 'cfca.colour'"),
    ],
)
def test_wrong_nested_options_say_what_is_accepted(override: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        built("method.preset=tiny", override)
    assert says in str(caught.value)


def test_a_prompt_and_a_path_need_no_quoting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = compose(
        ["method=diffst", "dataset=demo", "method.prompt=sharp, clean (4k)", "method.checkpoint=my net,v2"]
    )
    assert options["method"]["prompt"] == "sharp, clean (4k)"
    assert options["method"]["checkpoint"] == str(tmp_path / "my net,v2")


@pytest.mark.parametrize(
    ("sweep", "rest", "ids"),
    [
        (
            "method.cfca.mode=interp,flow_two,flow_multi",
            "method.vrg.guidance=text",
            ["cfca.mode=interp,preset=tiny,vrg.guidance=text", "cfca.mode=flow_two,preset=tiny,vrg.guidance=text",
             "preset=tiny,vrg.guidance=text"],
        ),
        (
            "method.vrg.guidance=text,video,video_text",
            "method.cfca.mode=flow_multi",
            ["preset=tiny,vrg.guidance=text", "preset=tiny,vrg.guidance=video", "preset=tiny"],
        ),
    ],
)  # fmt: skip
def test_the_tables_rows_are_a_sweep(sweep: str, rest: str, ids: list[str], call: Callable[..., Any]) -> None:
    """As the README has it: each row has an id of its own."""
    base = ("run", "-m", "--dry-run", "method=diffst", "method.preset=tiny", "dataset=demo", "protocol=diffst-x4t4")
    answer = call(*base, sweep, rest)
    assert answer.status == 0, answer.err
    assert "3 jobs: 3 ok" in answer.out
    told = [line.split()[1] for line in answer.out.splitlines() if line.startswith("method ")]
    assert told == [f"diffst[{text}]" for text in ids]


# ---------------------------------------------------------------------- what is missing


@pytest.mark.parametrize(
    ("overrides", "absent"),
    [
        ([], {WAN, RAM, DAPE, PROMPT, "raft/large", "rife/paper_m"}),
        (["method.cfca.mode=interp", "method.vrg.guidance=text"], {WAN, PROMPT}),
        (["method.cfca.key_flow=ifnet", "method.vrg.guidance=video"], {WAN, RAM, DAPE, "rife/paper_m"}),
    ],
)
def test_what_is_absent_is_named_with_size_and_licence(overrides: list[str], absent: set[str]) -> None:
    with pytest.raises(MethodError) as caught:
        built(*overrides)
    text = str(caught.value)
    assert CARD.missing in text
    named = {w for w in (WAN, RAM, DAPE, PROMPT, "raft/large", "raft/things", "rife/paper_m") if f"{w} (" in text}
    assert named == absent
    assert (
        f"stvsr-bench fetch {' '.join(w for w in built('method.allow_untrained=true', *overrides).weights[1:])};"
        in text
    )
    assert "diffst/wan (6.2 GB, licence Apache-2.0)" in text


def test_what_lets_it_run_without_published_parameters(tmp_path: Path) -> None:
    assert built("method.preset=tiny").untrained
    assert built("method.allow_untrained=true").untrained
    state = {f"cfca.psi.{name}": tensor for name, tensor in Fusion(8, 1).state_dict().items()}
    save_file(state, tmp_path / "mine.safetensors")
    method = built(f"method.checkpoint={tmp_path / 'mine.safetensors'}")
    assert not method.untrained
    assert OFFICIAL not in method.weights
    with pytest.raises(WeightError, match="the checkpoint does not exist"):
        assert built(f"method.checkpoint={tmp_path / 'absent.safetensors'}").weights


def test_nobody_can_fetch_what_is_not_published() -> None:
    assert OFFICIAL not in service.known_weights()
    assert service.state(OFFICIAL) == "absent"
    with pytest.raises(WeightError, match="nobody has published diffst/official"):
        service.fetch_weight(OFFICIAL)


def test_its_weights_are_fetched_by_their_own_names_only() -> None:
    assert {WAN, RAM, DAPE, PROMPT} <= set(service.known_weights())
    assert not [weight for weight in weights_named("all") if weight.startswith("diffst/")]
    assert weights_named(WAN) == [WAN]
    with pytest.raises(MethodError, match=r"stvsr-bench fetch diffst/wan"):
        weights_named("diffst")


# ---------------------------------------------------------------------- the prompt's file


def write_prompts(folder: Path, *prompts: str) -> Path:
    folder.mkdir(exist_ok=True)
    tensors = {}
    for number, prompt in enumerate(prompts, 1):
        embedding = torch.zeros(1, 512, 4096, dtype=torch.bfloat16)
        embedding[:, 0] = number
        tensors[prompt_key(prompt)] = embedding
    save_file(tensors, folder / PROMPT_FILE)
    return folder


def test_the_prompts_file_is_made_not_fetched(tmp_path: Path, empty_cache: Path) -> None:
    (tmp_path / "bare").mkdir()
    for folder in (None, tmp_path / "bare"):
        with pytest.raises(WeightError) as caught:
            service.fetch_weight(PROMPT, folder=folder)
        assert "python -m stvsr_bench.methods.diffst.prompt --model DIR" in str(caught.value)
        assert PROMPT_FILE in str(caught.value)
    assert CARD.weights[-1].channels[0].files[0].path == PROMPT_FILE


@pytest.mark.parametrize("place", ["files", "files/diffst__prompt"])
def test_the_prompts_file_is_found_where_files_are_put_by_hand(place: str, empty_cache: Path) -> None:
    (empty_cache / "files").mkdir(parents=True)
    write_prompts(empty_cache / place, "")
    folder = service.weight_folder(PROMPT)
    assert folder == empty_cache / place
    assert service.state(PROMPT) == "present"
    assert load_prompt(folder / PROMPT_FILE, "")[0, 0, 0] == 1


def test_a_prompt_that_is_added_to_the_file_is_seen(tmp_path: Path) -> None:
    """Fault caught: what was read first is kept for good, and the new prompt is said to be missing."""
    folder = write_prompts(tmp_path / "made", "")
    service.fetch_weight(PROMPT, folder=folder)
    before = service.weight_hash(PROMPT)
    with pytest.raises(WeightError, match="no embedding of this prompt"):
        load_prompt(service.weight_folder(PROMPT) / PROMPT_FILE, "a clean video")
    write_prompts(folder, "", "a clean video")
    service.fetch_weight(PROMPT, folder=folder)
    assert load_prompt(service.weight_folder(PROMPT) / PROMPT_FILE, "a clean video")[0, 0, 0] == 2
    assert service.weight_hash(PROMPT) != before
