"""Networks that score a whole clip, shared by the metrics that read them."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from weakref import WeakValueDictionary

import torch
from torch import nn

from stvsr_bench.metrics.functional.video_quality import normalise_view
from stvsr_bench.nn.precision import use_exact_float32
from stvsr_bench.weights import service
from stvsr_bench.weights.strict import load_strict

CLIP_LENGTH = 32
"""Frames that a trunk sees at once."""
_REMEMBERED = 64  # scores, each a number


class ClipNetwork:
    """Trunks and heads with their parameters on a device.

    A score is remembered by the branch and the pixels of its view, so metrics that ask for the same one (DOVER's fused
    and technical score, say) pay for it once, whoever comes first.

    Args:
        model: has the attributes ``<branch>_backbone`` and ``<branch>_head`` that :meth:`raw` is asked for.
        weight: id of its parameters, loaded strictly.
        device: where it runs.
    """

    def __init__(self, model: nn.Module, weight: str, device: torch.device) -> None:
        use_exact_float32(device)
        load_strict(model, service.load_weight(weight))
        self._model = model.eval().requires_grad_(False).to(device)
        self._device = device
        self._scores: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lock = threading.Lock()

    def raw(self, trunk: str, head: str, view: torch.Tensor) -> float:
        """Return the raw score of a view.

        Args:
            trunk: name of the trunk in the model.
            head: name of the head.
            view: uint8 RGB ``(3, T, 224, 224)``, T a multiple of 32: clips of 32 frames go through one at a time, and
                the score is the mean over all tokens of all clips.
        """
        key = trunk, hashlib.sha256(view.contiguous().cpu().numpy().data).hexdigest()
        with self._lock:
            if key not in self._scores:
                self._scores[key] = self._forward(trunk, head, view)
                if len(self._scores) > _REMEMBERED:
                    self._scores.popitem(last=False)
            return self._scores[key]

    @torch.inference_mode()
    def _forward(self, trunk: str, head: str, view: torch.Tensor) -> float:
        network, scorer = self._model.get_submodule(trunk), self._model.get_submodule(head)
        clips = torch.split(view.to(self._device), CLIP_LENGTH, dim=1)
        maps = [scorer(network(normalise_view(clip))) for clip in clips]
        return float(torch.cat(maps).double().mean())


_SHARED: WeakValueDictionary[tuple[str, torch.device], ClipNetwork] = WeakValueDictionary()
_LOCK = threading.Lock()


def shared_network(make: Callable[[], nn.Module], weight: str, device: torch.device) -> ClipNetwork:
    """Return the network of ``weight`` on ``device``, made only if no metric holds it yet.

    Raises:
        WeightError: the parameters cannot be had or do not fit.
    """
    with _LOCK:
        network = _SHARED.get((weight, device))
        if network is None:
            network = _SHARED[weight, device] = ClipNetwork(make(), weight, device)
        return network
