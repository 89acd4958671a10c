"""Finding a distribution's file the way pip is told to: indexes in HTML and JSON, files, folders, wrong answers."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_weights import MEMBER, WHEEL, Server, pypi, sdist, sha, torch_bytes, toy_tensors, weight, wheel, write_card

from stvsr_bench.core.errors import WeightError
from stvsr_bench.weights import service
from stvsr_bench.weights.pypi import parse_settings, pip_settings

TENSORS = toy_tensors()
MEMBERS = {MEMBER: torch_bytes(TENSORS)}
DATA = wheel(MEMBERS)
UseIndex = Callable[..., None]

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(autouse=True)
def card(cards: Path) -> None:
    write_card(cards, weight("w", TENSORS, [pypi(DATA, MEMBERS)]))


def load() -> None:
    loaded = service.load_weight("toynet/w")
    assert {name: value.tolist() for name, value in loaded.items()} == {n: t.tolist() for n, t in TENSORS.items()}


def failure() -> str:
    with pytest.raises(WeightError) as caught:
        service.load_weight("toynet/w")
    assert service.state("toynet/w") == "absent"
    return str(caught.value)


def test_settings_follow_pips_precedence() -> None:
    settings = parse_settings(
        "global.index-url='http://g/simple'\nglobal.timeout='7'\nglobal.find-links='\\n/one\\n/two words'\n"
        "download.index-url='http://d/simple'\n:env:.extra-index-url='http://e/simple file:///f'\n"
        ":env:.trusted-host='e:80 d'\nglobal.cert='/ca.pem'\ninstall.index-url='http://i/simple'\nnonsense\n"
    )
    assert settings.indexes == ("http://d/simple", "http://e/simple", "file:///f")
    assert settings.find_links == ("/one", "/two", "words")
    assert settings.connection.timeout == 7
    assert settings.connection.certificates == "/ca.pem"
    assert settings.connection.trusted_hosts == ("e:80", "d")
    assert parse_settings("").indexes == ("https://pypi.org/simple",)
    assert parse_settings(":env:.default-timeout='9'").connection.timeout == 9
    assert parse_settings("global.no-index='true'\nglobal.index-url='http://g'").indexes == ()


def test_pip_itself_is_asked(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()  # the real question, not the fixture's answer
    (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {server.url}/a\n[download]\ntimeout = 3\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{server.url}/b {server.url}/c")
    settings = pip_settings()
    assert settings.indexes[0] == f"{server.url}/a"
    assert settings.indexes[1:] == (f"{server.url}/b", f"{server.url}/c")
    assert settings.connection.timeout == 3


def test_an_html_index(server: Server, use_index: UseIndex) -> None:
    use_index(server.add_index(DATA))
    load()
    assert "application/vnd.pypi.simple.v1+json" in server.accepts[0]
    assert [path for path, _ in server.log] == ["/simple/toy-net/", f"/files/{WHEEL}"]


def test_a_relative_link(server: Server, use_index: UseIndex) -> None:
    server.add_file(WHEEL, DATA)
    use_index(server.add_index(DATA, href=f"../../files/{WHEEL}"))
    load()


def test_a_json_index(server: Server, use_index: UseIndex) -> None:
    listing = {"files": [{"filename": WHEEL, "url": server.add_file(WHEEL, DATA), "hashes": {"sha256": sha(DATA)}}]}
    server.pages["/simple/toy-net/"] = ("application/vnd.pypi.simple.v1+json", json.dumps(listing).encode())
    use_index(f"{server.url}/simple/")
    load()


def test_a_file_index(tmp_path: Path, use_index: UseIndex) -> None:
    folder = tmp_path / "my index" / "toy-net"
    folder.mkdir(parents=True)
    (folder / WHEEL).write_bytes(DATA)
    (folder / "index.html").write_text(f'<a href="./{WHEEL}#sha256={sha(DATA)}">{WHEEL}</a>')
    use_index((tmp_path / "my index").as_uri())
    load()


@pytest.mark.parametrize("form", ["folder", "address", "page", "remote page"])
def test_find_links(form: str, tmp_path: Path, server: Server, use_index: UseIndex) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / WHEEL).write_bytes(DATA)
    (tmp_path / "links.html").write_text(f'<a href="links/{WHEEL}">it</a>')
    server.pages["/links"] = ("text/html", f'<a href="{server.add_file(WHEEL, DATA)}">it</a>'.encode())
    places = {
        "folder": str(tmp_path / "links"),
        "address": (tmp_path / "links").as_uri(),
        "page": str(tmp_path / "links.html"),
        "remote page": f"{server.url}/links",
    }
    use_index(find_links=places[form])
    load()


def test_an_sdist_is_read_and_its_setup_never_runs(
    cards: Path, server: Server, use_index: UseIndex, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    members = {f"toynet-1.0/{MEMBER}": MEMBERS[MEMBER]}
    setup = f"open({str(mark)!r}, 'w')".encode()
    data = sdist({"toynet-1.0/setup.py": setup, "toynet-1.0/pyproject.toml": b"[build-system]\nrequires=[]", **members})
    write_card(cards, weight("w", TENSORS, [pypi(data, members, "toynet-1.0.tar.gz")]))
    use_index(server.add_index(data, "toynet-1.0.tar.gz"))
    load()
    assert not mark.exists()


def test_a_platform_wheel_of_elsewhere_is_read(cards: Path, server: Server, use_index: UseIndex) -> None:
    name = "toynet-1.0-cp27-cp27m-win32.whl"
    write_card(cards, weight("w", TENSORS, [pypi(DATA, MEMBERS, name)]))
    use_index(server.add_index(DATA, name))
    load()


def test_the_next_index_is_asked_after_a_wrong_file(server: Server, use_index: UseIndex) -> None:
    bad = DATA[:-40] + bytes(40)
    server.pages["/bad/toy-net/"] = ("text/html", f'<a href="{server.add_file("x/" + WHEEL, bad)}">x</a>'.encode())
    use_index(f"{server.url}/bad", server.add_index(DATA))
    load()


def test_an_index_that_gives_a_wrong_file(server: Server, use_index: UseIndex, cache: Path) -> None:
    bad = DATA[:-40] + bytes(40)
    use_index(server.add_index(bad))  # the index's own sha256 is that of the wrong file
    text = failure()
    assert f"{WHEEL} is another file; got sha256 {sha(bad)}; accepted: sha256 {sha(DATA)}" in text
    assert not list(cache.glob("downloads/*"))
    use_index(server.add_index(DATA + b"more"))
    assert f"accepted: {len(DATA)} bytes" in failure()


@pytest.mark.parametrize(
    ("kind", "body", "complaint"),
    [
        ("text/html", b"<html><body>Please <a href='/login'>sign in</a></body></html>", f"does not list {WHEEL}"),
        ("text/html", b"\x00\xff<<<a href='http://[::1'>&&&", f"does not list {WHEEL}"),
        ("application/json", b'{"message": "hello"}', "answers JSON that is no list of files"),
        ("application/vnd.pypi.simple.v1+json", b"<html>not JSON</html>", "answers JSON that is no list of files"),
        ("application/json", b'{"files": [{"filename": 3}]}', "answers JSON that is no list of files"),
    ],
)
def test_an_index_that_answers_something_else(
    kind: str, body: bytes, complaint: str, server: Server, use_index: UseIndex
) -> None:
    server.pages["/simple/toy-net/"] = (kind, body)
    use_index(f"{server.url}/simple")
    text = failure()
    assert complaint in text
    assert "PyPI Toy_Net==1.0" in text


def test_an_index_whose_file_is_a_page(server: Server, use_index: UseIndex) -> None:
    page = b"<html>Sign in</html>".ljust(len(DATA))
    use_index(server.add_index(DATA))
    server.pages[f"/files/{WHEEL}"] = ("text/html", page)
    assert "is another file; got sha256" in failure()


def test_an_index_without_the_distribution(server: Server, use_index: UseIndex) -> None:
    use_index(f"{server.url}/simple")
    assert f"/simple/toy-net/ does not list {WHEEL}; got 0 files" in failure()
    use_index()
    assert "pip is told to use no index" in failure()


def test_no_network(use_index: UseIndex, cache: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = probe.getsockname()[1]
    use_index(f"http://me:secret@127.0.0.1:{closed}/simple")
    text = failure()
    assert "cannot be asked" in text
    assert "refused" in text
    assert "secret" not in text
    for part in ("toynet/w", "licence MIT", WHEEL, "net.pth", f"{cache}/files", "fetch toynet/w --from DIR"):
        assert part in text


def test_passwords_of_the_index_reach_its_files_and_no_message(server: Server, use_index: UseIndex) -> None:
    index = server.add_index(DATA).replace("http://", "http://me:secret@")
    use_index(index)
    load()


def test_a_broken_transfer_goes_on_where_it_broke_off(server: Server, use_index: UseIndex, cards: Path) -> None:
    tensors = toy_tensors(size=200)
    members = {MEMBER: torch_bytes(tensors)}
    data = wheel(members)
    write_card(cards, weight("w", tensors, [pypi(data, members)]))
    use_index(server.add_index(data))
    server.break_after = [900_000]
    service.load_weight("toynet/w")
    ranges = [wanted for path, wanted in server.log if path.startswith("/files/")]
    assert ranges[0] is None
    assert len(ranges) == 2
    assert ranges[1] is not None
    assert 0 < int(ranges[1].removeprefix("bytes=").rstrip("-")) <= 900_000


def test_a_server_without_ranges_and_a_wrong_beginning(server: Server, use_index: UseIndex, cache: Path) -> None:
    from stvsr_bench.weights.cache import download_file
    from stvsr_bench.weights.known import carrier, weight_spec

    begun = download_file(carrier(weight_spec("toynet/w").channels[0]))
    for ranges in (True, False):
        begun.parent.mkdir(parents=True, exist_ok=True)
        begun.write_bytes(b"the beginning of something else")
        server.ranges = ranges
        use_index(server.add_index(DATA))
        load()
        for path in cache.glob("*.safetensors"):
            path.unlink()
