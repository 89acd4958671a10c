"""Fetching one file: resumed where it broke off, checked while it streams, whole or absent."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter

from stvsr_bench.core.errors import WeightError
from stvsr_bench.weights.cache import cache_error

BLOCK = 1 << 18
ATTEMPTS = 3  # of a transfer that breaks off
RETRIES = 2  # of a connection that is not made


class Reporter(Protocol):
    """Who is told what goes on."""

    def say(self, text: str) -> None:
        """Tell a line."""

    def begin(self, name: str, done: int, total: int | None, doing: str = "downloading") -> None:
        """What is done with ``name`` goes on from ``done`` of ``total`` bytes."""

    def advance(self, count: int) -> None:
        """``count`` more bytes are done."""

    def end(self) -> None:
        """It is over, whole or not."""


class Silent:
    """A reporter that tells nobody."""

    def say(self, text: str) -> None:
        """Nothing."""

    def begin(self, name: str, done: int, total: int | None, doing: str = "downloading") -> None:
        """Nothing."""

    def advance(self, count: int) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Connection:
    """How addresses are reached; the defaults are those of ``requests``: proxies and netrc of the environment.

    Attributes:
        certificates: file or folder of trusted certificates; ``None`` for the default.
        client_certificate: of this client.
        proxy: for every address; ``None`` takes the environment's.
        trusted_hosts: ``host`` or ``host:port`` whose certificate is not checked.
        timeout: seconds without an answer.
    """

    certificates: str | None = None
    client_certificate: str | None = None
    proxy: str | None = None
    trusted_hosts: tuple[str, ...] = ()
    timeout: float = 15.0

    def get(self, url: str, *, accept: str = "*/*", first: int = 0, stream: bool = False) -> requests.Response:
        """Return the answer to a GET of ``url``, whatever its status.

        Raises:
            requests.RequestException: there is no answer.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        trusted = {host, f"{host}:{parts.port}"} & set(self.trusted_hosts)
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        if first:
            headers["Range"] = f"bytes={first}-"
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=RETRIES))
            settings = session.merge_environment_settings(
                url,
                {"http": self.proxy, "https": self.proxy} if self.proxy else {},
                stream,
                False if trusted else self.certificates,
                self.client_certificate,
            )
            if trusted or self.certificates:
                settings["verify"] = False if trusted else self.certificates
            return session.get(url, headers=headers, timeout=self.timeout, **settings)


def shown(url: str) -> str:
    """Return an address as messages show it: without user name, password and query.

    >>> shown("https://me:secret@example.org/simple/x/?token=1#sha256=0")
    'https://example.org/simple/x/'
    """
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    size: int | None,
    connection: Connection,
    reporter: Reporter,
) -> None:
    """Make ``target`` the whole file behind ``url``; what stands there already is taken for its beginning.

    Args:
        url: ``http:``, ``https:`` or ``file:``.
        target: where the file is collected. It stays when the transfer breaks off, for the next attempt, and is
            removed when its content is wrong.
        sha256: of the whole file; ``None`` where not known.
        size: of the whole file; ``None`` where not known.
        connection: how to reach the address.
        reporter: who is told.

    Raises:
        WeightError: no answer, an error status, or another file than expected.
        CacheError: ``target`` cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        begun = target.stat().st_size if target.exists() else 0
    except OSError as error:
        raise cache_error(error.strerror) from error
    if begun and sha256 is not None and _file_hash(target) == sha256:
        return
    if urlsplit(url).scheme == "file":
        _copy(url, target)
    else:
        _transfer(url, target, size, connection, reporter)
    fault = _fault(target, sha256, size)
    if fault and begun:  # what stood there was the beginning of something else
        target.unlink()
        download(url, target, sha256=sha256, size=size, connection=connection, reporter=reporter)
    elif fault:
        target.unlink()
        raise WeightError(f"{shown(url)} is another file", got=fault[0], accepted=fault[1])


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fault(path: Path, sha256: str | None, size: int | None) -> tuple[str, str] | None:
    found = path.stat().st_size
    if size is not None and found != size:
        return f"{found} bytes", f"{size} bytes"
    if sha256 is not None and (digest := _file_hash(path)) != sha256:
        return f"sha256 {digest}", f"sha256 {sha256}"
    return None


def _copy(url: str, target: Path) -> None:
    source = Path(unquote(urlsplit(url).path))
    try:
        with source.open("rb") as reading:
            try:
                with target.open("wb") as writing:
                    shutil.copyfileobj(reading, writing, BLOCK)
            except OSError as error:
                raise cache_error(error.strerror) from error
    except OSError as error:
        raise WeightError(f"cannot read '{source}'", got=error.strerror) from error


def _transfer(url: str, target: Path, size: int | None, connection: Connection, reporter: Reporter) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _stream(url, target, size, connection, reporter)
            return
        except requests.RequestException as error:
            if attempt == ATTEMPTS:
                raise WeightError(
                    f"{shown(url)} cannot be fetched",
                    got=reason(error),
                    action="check the network; the same command goes on where this one broke off",
                ) from error


def reason(error: requests.RequestException) -> str:
    """Return why there was no answer, in one line, without addresses that may hold a password."""
    inner = getattr(error.args[0], "reason", None) if error.args else None  # urllib3's own words are the shorter ones
    text = str(inner or error).strip() or "no answer"
    text = re.sub(r"^\w+\([^)]*\): ", "", re.sub(r"https?://\S*@", "https://", text).splitlines()[0])
    return f"{type(error).__name__}: {text[:200]}"


def _stream(url: str, target: Path, size: int | None, connection: Connection, reporter: Reporter) -> None:
    begun = target.stat().st_size if target.exists() else 0
    with connection.get(url, first=begun, stream=True) as answer:
        if answer.status_code == 416:  # nothing after what is there: the caller's check decides
            return
        if answer.status_code not in (200, 206):
            raise WeightError(f"{shown(url)} cannot be fetched", got=f"status {answer.status_code} {answer.reason}")
        resumed = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {begun}-")
        done = begun if resumed else 0
        length = answer.headers.get("Content-Length", "")
        total = done + int(length) if length.isdigit() else size
        reporter.begin(shown(url).rpartition("/")[2], done, total)
        try:
            with target.open("ab" if resumed else "wb") as file:
                for block in answer.iter_content(BLOCK):
                    done += len(block)
                    if size is not None and done > size:
                        break
                    file.write(block)
                    file.flush()
                    reporter.advance(len(block))
        except requests.RequestException:  # also an OSError, but the network's
            raise
        except OSError as error:
            raise cache_error(error.strerror) from error
        finally:
            reporter.end()
    if size is not None and done > size:
        target.unlink()
        raise WeightError(f"{shown(url)} is another file", got=f"more than {size} bytes", accepted=f"{size} bytes")
