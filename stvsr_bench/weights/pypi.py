"""Finding one file of a PyPI distribution through the user's own pip configuration.

pip itself cannot be asked for an sdist without running its build backend, so the index is asked directly: what pip
would read is read, the exact file name is looked up, and the file is fetched as any other. Nothing is installed, built,
imported or executed.

Source: the simple repository API of PyPI in its HTML (PEP 503) and JSON (PEP 691) forms.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit
from urllib.request import url2pathname

import requests

from stvsr_bench.core.errors import WeightError
from stvsr_bench.core.weight_card import Pypi
from stvsr_bench.weights.download import Connection, reason, shown

DEFAULT_INDEX = "https://pypi.org/simple"
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_SECTIONS = (":env:", "download", "global")  # the first that names a key counts
_TRUE = ("1", "true", "yes", "on")


@dataclass(frozen=True)
class PipSettings:
    """What pip is told about where packages come from.

    Attributes:
        indexes: addresses of simple indexes, in order.
        find_links: pages, folders or files with links, in order.
        connection: how to reach them.
    """

    indexes: tuple[str, ...] = (DEFAULT_INDEX,)
    find_links: tuple[str, ...] = ()
    connection: Connection = field(default_factory=Connection)


def pip_settings() -> PipSettings:
    """Return pip's effective settings on this machine, from its configuration files and the environment."""
    listed = _pip_config_list(tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith("PIP_"))))
    return parse_settings(listed)


@functools.lru_cache(maxsize=4)
def _pip_config_list(environment: tuple[tuple[str, str], ...]) -> str:
    """Ask pip; without pip in this environment its settings are those of the environment variables."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode == 0:
            return done.stdout
    except (OSError, subprocess.TimeoutExpired):
        pass
    names = ((key.removeprefix("PIP_").lower().replace("_", "-"), value) for key, value in environment)
    return "\n".join(f":env:.{name}={value!r}" for name, value in names)


def parse_settings(listed: str) -> PipSettings:
    """Return the settings that the text of ``pip config list`` states.

    >>> parse_settings("global.index-url='http://index.example/simple'\\n:env:.extra-index-url='file:///a file:///b'").indexes
    ('http://index.example/simple', 'file:///a', 'file:///b')
    """
    values: dict[str, str] = {}
    for section in reversed(_SECTIONS):
        for line in listed.splitlines():
            key, _, literal = line.partition("=")
            if key.startswith(f"{section}."):
                try:
                    values[key[len(section) + 1 :]] = str(ast.literal_eval(literal))
                except (ValueError, SyntaxError):
                    continue
    indexes = [values.get("index-url") or DEFAULT_INDEX, *values.get("extra-index-url", "").split()]
    if values.get("no-index", "").lower() in _TRUE:
        indexes = []
    timeout = values.get("timeout") or values.get("default-timeout") or ""
    return PipSettings(
        indexes=tuple(indexes),
        find_links=tuple(values.get("find-links", "").split()),
        connection=Connection(
            certificates=values.get("cert") or None,
            client_certificate=values.get("client-cert") or None,
            proxy=values.get("proxy") or None,
            trusted_hosts=tuple(values.get("trusted-host", "").split()),
            timeout=float(timeout) if re.fullmatch(r"\d+(\.\d+)?", timeout) else 15.0,
        ),
    )


def normalised(name: str) -> str:
    """Return the name of a distribution as indexes spell it.

    >>> normalised("DISTS_pytorch")
    'dists-pytorch'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def find_file(channel: Pypi, settings: PipSettings) -> Iterator[str | WeightError]:
    """Yield the address of the channel's file from each place that lists it, and an error for each that does not.

    Args:
        channel: which file of which distribution.
        settings: where to look: find-links first, then the indexes in order.
    """
    pages = [(place, place) for place in settings.find_links]
    pages += [(index, f"{index.rstrip('/')}/{normalised(channel.distribution)}/") for index in settings.indexes]
    if not pages:
        yield WeightError("pip is told to use no index and no find-links")
    for place, page in pages:
        try:
            links = _links(page, settings.connection)
        except WeightError as error:
            yield error
            continue
        if channel.file in links:
            yield _with_credentials(links[channel.file], place)
        elif place not in settings.find_links or len(pages) == 1:
            yield WeightError(f"{shown(page)} does not list {channel.file}", got=f"{len(links)} files")


def _links(page: str, connection: Connection) -> dict[str, str]:
    """Return the addresses that a page or folder lists, by file name, without fragments."""
    scheme = urlsplit(page).scheme
    if scheme in ("http", "https"):
        return _remote_links(page, connection)
    path = Path(url2pathname(urlsplit(page).path)) if scheme == "file" else Path(page).expanduser().absolute()
    if (path / "index.html").is_file():
        path = path / "index.html"
    try:
        if path.is_dir():
            return {entry.name: entry.as_uri() for entry in path.iterdir() if entry.is_file()}
        if path.suffix in (".html", ".htm"):
            return _html_links(path.read_text(encoding="utf-8", errors="replace"), path.as_uri())
        return {path.name: path.as_uri()} if path.is_file() else {}
    except OSError as error:
        raise WeightError(f"cannot read '{path}'", got=error.strerror) from error


def _remote_links(page: str, connection: Connection) -> dict[str, str]:
    try:
        with connection.get(page, accept=ACCEPT) as answer:
            status, kind, base = answer.status_code, answer.headers.get("Content-Type", ""), answer.url
            content, text = answer.content, answer.text
    except requests.RequestException as error:
        raise WeightError(f"{shown(page)} cannot be asked", got=reason(error), action="check the network") from error
    if status == 404:
        return {}
    if status != 200:
        raise WeightError(f"{shown(page)} cannot be asked", got=f"status {status}")
    if "json" not in kind.partition(";")[0]:
        return _html_links(text, base)
    try:
        files = json.loads(content)["files"]
        return {str(file["filename"]): _plain(urljoin(base, str(file["url"]))) for file in files}
    except (ValueError, KeyError, TypeError) as error:
        raise WeightError(f"{shown(page)} answers JSON that is no list of files", got=repr(text[:60])) from error


class _Anchors(HTMLParser):
    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        target = dict(attrs).get("href")
        if not target:
            return
        try:
            address = _plain(urljoin(self.base, target))
        except ValueError:  # no address at all
            return
        if tag == "base":
            self.base = address
        elif tag == "a":
            self.found[unquote(urlsplit(address).path).rpartition("/")[2]] = address


def _html_links(text: str, base: str) -> dict[str, str]:
    parser = _Anchors(base)
    parser.feed(text)
    return parser.found


def _plain(address: str) -> str:
    return address.partition("#")[0]


def _with_credentials(address: str, index: str) -> str:
    """Give a file on the index's own host the user name and password of the index's address."""
    file, place = urlsplit(address), urlsplit(index)
    credentials, _, host = place.netloc.rpartition("@")
    if not credentials or file.netloc != host:
        return address
    return urlunsplit((file.scheme, f"{credentials}@{host}", file.path, file.query, ""))
