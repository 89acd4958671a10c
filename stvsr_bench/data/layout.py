"""Layout detection: where the clips of a dataset lie, and which of them are GT and LQ of one another."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from stvsr_bench.core.errors import DataError
from stvsr_bench.video.names import IMAGE_EXTS, VIDEO_EXTS, is_litter, natural_key

# In order of preference, should one dataset hold several.
GT_ROLES = (
    *("GT", "gt", "HR", "hr", "GT-Video", "truth", "target", "original", "sharp", "tele", "HR_test", "GT_test"),
    *("val_sharp", "train_sharp"),
)
LQ_ROLES = (
    *("LQ", "lr_x4_matlab", "lq", "LR", "lr", "LQ-Video", "BIx4", "BDx4", "blur4", "lr_x4", "lr_x4_BI", "lr_x4_BD"),
    *("input4", "sharp_bicubic", "train_sharp_bicubic", "val_sharp_bicubic", "X4", "wide", "LR_test", "LQ_test"),
    "BIx4up_direct",
)
FORMS = (
    *("root/ROLE/clip/frame", "root/clip/ROLE/frame", "root/ROLE/X4/clip/frame", "root/clip/frame"),
    *("root/ROLE/clip.video", "root/clip.video", "root/ROLE/frame", "root/frame"),
)
_SCALE_FOLDER = re.compile(r"X[2348]")
_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".7z", ".rar")
_ROLE_SUFFIX = re.compile(r"([_-](gt|hr|truth|lq|lr|b[id]|(b[id])?x[2348]))+$", re.IGNORECASE)


@dataclass(frozen=True)
class ClipPaths:
    """Where one clip lies.

    Attributes:
        gt: folder of frames, or video file, of the ground truth.
        lq: the same for LQ, by the name of the role folder (``BIx4`` and ``BDx4`` may stand side by side).
        plain: the same where nothing says which of the two it is.
    """

    gt: Path | None = None
    lq: dict[str, Path] = field(default_factory=dict)
    plain: Path | None = None


@dataclass(frozen=True)
class Layout:
    """What :func:`detect_layout` found.

    Attributes:
        form: one of :data:`FORMS`.
        clips: paths by clip name, in natural order.
        gt_role: name of the folders taken as ground truth.
        lq_roles: names of the folders that hold LQ.
        notes: what was seen and not used.
    """

    form: str
    clips: dict[str, ClipPaths]
    gt_role: str | None = None
    lq_roles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Folder:
    """What lies directly in a folder: whether frames do, videos by clip name, folders by name, what is left out."""

    path: Path
    frames: int
    videos: dict[str, Path]
    folders: dict[str, Path]
    archives: tuple[str, ...] = ()
    faults: tuple[tuple[str, str], ...] = ()
    _below: dict[str, _Folder] = field(default_factory=dict)

    def below(self, name: str) -> _Folder:
        """Return what lies in the folder ``name``; listed once, as on network disks that is what takes the time."""
        if name not in self._below:
            self._below[name] = _look(self.folders[name])
        return self._below[name]

    def left_out(self, above: str = "") -> list[str]:
        """Say what was left out, here and in the folders that were looked at, and why."""
        found = [f"'{above}{name}' {fault}" for name, fault in self.faults]
        return found + [fault for name, folder in self._below.items() for fault in folder.left_out(f"{above}{name}/")]


def _look(path: Path) -> _Folder:
    """List a folder; hidden and system files, and links that lead back to a folder above, are left out."""
    frames, videos, folders = 0, [], {}
    archives, faults = [], []
    here = os.path.realpath(path)
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if is_litter(entry.name):
                    continue
                fault = _fault(entry, here)
                suffix = os.path.splitext(entry.name)[1].lower()
                if fault is not None:
                    faults.append((entry.name.encode(errors="backslashreplace").decode(), fault))
                elif entry.is_dir():
                    folders[entry.name] = Path(entry.path)
                elif suffix in VIDEO_EXTS:
                    videos.append(Path(entry.path))
                elif suffix in _ARCHIVES:
                    archives.append(entry.name)
                else:
                    frames += suffix in IMAGE_EXTS
    except OSError as error:
        raise DataError(
            f"cannot list the folder '{path}'", got=error.strerror, action="correct its permissions"
        ) from error
    stems = [video.stem for video in videos]
    named = {(v.stem if stems.count(v.stem) == 1 else v.name): v for v in videos}
    return _Folder(path, frames, _natural(named), _natural(folders), tuple(sorted(archives)), tuple(sorted(faults)))


def _fault(entry: os.DirEntry[str], here: str) -> str | None:
    """Say why an entry is left out: a name that no result could carry, or a link that cannot be followed."""
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    if not entry.is_symlink():
        return None
    try:
        is_dir = stat.S_ISDIR(os.stat(entry.path).st_mode)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "is a link that leads in a circle"
        return f"is a link that leads nowhere ({error.strerror})"
    target = os.path.realpath(entry.path)
    back = is_dir and os.path.commonpath([target, here]) == target
    return "is a link that leads back to a folder above it" if back else None


def _natural(table: dict[str, Path]) -> dict[str, Path]:
    return {name: table[name] for name in sorted(table, key=natural_key)}


def _frame_folders(folder: _Folder) -> dict[str, Path]:
    return {name: path for name, path in folder.folders.items() if folder.below(name).frames}


def detect_layout(root: Path) -> Layout:
    """Find the clips below ``root``; the first of :data:`FORMS` that matches wins.

    Clips of two roles are paired by name, case-sensitively; names that pair only after a role suffix is dropped
    (``walk_GT`` and ``walk_LQ``) are paired under the bare name. Frames are not looked at here.

    Raises:
        DataError: ``root`` does not exist, cannot be listed, or is laid out in no known way.
    """
    if root.is_file():
        if root.suffix.lower() in VIDEO_EXTS:
            return Layout("root/clip.video", {root.stem: ClipPaths(plain=root)})
        raise DataError(
            f"'{root}' is a file, not a dataset", accepted="a folder, or a video file", action="pass the folder"
        )
    if not root.is_dir():
        raise DataError(f"the folder '{root}' does not exist", action="correct dataset.root")
    here = _look(root)
    layout = _find(here) or _find_below(here)
    if layout is None:
        raise _unknown(here)
    faults = here.left_out()
    return layout if not faults else replace(layout, notes=(*layout.notes, f"left out: {'; '.join(faults)}"))


def _find_below(here: _Folder) -> Layout | None:
    """Find the clips one level below, where nothing else lies in the root: archives often unpack that way."""
    if len(here.folders) != 1 or here.frames or here.videos:
        return None
    (name,) = here.folders
    layout = _find(here.below(name))
    return layout and replace(layout, notes=(f"the clips lie one level below, in '{name}'", *layout.notes))


def _unknown(here: _Folder) -> DataError:
    """Return the error for a folder that is laid out in no known way, with a hint from what lies there."""
    below = [name for name in here.folders if _find(here.below(name)) is not None]
    if below:
        roots = [str(here.path / name) for name in below[:3]]
        action = f"a known layout lies one level below: try dataset.root={' or dataset.root='.join(roots)}"
    elif here.archives:
        action = f"unpack {', '.join(here.archives[:3])} first"
    else:
        action = "check dataset.root, or arrange the files in one of these ways"
    faults = "".join(f"; {fault}" for fault in here.left_out()[:3])
    return DataError(
        f"no clips found in '{here.path}': the layout is unknown",
        got=f"folders: {', '.join(list(here.folders)[:8]) or 'none'}; {here.frames} images and {len(here.videos)} "
        f"videos directly in it{faults}",
        accepted=f"{', '.join(FORMS)}, where ROLE is one of {', '.join((*GT_ROLES, *LQ_ROLES))}",
        action=action,
    )


def _find(here: _Folder) -> Layout | None:
    for form in (_roles_above, _roles_below, _roles_alone, _plain):
        layout = form(here)
        if layout is not None:
            return layout
    return None


def _roles_above(here: _Folder) -> Layout | None:
    """``root/ROLE/clip/frame``, ``root/ROLE/X4/clip/frame``, ``root/ROLE/clip.video``, and mixtures of them.

    Frames go before videos, so that copies which carry both (``GT`` and ``GT-Video``) are read from frames.
    """
    form = None
    gt: dict[str, dict[str, Path]] = {}
    lq: dict[str, dict[str, Path]] = {}
    videos: list[tuple[str, dict[str, dict[str, Path]], dict[str, Path]]] = []
    for role in _known(here.folders, (*GT_ROLES, *LQ_ROLES)):
        folder = here.below(role)
        found = gt if role in GT_ROLES else lq
        clips = _frame_folders(folder)
        if clips:
            found[role] = clips
            form = form or "root/ROLE/clip/frame"
        elif folder.videos:
            videos.append((role, found, folder.videos))
        else:
            for name in folder.folders:
                if _SCALE_FOLDER.fullmatch(name) and (clips := _frame_folders(folder.below(name))):
                    found[f"{role}/{name}"] = clips
                    form = form or "root/ROLE/X4/clip/frame"
    have_frames = {id(found) for found in (gt, lq) if found}
    for role, found, clips in videos:
        if id(found) not in have_frames:
            found[role] = clips
            form = form or "root/ROLE/clip.video"
    if form is None:
        return None
    gt_role = next(iter(gt), None)
    used = {gt_role, *(role.partition("/")[0] for role in lq)}
    clips_found = _pair(gt[gt_role] if gt_role else {}, lq)
    return Layout(form, clips_found, gt_role, tuple(lq), _unused(here, used, form))


def _roles_below(here: _Folder) -> Layout | None:
    """``root/clip/ROLE/frame``."""
    found: dict[str, dict[str, Path]] = {}
    for name in here.folders:
        roles = _frame_folders(here.below(name))
        if any(role in GT_ROLES or role in LQ_ROLES for role in roles):
            found[name] = roles
    if not found:
        return None
    present = {role for roles in found.values() for role in roles}
    gt_role = next(iter(_known(present, GT_ROLES)), None)
    lq_roles = tuple(_known(present, LQ_ROLES))
    clips = {
        name: ClipPaths(roles.get(gt_role or ""), {role: roles[role] for role in lq_roles if role in roles})
        for name, roles in found.items()
    }
    form = "root/clip/ROLE/frame"
    notes = [*_unused(here, found, form)]
    if rest := sorted(present - {gt_role, *lq_roles}):
        notes.append(f"folders inside the clips that were seen and not used: {', '.join(rest)}")
    usable = {name: paths for name, paths in clips.items() if paths.gt or paths.lq}
    return Layout(form, usable, gt_role, lq_roles, tuple(notes))


def _roles_alone(here: _Folder) -> Layout | None:
    """``root/ROLE/frame``: ``root`` is one clip. Every folder with frames must be a role, or clips could be lost."""
    folders = _frame_folders(here)
    if not folders or not all(name in GT_ROLES or name in LQ_ROLES for name in folders):
        return None
    gt_role = next(iter(_known(folders, GT_ROLES)), None)
    lq = {role: folders[role] for role in _known(folders, LQ_ROLES)}
    paths = ClipPaths(folders[gt_role] if gt_role else None, lq)
    form = "root/ROLE/frame"
    return Layout(form, {here.path.name: paths}, gt_role, tuple(lq), _unused(here, {gt_role, *lq}, form))


def _plain(here: _Folder) -> Layout | None:
    """``root/clip/frame``, ``root/frame`` and ``root/clip.video``: nothing says whether it is GT or LQ."""
    form, clips = "root/clip/frame", _frame_folders(here)
    if not clips and here.frames:
        form, clips = "root/frame", {here.path.name: here.path}
    elif not clips:
        form, clips = "root/clip.video", here.videos
    if not clips:
        return None
    found = {name: ClipPaths(plain=path) for name, path in clips.items()}
    return Layout(form, found, notes=_unused(here, clips, form))


def _known(names: Iterable[str], order: tuple[str, ...]) -> list[str]:
    present = set(names)
    return [name for name in order if name in present]


def _unused(here: _Folder, used: Iterable[str | None], form: str) -> tuple[str, ...]:
    taken = set(used)
    seen = [f"folder '{name}'" for name in here.folders if name not in taken]
    if here.frames and form != "root/frame":
        seen.append(f"{here.frames} image(s) directly in the root")
    if here.videos and form != "root/clip.video":
        seen.append(f"{len(here.videos)} video(s) directly in the root")
    return (f"seen and not used, as the layout is {form}: {', '.join(seen)}",) if seen else ()


def _pair(gt: dict[str, Path], lq: dict[str, dict[str, Path]]) -> dict[str, ClipPaths]:
    """Join the clips of GT and of each LQ role by name; what has no partner stays, alone, under its own name."""
    title = {name: name for name in gt}
    pairs: dict[str, dict[str, Path]] = {name: {} for name in gt}
    alone: dict[str, dict[str, Path]] = {}
    for role, clips in lq.items():
        bare_gt = _by_bare_name(set(gt) - set(clips))
        bare_lq = _by_bare_name(set(clips) - set(gt))
        for bare in set(bare_gt) & set(bare_lq) - set(gt):
            title[bare_gt[bare]] = bare
            pairs[bare_gt[bare]][role] = clips[bare_lq[bare]]
        paired = {bare_lq[bare] for bare in set(bare_gt) & set(bare_lq) - set(gt)}
        for name, path in clips.items():
            if name in gt:
                pairs[name][role] = path
            elif name not in paired:
                alone.setdefault(name, {})[role] = path
    found = {title[name]: ClipPaths(path, pairs[name]) for name, path in gt.items()}
    for name, roles in alone.items():
        other = found.get(name, ClipPaths())
        found[name] = ClipPaths(other.gt, {**roles, **other.lq})
    return {name: found[name] for name in sorted(found, key=natural_key)}


def _by_bare_name(names: Iterable[str]) -> dict[str, str]:
    """Return the names by what is left of them without role suffixes; ambiguous ones are left out."""
    listed = sorted(names)
    bare = [_ROLE_SUFFIX.sub("", name) for name in listed]
    return {b: name for b, name in zip(bare, listed, strict=True) if b and bare.count(b) == 1}
