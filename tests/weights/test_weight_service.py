"""The service: order of channels, what is trusted, the cache, files carried by hand, being offline."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor
from toy_weights import (
    MEMBER,
    WHEEL,
    Server,
    file_facts,
    pypi,
    sha,
    torch_bytes,
    toy_tensors,
    weight,
    wheel,
    write_card,
)

from stvsr_bench.core.errors import BenchError, UnknownNameError, WeightError
from stvsr_bench.weights import service
from stvsr_bench.weights.cache import cache_dir
from stvsr_bench.weights.identity import tensor_hash

TENSORS = toy_tensors()
NET = torch_bytes(TENSORS)
MEMBERS = {MEMBER: NET}
DATA = wheel(MEMBERS)
UseIndex = Callable[..., None]

pytestmark = pytest.mark.usefixtures("cache")


def test_the_default_cache_lies_in_the_hugging_face_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.constants import HF_HOME

    monkeypatch.delenv("STVSR_BENCH_WEIGHTS")
    assert cache_dir() == Path(HF_HOME) / "stvsr_bench"


def test_an_unknown_weight_lists_the_nearest(cards: Path) -> None:
    write_card(cards, weight("net", TENSORS, [pypi(DATA, MEMBERS)]))
    with pytest.raises(UnknownNameError, match="toynet/net"):
        service.load_weight("toynet/nett")


def test_a_weight_is_fetched_once_and_kept_under_its_hash(
    cards: Path, cache: Path, server: Server, use_index: UseIndex
) -> None:
    write_card(cards, weight("w", TENSORS, [pypi(DATA, MEMBERS)]))
    use_index(server.add_index(DATA))
    assert service.state("toynet/w") == "absent"
    assert service.weight_hash("toynet/w") == tensor_hash(TENSORS)
    service.load_weight("toynet/w")
    asked = len(server.log)
    assert tensor_hash(service.load_weight("toynet/w")) == tensor_hash(TENSORS)
    assert len(server.log) == asked
    assert service.state("toynet/w") == "present"
    assert [path.name for path in cache.iterdir() if path.is_file()] == [f"{tensor_hash(TENSORS)}.safetensors"]
    assert not list((cache / "downloads").iterdir())


def test_what_comes_in_one_download_is_kept_together(cards: Path, server: Server, use_index: UseIndex) -> None:
    both = torch_bytes({**TENSORS, "head": torch.ones(3)})
    other = toy_tensors(1)
    members = {MEMBER: both, "toynet/other.pth": torch_bytes(other), "toynet/bad.pth": b"damaged"}
    data = wheel(members)
    one = {MEMBER: both}
    write_card(
        cards,
        weight("trunk", TENSORS, [pypi(data, one)], drop=["head"]),
        weight("head", {"head": torch.ones(3)}, [pypi(data, one)], drop=["conv.*"]),
        weight("other", other, [pypi(data, {"toynet/other.pth": members["toynet/other.pth"]})]),
        weight("bad", other | {"x": torch.ones(1)}, [pypi(data, {"toynet/bad.pth": b"damaged"})]),
    )
    use_index(server.add_index(data))
    service.load_weight("toynet/trunk")
    states = {name: service.state(f"toynet/{name}") for name in ("trunk", "head", "other", "bad")}
    assert states == {"trunk": "present", "head": "present", "other": "present", "bad": "absent"}
    assert sum(path.startswith("/files/") for path, _ in server.log) == 1


CHANGED: dict[str, dict[str, Tensor]] = {
    "one value": {**TENSORS, "conv.bias": torch.tensor([1e-7] + [0.0] * 7)},
    "missing": {"conv.weight": TENSORS["conv.weight"]},
    "extra": {**TENSORS, "conv.scale": torch.ones(8)},
    "shape": {**TENSORS, "conv.bias": torch.zeros(1, 8)},
    "dtype": {**TENSORS, "conv.bias": torch.zeros(8, dtype=torch.float64)},
}


@pytest.mark.parametrize("change", CHANGED)
def test_other_tensors_are_never_kept(change: str, cards: Path, server: Server, cache: Path) -> None:
    """Also where the card's own sha256 is that of the wrong file, and from a folder."""
    data = torch_bytes(CHANGED[change])
    url = server.add_file("net.pth", data)
    write_card(cards, weight("w", TENSORS, [{"kind": "address", "url": url, "size": len(data), "sha256": sha(data)}]))
    with pytest.raises(WeightError, match=f"tensor hash {tensor_hash(CHANGED[change])}.*{tensor_hash(TENSORS)}"):
        service.load_weight("toynet/w")
    (cache / "files").mkdir()
    (cache / "files" / "net.pth").write_bytes(data)
    with pytest.raises(WeightError, match=r"1\. .*/files: the tensors are not those of the card.*2\. http"):
        service.load_weight("toynet/w")
    assert not list(cache.glob("*.safetensors"))


def test_channels_are_tried_in_order_and_all_are_named(cards: Path, server: Server, use_index: UseIndex) -> None:
    channels = [
        {"kind": "local", "files": [{"path": "/nowhere/net.pth"}]},
        {"kind": "address", "url": f"{server.url}/absent/net.pth"},
        pypi(DATA, MEMBERS),
    ]
    write_card(cards, weight("w", TENSORS, channels, size=1000))
    use_index(f"{server.url}/simple")
    with pytest.raises(WeightError) as caught:
        service.load_weight("toynet/w")
    text = str(caught.value)
    assert text.index("/nowhere/net.pth") < text.index("status 404") < text.index(f"does not list {WHEEL}")
    assert "toynet/w (1 kB, licence MIT) cannot be had" in text
    use_index(server.add_index(DATA))
    service.load_weight("toynet/w")


def test_a_local_path_of_the_card(cards: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(NET)
    write_card(cards, weight("w", TENSORS, [{"kind": "local", "files": [file_facts(str(path), NET)]}]))
    service.load_weight("toynet/w")
    path.write_bytes(NET + b"x")
    shutil.rmtree(cache_dir())
    with pytest.raises(WeightError, match="has another size"):
        service.load_weight("toynet/w")


@pytest.mark.parametrize("form", ["distribution", "file", "cache of another machine", "file saved again"])
def test_files_carried_by_hand(form: str, cards: Path, tmp_path: Path, cache: Path) -> None:
    write_card(cards, weight("w", TENSORS, [pypi(DATA, MEMBERS)]))
    folder = tmp_path / "carried"
    folder.mkdir()
    saved_again = torch_bytes(dict(reversed(TENSORS.items())))
    assert sha(saved_again) != sha(NET)
    name, data = {
        "distribution": (WHEEL, DATA),
        "file": ("net.pth", NET),
        "cache of another machine": (f"{tensor_hash(TENSORS)}.safetensors", safetensors.torch.save(TENSORS)),
        "file saved again": ("net.pth", saved_again),  # the tensors decide, not the file
    }[form]
    with pytest.raises(WeightError, match=r"is not in .*carried.*accepted: toynet-1.0.*whl or net\.pth or .*safetens"):
        service.fetch_weight("toynet/w", folder=folder)
    (folder / name).write_bytes(data)
    service.fetch_weight("toynet/w", folder=folder)
    assert service.state("toynet/w") == "present"
    shutil.rmtree(cache)
    shutil.copytree(folder, cache / "files")
    with service.offline():
        service.load_weight("toynet/w")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (WHEEL, DATA[:-100]),
        (WHEEL, wheel({"toynet/network.pth": NET})),
        ("net.pth", b"<html>"),
        (f"{tensor_hash(TENSORS)}.safetensors", safetensors.torch.save(CHANGED["one value"])),
    ],
    ids=["truncated", "another member", "page", "another cache file"],
)
def test_a_wrong_file_carried_by_hand(name: str, data: bytes, cards: Path, tmp_path: Path, cache: Path) -> None:
    write_card(cards, weight("w", TENSORS, [pypi(DATA, MEMBERS)]))
    folder = tmp_path / "carried"
    folder.mkdir()
    (folder / name).write_bytes(data)
    with pytest.raises(WeightError, match="is not in"):
        service.fetch_weight("toynet/w", folder=folder)
    assert not list(cache.glob("*.safetensors"))


def test_offline_asks_nobody(cards: Path, server: Server, use_index: UseIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    address = {"kind": "address", "url": server.add_file("net.pth", NET), "sha256": sha(NET)}
    write_card(cards, weight("w", TENSORS, [address, pypi(DATA, MEMBERS)]))
    use_index(server.add_index(DATA))
    with service.offline():
        assert service.is_offline()
        with pytest.raises(WeightError, match=r"\(offline\).*not asked, offline.*put one of these files into"):
            service.load_weight("toynet/w")
    assert not service.is_offline()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightError, match="offline"):
        service.load_weight("toynet/w")
    assert server.log == []
    monkeypatch.delenv("HF_HUB_OFFLINE")
    service.load_weight("toynet/w")
    with service.offline():
        service.load_weight("toynet/w")


def test_a_damaged_cache_file_is_fetched_again(cards: Path, cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(NET)
    write_card(cards, weight("w", TENSORS, [{"kind": "local", "files": [{"path": str(path)}]}]))
    service.load_weight("toynet/w")
    (kept,) = cache.glob("*.safetensors")
    whole = kept.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-4] + b"\1\2\3\4", b""):
        kept.write_bytes(damaged)
        assert tensor_hash(service.load_weight("toynet/w")) == tensor_hash(TENSORS)
        assert kept.read_bytes() == whole


def test_a_weight_known_by_its_file_has_its_tensor_hash_recorded(cards: Path, server: Server) -> None:
    address = {"kind": "address", "url": server.add_file("net.pth", NET), "sha256": sha(NET), "size": len(NET)}
    write_card(cards, weight("w", None, [address]))
    assert service.weight_hash("toynet/w") == f"file:{sha(NET)}"
    assert tensor_hash(service.load_weight("toynet/w")) == tensor_hash(TENSORS)
    assert service.weight_hash("toynet/w") == tensor_hash(TENSORS)
    server.pages.clear()
    service.load_weight("toynet/w")
    write_card(cards, weight("w", None, [address], drop=["conv.bias"]))  # read in another way, it is another weight
    assert service.state("toynet/w") == "absent"


def test_a_weight_known_by_its_file_is_taken_from_no_other(cards: Path, server: Server) -> None:
    other = torch_bytes(dict(reversed(TENSORS.items())))
    address = {"kind": "address", "url": server.add_file("net.pth", other), "sha256": sha(NET)}
    write_card(cards, weight("w", None, [address]))
    with pytest.raises(WeightError, match=f"is another file; got sha256 {sha(other)}; accepted: sha256 {sha(NET)}"):
        service.load_weight("toynet/w")
    folder = cache_dir() / "files"
    folder.mkdir(parents=True)
    (folder / "net.pth").write_bytes(other)
    with pytest.raises(WeightError, match=r"1\. .*files/net\.pth' (has another size|is another file)"):
        service.load_weight("toynet/w")


def test_tied_tensors_are_kept(cards: Path, tmp_path: Path) -> None:
    shared = torch.ones(4)
    tied = {"a": shared, "b": shared, "c": torch.arange(12.0)[::3]}
    path = tmp_path / "net.pth"
    path.write_bytes(torch_bytes(tied))
    write_card(cards, weight("w", tied, [{"kind": "local", "files": [{"path": str(path)}]}]))
    assert tensor_hash(service.load_weight("toynet/w")) == tensor_hash(tied)


def test_errors_are_ours(cards: Path) -> None:
    assert issubclass(WeightError, BenchError)
    write_card(cards, {"name": "w", "licence": "MIT"})
    with pytest.raises(BenchError, match="lacks reader, channels, tensor_hash"):
        service.load_weight("toynet/w")
