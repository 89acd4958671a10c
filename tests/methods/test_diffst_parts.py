"""What DiffST does with a checkpoint that is not all of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from stvsr_bench.core.errors import ConfigError, WeightError
from stvsr_bench.methods.base import Request
from stvsr_bench.methods.diffst import DiffST
from stvsr_bench.methods.diffst.fusion import Fusion
from stvsr_bench.nn.ifnet_paper import IFNet
from stvsr_bench.nn.rife4 import Rife4
from stvsr_bench.video.clip import ArrayClip


@pytest.fixture
def fusion_only(tmp_path: Path) -> Path:
    state = {f"cfca.psi.{name}": tensor for name, tensor in Fusion().state_dict().items()}
    save_file(state, tmp_path / "psi.safetensors")
    return tmp_path / "psi.safetensors"


def test_a_part_of_a_checkpoint_is_refused_unless_the_rest_may_be_untrained(fusion_only: Path) -> None:
    """Catches a run that counts as trained although its transformer and its guidance are where training starts."""
    method = DiffST(name="diffst", checkpoint=str(fusion_only))
    assert not method.untrained
    with pytest.raises(WeightError, match=r"nothing of transformer\., vrg\."):
        method.setup("meta")


@pytest.mark.parametrize(("options", "lacking"), [({}, True), ({"vrg": {"guidance": "text"}}, True)])
def test_the_result_is_marked_then(
    fusion_only: Path, options: dict[str, object], lacking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a mark that depends on absent published parameters alone."""
    monkeypatch.setattr("stvsr_bench.weights.service.state", lambda weight: "present")
    assert DiffST(name="diffst", checkpoint=str(fusion_only), allow_untrained=True, **options).untrained is lacking  # type: ignore[arg-type]


def test_a_part_that_the_options_do_not_use_need_not_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a checkpoint of an ablation that is refused for parts which its row does not have."""
    monkeypatch.setattr("stvsr_bench.weights.service.state", lambda weight: "present")
    from stvsr_bench.methods.diffst.checkpoint import Trained

    method = DiffST(
        name="diffst",
        checkpoint=str(tmp_path / "absent"),
        cfca={"mode": "flow_two"},
        vrg={"guidance": "text"},
        allow_untrained=True,
    )
    one = {"weight": torch.zeros(1)}
    method.__dict__["_trained"] = Trained(tmp_path, (), one, {}, {}, {}, {})
    assert not method.untrained


def test_another_network_can_interpolate() -> None:
    """Catches a switch that is accepted and changes nothing, or asks for the parameters of the other network."""
    clip = ArrayClip(torch.randint(0, 256, (2, 3, 20, 24), dtype=torch.uint8), "x")
    outputs = {}
    for vfi in ("ifnet_m", "rife4"):
        method = DiffST(name="diffst", preset="tiny", cfca={"mode": "flow_two", "vfi": vfi}, vrg={"guidance": "text"})
        method.setup()
        outputs[vfi] = torch.cat(list(method.restore(clip, Request(2, 2))))
        assert isinstance(method.part("cfca").ifnet, Rife4) == (vfi == "rife4")
        method.close()
    assert not torch.equal(outputs["ifnet_m"][1], outputs["rife4"][1])
    full = DiffST(name="diffst", cfca={"vfi": "rife4"})
    assert "rife/4.0" in full.weights
    assert "rife/paper_m" not in full.weights
    assert full.method_id == "diffst[cfca.vfi=rife4]"


def test_a_preset_and_a_checkpoint_exclude_one_another(fusion_only: Path) -> None:
    """Catches trained parameters that meet networks of toy width."""
    with pytest.raises(ConfigError, match="preset=tiny has parameters of its own"):
        DiffST(name="diffst", preset="tiny", checkpoint=str(fusion_only))


@pytest.mark.parametrize(("vfi", "wanted"), [("ifnet_m", set()), ("rife4", {"rife/4.0"})])
def test_a_flow_network_in_the_checkpoint_is_not_asked_for_again(tmp_path: Path, vfi: str, wanted: set[str]) -> None:
    """Catches a complete checkpoint that still asks for a file that only comes by hand."""
    state = {f"cfca.ifnet.{k}": v for k, v in IFNet(timed=True, refine=False).state_dict().items()}
    save_file(state, tmp_path / "ifnet.safetensors")
    method = DiffST(name="diffst", checkpoint=str(tmp_path / "ifnet.safetensors"), cfca={"vfi": vfi})
    assert {weight for weight in method.weights if weight.startswith("rife/")} == wanted
