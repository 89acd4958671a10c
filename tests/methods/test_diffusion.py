"""Services of every diffusion method: memory modes and their choice, retries, stages, progress, compilation."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console
from torch import nn
from toy_diffusion import Toy, options

from stvsr_bench.core.errors import ConfigError, MethodError
from stvsr_bench.evaluation.progress import RunProgress
from stvsr_bench.evaluation.restore import restore_clip
from stvsr_bench.evaluation.windowed import restore_sample
from stvsr_bench.methods import diffusion
from stvsr_bench.methods.base import Report, Request
from stvsr_bench.methods.diffusion import MARGIN, MODES, Geometry, Part
from stvsr_bench.nn.offload import Transfer
from stvsr_bench.video.clip import ArrayClip, Frames

CLIP = ArrayClip(
    torch.randint(0, 256, (5, 3, 6, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)), name="noise"
)
REQUEST = Request(4, 1, seed=3, name="noise")
GEOMETRY = Geometry(2, 24, 28)


@pytest.fixture(autouse=True)
def _free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not depend on what this machine has left."""
    monkeypatch.setattr(diffusion, "free_memory", lambda device: 1 << 40)


@pytest.fixture
def real_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that copies parameters as an accelerator does."""
    monkeypatch.setattr(diffusion, "Transfer", lambda device: Transfer(device, copies=True))


def _toy(**given: object) -> Toy:
    toy = Toy(**options(**given))
    toy.setup()
    return toy


def _restore(toy: Toy, report: Report | None = None) -> Frames:
    return torch.cat(list(toy.restore(CLIP, REQUEST, report)))


# ---------------------------------------------------------------------- modes


@pytest.mark.usefixtures("real_copies")
def test_all_modes_give_the_same_pixels() -> None:
    expected = _restore(_toy(memory="normal"))
    for mode in ("auto", *MODES):
        toy = _toy(memory=mode)
        report = Report()
        assert torch.equal(_restore(toy, report), expected)
        assert toy.memory_mode == report.plan["memory"]["mode"] == ("normal" if mode == "auto" else mode)
        assert report.notes == []
        assert torch.equal(_restore(toy), expected), "a second clip finds everything in its place"


def test_the_plan_says_what_was_asked_estimated_and_free() -> None:
    report = Report()
    _restore(_toy(memory="low"), report)
    memory = report.plan["memory"]
    assert list(memory) == ["asked", "mode", "estimates", "free"]
    assert (memory["asked"], memory["mode"]) == ("low", "low")
    assert list(memory["estimates"]) == list(MODES)
    assert report.plan["precision"] == {"codec": "float32", "codec.exact": "float32", "net": "float32"}
    assert report.plan["retries"] == []


def test_precision_follows_the_dtype() -> None:
    toy = Toy(**options())
    toy.setup("cpu", "bfloat16")
    report = Report()
    frames = _restore(toy, report)
    assert report.plan["precision"] == {"codec": "bfloat16", "codec.exact": "float32", "net": "bfloat16"}
    assert toy.part("codec").exact.weight.dtype == torch.float32
    assert toy.part("net").first.weight.dtype == torch.bfloat16
    difference = (frames.int() - _restore(_toy()).int()).abs()
    assert 0 < int(difference.max()) <= 4


def _bytes(module: nn.Module) -> int:
    return 4 * sum(parameter.numel() for parameter in module.parameters())


def test_estimates_are_exact_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a device of its own; estimates ask for nothing but the sizes."""
    toy = _toy()
    codec, net = toy.part("codec"), toy.part("net")
    block, pixels = _bytes(net.blocks[0]), 2 * 24 * 28
    every = _bytes(codec) + _bytes(net)
    toy.device = torch.device("mps")
    assert toy.needed(GEOMETRY) == {
        "normal": int((every + pixels * 4 * 3) * MARGIN),
        "low": int(max(_bytes(codec) + pixels * 2 * 3, _bytes(net) + pixels * 2) * MARGIN),
        "lowest": int(max(_bytes(codec) + pixels * 3, _bytes(net) - 2 * block + pixels) * MARGIN),
    }
    toy.device = torch.device("cpu")  # where parameters have nowhere else to go
    assert toy.needed(GEOMETRY) == {
        mode: int((every + pixels * factor * 3) * MARGIN) for mode, factor in zip(MODES, (4, 2, 1), strict=True)
    }


def _on_a_device_of_its_own(toy: Toy, free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Free memory such that, with what the parts hold, ``free`` bytes are there."""
    held = _bytes(toy.part("codec")) + _bytes(toy.part("net"))
    monkeypatch.setattr(diffusion, "free_memory", lambda device: free - held)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("short", [0, 1])
def test_auto_takes_the_first_mode_that_fits(mode: str, short: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the threshold to the byte: enough for ``mode``, or one byte too few."""
    toy = _toy()
    needed = toy.needed(GEOMETRY)
    assert needed["normal"] > needed["low"] > needed["lowest"]
    _on_a_device_of_its_own(toy, needed[mode] - short, monkeypatch)
    expected = MODES[MODES.index(mode) + short :]  # type: ignore[arg-type]
    report = Report()
    if expected:
        _restore(toy, report)
        assert toy.memory_mode == report.plan["memory"]["mode"] == expected[0]
        assert report.plan["memory"]["free"] == needed[mode] - short
        return
    with pytest.raises(MethodError) as caught:
        next(toy.restore(CLIP, REQUEST, report))
    assert report.stages == [], "no work was done"
    text = str(caught.value)
    assert "no memory mode fits on cpu for 2 frames of 24x28" in text
    for part in ("normal from 0.00 GiB", "low from", "lowest from", "0.00 GiB free", "method.width=4", "memory=lowest"):
        assert part in text


def test_the_choice_is_kept_for_clips_of_the_same_size(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = _toy()
    _on_a_device_of_its_own(toy, toy.needed(GEOMETRY)["low"], monkeypatch)
    first, second = Report(), Report()
    _restore(toy, first)
    monkeypatch.setattr(diffusion, "free_memory", lambda device: 1 << 40)
    _restore(toy, second)
    assert first.plan["memory"] == second.plan["memory"]
    assert second.plan["memory"]["mode"] == "low"


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_that_is_asked_for_only_warns(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = _restore(_toy())
    toy = _toy(memory=mode)
    monkeypatch.setattr(diffusion, "free_memory", lambda device: 0)
    for _ in range(2):
        report = Report()
        assert torch.equal(_restore(toy, report), expected)
        assert toy.memory_mode == mode
        assert len(report.notes) == 1 or mode == "normal"
        assert f"method.memory={mode} needs about" in report.notes[0]


def test_where_nobody_knows_what_is_free_auto_is_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = _toy()
    monkeypatch.setattr(diffusion, "free_memory", lambda device: None)
    report = Report()
    _restore(toy, report)
    assert report.plan["memory"]["mode"] == "normal"
    assert report.plan["memory"]["free"] is None


# ---------------------------------------------------------------------- memory runs out all the same


@pytest.mark.usefixtures("real_copies")
@pytest.mark.parametrize("memory", ["auto", "normal"])
@pytest.mark.parametrize("failing", [{"normal": 1}, {"normal": 9, "low": 9}])
def test_the_next_lower_mode_takes_over(memory: str, failing: dict[str, int]) -> None:
    expected = _restore(_toy())
    toy = _toy(memory=memory)
    toy.fail_when = dict(failing)
    report = Report()
    assert torch.equal(_restore(toy, report), expected), "random numbers are those of the first attempt"
    last = MODES[len(failing)]
    assert [retry["memory"] for retry in report.plan["retries"]] == list(failing)
    assert all("CUDA out of memory" in retry["error"] for retry in report.plan["retries"])
    assert report.plan["memory"]["mode"] == toy.memory_mode == last
    assert report.notes[-1].endswith(f"went on in {last}")
    again = Report()
    _restore(toy, again)
    assert again.plan["memory"]["mode"] == last
    assert again.plan["retries"] == [], "the next clip starts where this one ended"


def test_when_the_lowest_mode_runs_out_the_error_says_what_to_do() -> None:
    toy = _toy()
    toy.fail_when = dict.fromkeys(MODES, 9)
    report = Report()
    with pytest.raises(MethodError, match=r"ran out of memory on cpu in the mode lowest.*method\.width=4"):
        _restore(toy, report)
    assert [retry["memory"] for retry in report.plan["retries"]] == list(MODES)
    toy.fail_when = {}
    assert len(_restore(toy)) == 5, "and the method is as before"


def test_other_errors_are_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = _toy()

    def broken(x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(toy.part("net"), "forward", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        _restore(toy)
    with toy.using("net", Report()):
        pass  # the part that raised is free again


# ---------------------------------------------------------------------- stages and progress


def test_every_stage_is_named_timed_and_counted() -> None:
    report = Report()
    frames = _restore(_toy(), report)
    assert [stage.name for stage in report.stages] == [
        "restore/toy.prepare", "restore/toy.encode", "restore/toy.net", "restore/toy.decode",
    ]  # fmt: skip
    assert all(stage.seconds > 0 and stage.frames == len(frames) for stage in report.stages)


def test_stages_of_a_cascade_are_its_own() -> None:
    report = Report()
    other = report.stage("toy.net")
    list(_toy().restore(CLIP, REQUEST, report.child("vsr")))
    assert other.frames == other.seconds == 0
    assert [stage.name for stage in report.stages][1:2] == ["vsr/toy.prepare"]


def test_progress_within_a_clip_is_complete_and_monotonic() -> None:
    calls: list[tuple[str, int, int]] = []
    _restore(_toy(), Report(progress=lambda *call: calls.append(call)))
    assert calls == [("decode tiles", done, total) for total in (2, 2, 1) for done in range(1, total + 1)]
    calls.clear()
    _restore(_toy(), Report(progress=lambda *call: calls.append(call)).child("vsr"))
    assert {what for what, _, _ in calls} == {"vsr: decode tiles"}


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_shows_the_step_and_nothing_else_does(terminal: bool) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100)
    with RunProgress(console, 1) as progress:
        progress.step("demo_pan", "decode tiles", 3, 12)
        shown = "" if progress._bars is None else progress._bars.tasks[0].description
        progress.step("demo_pan", "frames", 2, 9)
        after = [] if progress._bars is None else [(t.description, t.completed, t.total) for t in progress._bars.tasks]
        progress.sample_done("demo_pan", "restored")
    assert shown == ("demo_pan: decode 3/12 tiles" if terminal else "")
    assert after == ([("demo_pan", 2, 9)] if terminal else [])
    if not terminal:
        assert text.getvalue() == "[1/1] demo_pan: restored\n"


def test_restore_and_run_hand_steps_on(
    tmp_path: Path,
) -> None:
    """From the method to whoever shows them: through `restore`, and through a run of windows of a protocol."""
    steps: list[tuple[str, int, int]] = []
    restore_clip(
        CLIP, str(tmp_path / "out"), Toy(**options(scale=4)), device="cpu", progress=lambda *s: steps.append(s)
    )
    expected = []
    for done, count in ((2, 2), (4, 2), (5, 1)):
        expected += [*(("decode tiles", number, count) for number in range(1, count + 1)), ("frames", done, 5)]
    assert steps == expected

    toy, seen = _toy(), []
    report = Report(progress=lambda *step: seen.append(step))
    sample = SimpleNamespace(
        windows=(1, 2), inputs=[range(2), range(2, 5)], outputs=[range(2), range(2, 5)], out_frames=5
    )
    list(restore_sample(toy, sample, CLIP, REQUEST, report))  # type: ignore[arg-type]
    assert [total for _, done, total in seen if done == 1] == [2, 2, 1]


# ---------------------------------------------------------------------- contract


def test_memory_and_compilation_are_no_part_of_the_identity() -> None:
    plain, other = Toy(**options()), Toy(**options(memory="lowest", compile=True))
    assert plain.method_id == other.method_id == "toy[preset=tiny]"
    assert plain.identity() == other.identity() == {"preset": "tiny", "width": 8}
    assert other.knobs() == {"width": 8, "memory": "lowest", "compile": True}


@pytest.mark.parametrize(
    ("given", "complaint"),
    [({"memory": "tiny"}, "memory is no mode"), ({"memory": None}, "memory"), ({"compile": "yes"}, "compile")],
)
def test_wrong_knobs_are_refused(given: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Toy(**options(**given))


def test_parts_must_be_held_one_at_a_time_and_as_stated() -> None:
    toy = _toy()
    report = Report()
    with pytest.raises(MethodError, match="holds no part 'vae'"), toy.using("vae", report):
        pass
    with pytest.raises(MethodError, match="'net' is asked for while 'codec' runs"), toy.using("codec", report):
        toy.using("net", report).__enter__()
    with pytest.raises(MethodError, match=r"part 'net' is torch.float64"):
        toy.hold(Part("net", nn.Linear(1, 1), torch.float64))


@pytest.mark.usefixtures("real_copies")
def test_close_frees_what_the_parts_hold() -> None:
    toy = _toy(memory="low")
    _restore(toy)
    toy.close()
    with pytest.raises(MethodError, match="holds no part 'net'"):
        toy.part("net")
    with pytest.raises(MethodError, match="setup"):
        toy.restore(CLIP, REQUEST)
    toy.setup()
    assert len(_restore(toy)) == 5


def test_parameters_are_reproducible_unless_speed_is_all_that_counts() -> None:
    one, two, quick = _toy(), _toy(), Toy(**options())
    quick.quick = True
    quick.setup("cpu", "bfloat16")
    for name in ("codec", "net"):
        values = [list(toy.part(name).parameters()) for toy in (one, two, quick)]
        assert all(torch.equal(a, b) for a, b in zip(values[0], values[1], strict=True))
        assert not any(torch.equal(a, b.float()) for a, b in zip(values[0], values[2], strict=True) if a.ndim > 1)
    weight = quick.part("net").blocks[0].narrow.weight
    assert 0.5 < float(weight.float().std() * weight.shape[1] ** 0.5) < 1.5
    assert len(_restore(quick)) == 5


def test_a_buffer_without_values_is_refused() -> None:
    with torch.device("meta"):
        module = nn.BatchNorm1d(3)
    toy = _toy()
    with pytest.raises(MethodError, match="running_mean"):
        toy.seeded(module, torch.float32, "x")


@pytest.fixture
def compiler() -> Iterator[None]:
    if shutil.which("gcc") is None and shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    yield
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.usefixtures("compiler", "real_copies")
def test_compiled_parts_differ_by_rounding_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    expected = _restore(_toy())
    toy = _toy(compile=True, memory="lowest")
    assert hasattr(toy.part("net").blocks[0].forward, "_torchdynamo_orig_callable")
    assert int((_restore(toy).int() - expected.int()).abs().max()) <= 1


def test_without_a_compiler_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._inductor.config

    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", (None, "/nowhere/g++"))
    monkeypatch.setattr(torch._inductor.config, "force_disable_caches", True)
    with pytest.raises(MethodError, match=r"cannot compile part 'net'.*C\+\+ compiler.*method\.compile=false"):
        _restore(_toy(compile=True))
    torch.compiler.reset()
