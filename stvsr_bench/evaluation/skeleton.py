"""The folder of a new method: a class that runs, for its author to replace."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

from stvsr_bench.core import registry
from stvsr_bench.core.atomic import atomic_folder
from stvsr_bench.core.errors import ConfigError

_FACTORS = {
    "vsr": ("scales: [4]", "time_scales: [1]", "scales = frozenset({4})"),
    "vfi": ("scales: [1]", "time_scales: null", "time_scales = None"),
    "stvsr": ("scales: [4]", "time_scales: null", "scales = frozenset({4})"),
}

_CARD = """\
# The facts about {name}; every field is checked, unknown ones are refused (stvsr-bench validate method {name}).
name: {name}
version: 1 # raise it whenever a change moves a pixel, with a line under changes
title: {title}
summary: One sentence that says what it does.
task: {task} # vsr (frame count stays) | vfi (frame size stays) | stvsr
status: runnable # runnable | outputs-only | announced
entry: method.py:{cls}
{scales}
{time_scales}
deterministic: true
needs_prompt: false
licence: unknown # SPDX id of the code and of the weights
paper: null # {{title: …, venue: …, year: …, arxiv: …}}
upstream: null # {{repository: https://…, commit: …, licence: …}}
weights: []
notes: []
changes:
  - {{date: {date}, version: 1, text: First version.}}
"""

_CONFIG = """\
# The knobs of {name} and their defaults: method.KEY=VALUE on the command line, keyword arguments of the class.
sharpness: 0.0
"""

_CODE = '''\
"""{title}: replace the body of ``restore_float`` with your network."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

from stvsr_bench.methods.base import Method, Request


class {cls}(Method):
    """What it does, in one sentence; then the paper, and how this code differs from it.

    Args:
        sharpness: an example of a knob: strength of an unsharp mask, 0 for none.
    """

    task = "{task}"
    {factors}

    def __init__(
        self,
        *,
        name: str,
        scale: int | None = None,
        time_scale: int | None = None,
        preset: str | None = None,
        allow_untrained: bool = False,
        sharpness: float = 0.0,
    ) -> None:
        super().__init__(
            name=name, scale=scale, time_scale=time_scale, preset=preset, allow_untrained=allow_untrained
        )
        self.sharpness = sharpness

    def restore_float(self, frames: torch.Tensor, request: Request) -> torch.Tensor:
        """Float32 RGB in [0, 1] ``(T, 3, h, w)`` to ``((T - 1)·φt + 1, 3, φs·h, φs·w)``."""
        if request.time_scale > 1 and len(frames) > 1:
            steps = torch.arange((len(frames) - 1) * request.time_scale + 1, device=frames.device)
            left = steps.div(request.time_scale, rounding_mode="floor").clamp(max=len(frames) - 2)
            t = (steps / request.time_scale - left).view(-1, 1, 1, 1)
            frames = (1 - t) * frames[left] + t * frames[left + 1]
        if request.scale > 1:
            frames = functional.interpolate(frames, scale_factor=request.scale, mode="bicubic")
        if self.sharpness:
            smooth = functional.avg_pool2d(frames, 3, stride=1, padding=1, count_include_pad=False)
            frames = frames + self.sharpness * (frames - smooth)
        return frames
'''

_README = """\
# {title}

What it is, who made it, what to cite.

- Licence of code and weights: unknown
- Runs with: `stvsr-bench run method={name} dataset=demo`
- Evidence that it agrees with its official code: none yet
"""


def write_method(root: Path, name: str, task: str) -> Path:
    """Write ``root/methods/name`` and return it.

    Args:
        root: folder to name in ``$STVSR_BENCH_PATH``.
        name: lower-case letters, digits and ``_``.
        task: ``vsr``, ``vfi`` or ``stvsr``.

    Raises:
        ConfigError: the name is not of that form, is taken, or the folder exists.
    """
    folder = root / "methods" / name
    if re.fullmatch(r"[a-z][a-z0-9_]*", name) is None:
        raise ConfigError(f"'{name}' cannot be a method's name", accepted="lower-case letters, digits and '_'")
    taken = registry.methods()
    if name in taken:
        raise ConfigError(
            f"a method '{name}' is registered already", got=str(taken[name].folder), action="choose another name"
        )
    if folder.exists():
        raise ConfigError(f"'{folder}' exists", action="choose another name or folder; nothing is overwritten")
    scales, time_scales, factors = _FACTORS[task]
    facts = {
        "name": name,
        "title": name.replace("_", " ").title(),
        "cls": "".join(part.capitalize() for part in name.split("_")),
        "task": task,
        "scales": scales,
        "time_scales": time_scales,
        "factors": factors,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    with atomic_folder(folder) as made:
        for file, text in (
            ("card.yaml", _CARD),
            ("config.yaml", _CONFIG),
            ("method.py", _CODE),
            ("README.md", _README),
        ):
            (made / file).write_text(text.format(**facts), encoding="utf-8")
    return folder
