"""What the tests of weights share: toy tensors in archives, cards that name them, an index on this machine."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from stvsr_bench.weights.identity import tensor_hash

WHEEL = "toynet-1.0-py3-none-any.whl"
MEMBER = "toynet/net.pth"


def toy_tensors(seed: int = 0, size: int = 8) -> dict[str, Tensor]:
    """A small state dict."""
    generator = torch.Generator().manual_seed(seed)
    return {"conv.weight": torch.randn(size, size, 3, 3, generator=generator), "conv.bias": torch.zeros(size)}


def torch_bytes(value: Any) -> bytes:
    """What ``torch.save`` writes."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def sha(data: bytes) -> str:
    """The sha256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


def wheel(members: Mapping[str, bytes]) -> bytes:
    """A zip file with fixed times."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def sdist(members: Mapping[str, bytes]) -> bytes:
    """A compressed tar file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def file_facts(path: str, data: bytes) -> dict[str, Any]:
    """What a card says of a file."""
    return {"path": path, "size": len(data), "sha256": sha(data)}


def pypi(archive: bytes, members: Mapping[str, bytes], file: str = WHEEL) -> dict[str, Any]:
    """A PyPI channel of a card."""
    return {
        "kind": "pypi", "distribution": "Toy_Net", "version": "1.0", "file": file,
        "size": len(archive), "sha256": sha(archive), "members": [file_facts(n, d) for n, d in members.items()],
    }  # fmt: skip


def weight(name: str, tensors: Mapping[str, Tensor] | None, channels: list[dict[str, Any]], **more: Any) -> Any:
    """A weight of a card."""
    known = {} if tensors is None else {"tensor_hash": tensor_hash(tensors)}
    return {"name": name, "licence": "MIT", "reader": "torch", **known, "channels": channels, **more}


def write_card(root: Path, *weights: Any, method: str = "toynet") -> None:
    """Write the card of a method that owns ``weights`` below ``root``."""
    folder = root / "methods" / method
    folder.mkdir(parents=True, exist_ok=True)
    card = {
        "name": method, "version": 1, "title": "Toy", "summary": "Owns weights.", "task": "stvsr",
        "status": "runnable", "entry": "method.py:Toy", "deterministic": True, "licence": "MIT",
        "weights": list(weights), "changes": [{"date": "2026-01-01", "version": 1, "text": "First."}],
    }  # fmt: skip
    (folder / "card.yaml").write_text(yaml.safe_dump(card))


@dataclass
class Server:
    """A web server on the loopback address.

    Attributes:
        pages: path → (content type, body); ``None`` as the type redirects to the body.
        pause: seconds between the blocks of an answer.
        ranges: answer ranges.
        log: path and Range header of every request.
        break_after: bytes after which an answer breaks off, once for each entry.
    """

    pages: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    pause: float = 0.0
    ranges: bool = True
    log: list[tuple[str, str | None]] = field(default_factory=list)
    accepts: list[str] = field(default_factory=list)
    break_after: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                outer.answer(self)

            def do_HEAD(self) -> None:
                outer.describe(self)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        wanted = request.headers.get("Range")
        self.log.append((request.path, wanted))
        self.accepts.append(request.headers.get("Accept", ""))
        if request.path not in self.pages:
            request.send_error(404)
            return
        kind, body = self.pages[request.path]
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        if first >= len(body) > 0:
            request.send_error(416)
            return
        request.send_response(206 if first else 200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body) - first))
        if first:
            request.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        request.end_headers()
        stop = self.break_after.pop(0) if self.break_after and kind == "application/octet-stream" else len(body)
        for start in range(first, min(stop, len(body)), 1 << 14):
            try:
                request.wfile.write(body[start : min(start + (1 << 14), stop)])
            except OSError:
                return
            time.sleep(self.pause)
        if stop < len(body):
            request.connection.close()

    def describe(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a HEAD request as the Hugging Face hub does for a file of a repository."""
        if request.path not in self.pages:
            request.send_error(404)
            return
        body = self.pages[request.path][1]
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.send_header("ETag", f'"{sha(body)[:40]}"')
        request.send_header("X-Repo-Commit", request.path.split("/resolve/")[1].split("/")[0])
        request.end_headers()

    def add_file(self, name: str, data: bytes) -> str:
        """Serve a file and return its address."""
        self.pages[f"/files/{name}"] = ("application/octet-stream", data)
        return f"{self.url}/files/{name}"

    def add_index(self, data: bytes, file: str = WHEEL, *, href: str | None = None) -> str:
        """Serve a simple index in HTML that lists ``file``, and return the index's address."""
        address = href or self.add_file(file, data)
        page = f'<!DOCTYPE html><body><a href="{address}#sha256={sha(data)}">{file}</a></body>'
        self.pages["/simple/toy-net/"] = ("text/html", page.encode())
        return f"{self.url}/simple"
