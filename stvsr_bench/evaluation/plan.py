"""The plan of one run: what is restored, under which protocol, scored by what, kept where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stvsr_bench.core import registry
from stvsr_bench.core.errors import BenchError, ConfigError, IncompatibleError
from stvsr_bench.core.hashing import digest
from stvsr_bench.core.paths import user_path
from stvsr_bench.core.slug import slug
from stvsr_bench.data.protocol import (
    AUTO,
    Protocol,
    known_protocols,
    load_protocol,
    require_fit,
    resolve_auto,
)
from stvsr_bench.metrics.groups import group_ids

if TYPE_CHECKING:
    from stvsr_bench.data.dataset import Dataset
    from stvsr_bench.data.generated import Generation
    from stvsr_bench.data.sample import SourceSample
    from stvsr_bench.methods.base import Method
    from stvsr_bench.metrics.catalog import MetricInfo

SCHEMA_VERSION = 1
KEEP_OUTPUTS = ("png", "ffv1", "no")
DTYPES = ("float32", "float16", "bfloat16")


class NotReadyError(BenchError):
    """Several things that the run needs are missing; all are listed at once.

    Args:
        what: what cannot run.
        missing: an error for each missing part.
    """

    def __init__(self, what: str, missing: Sequence[BenchError]) -> None:
        super().__init__(what, got="; ".join(map(str, missing)))
        self.missing = tuple(missing)

    def __str__(self) -> str:
        parts = "\n".join(f"  {number}. {error}" for number, error in enumerate(self.missing, 1))
        return f"{self.what}:\n{parts}\ncomplete these, then run the same command again"

    def lines(self) -> list[str]:
        """Return every missing part with its own parts, for a terminal."""
        found = [f"{self.what}:"]
        for number, error in enumerate(self.missing, 1):
            first, *rest = error.lines()
            found += [f"  {number}. {first}", *(f"   {line}" for line in rest)]
        return [*found, "complete these, then run the same command again"]


@dataclass
class Plan:
    """One run, resolved.

    Attributes:
        config: the resolved configuration, as composed.
        method: the method, built but not set up.
        dataset: the dataset, found on disk.
        sources: the samples that this run works on, in the dataset's order.
        protocol: the concrete protocol (never ``auto``).
        metrics: what the outputs are scored with.
        device: ``cpu`` or ``cuda:N``.
        dtype: arithmetic inside learned methods.
        seed: the run's seed.
        keep_outputs: ``png``, ``ffv1`` or ``no``.
        results: the folder of all runs.
        partial: why this run covers only part of its dataset, or ``None``.
        notes: what the user should know before the run starts.
    """

    config: dict[str, Any]
    method: Method
    dataset: Dataset
    sources: list[SourceSample]
    protocol: Protocol
    metrics: list[MetricInfo]
    device: str
    dtype: str
    seed: int
    keep_outputs: str
    results: Path
    partial: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def identity(self) -> dict[str, Any]:
        """What makes two runs the same run: neither paths nor device, executor or time."""
        return {
            "method": self.method.method_id,
            "version": self.method.version,
            "knobs": self.method.identity(),
            "dataset": self.dataset.id,
            "protocol": [self.protocol.id, self.protocol.version],
            "seed": self.seed,
            "dtype": self.dtype,
            "partial": self.partial,
        }

    @property
    def run_id(self) -> str:
        """Short name of the run's folder, the same for the same command."""
        marks = [] if self.partial is None else ["partial"]
        return "-".join([f"seed{self.seed}", *marks, digest(self.identity)[:10]])

    @property
    def generation(self) -> Generation:
        """Where LQ sets lie that the protocol may make of the dataset."""
        from stvsr_bench.data.generated import Generation

        return Generation.of(self.dataset)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.results / slug(self.method.method_id) / slug(self.dataset.id) / slug(self.protocol.id) / self.run_id


def make_plan(config: dict[str, Any]) -> Plan:
    """Resolve a configuration into a plan without restoring anything.

    Raises:
        NotReadyError: the method cannot run as announced, data or weights are missing; all of it is listed.
        IncompatibleError: method, dataset and protocol do not fit; those that do are listed.
        ConfigError: an option has a value that is not accepted.
    """
    from stvsr_bench.data.apply import makes_sets
    from stvsr_bench.data.factory import build_dataset
    from stvsr_bench.data.selection import OPTIONS as SELECTION
    from stvsr_bench.data.selection import Selection
    from stvsr_bench.evaluation.weights import needed_weights, out_of_reach
    from stvsr_bench.methods.factory import build_method
    from stvsr_bench.weights.service import offline

    check_options(config)
    metrics = _metrics(config["metrics"]["ids"])
    selection = Selection.of(config["dataset"])
    missing: list[BenchError] = []
    method = dataset = None
    method_entry = registry.methods()[config["method"]["card"]]
    dataset_entry = registry.datasets()[config["dataset"]["card"]]
    options = {k: v for k, v in config["method"].items() if k != "card"}
    try:
        method = build_method(method_entry.name, options)
    except BenchError as error:
        missing.append(error)
    try:
        dataset = build_dataset(
            dataset_entry.name, {k: v for k, v in config["dataset"].items() if k not in ("card", *SELECTION)}
        )
    except BenchError as error:
        missing.append(error)
    if dataset is not None and (absent := dataset.missing()) is not None:
        missing.append(absent)
    if method is not None and not config["dry_run"]:  # a dry run lists the weights with their state
        with offline(config["offline"]):
            # Only the method's: a metric whose weights cannot be had is left out of the run, which says so.
            missing += out_of_reach(needed_weights(method))
    if missing:
        if len(missing) == 1:
            raise missing[0]
        raise NotReadyError(f"method={method_entry.name} dataset={dataset_entry.name} cannot run yet", missing)
    assert method is not None
    assert dataset is not None
    protocol, notes = _protocol(config, method, dataset)
    notes += dataset.check(protocol)
    if makes_sets(protocol):
        notes.append("LQ sets are made on first use and stored; `stvsr-bench prepare` makes them ahead of time")
    if metrics is None:
        metrics = _metrics(group_ids(protocol.metrics))
        assert metrics is not None
        config = {**config, "metrics": {"ids": [info.id for info in metrics]}}
    sources, partial = selection.apply(dataset.sources(), dataset.name)
    if partial is not None:
        notes.append(f"{partial}: a trial on a part of the dataset; marked partial and never ranked")
    return Plan(
        config=config,
        method=method,
        dataset=dataset,
        sources=sources,
        protocol=protocol,
        metrics=metrics,
        device=resolve_device(config["device"]),
        dtype=config["dtype"],
        seed=config["seed"],
        keep_outputs=config["keep_outputs"],
        results=user_path(config["results_dir"]),
        partial=partial,
        notes=notes,
    )


def check_options(config: dict[str, Any]) -> None:
    """Raise unless the options that belong to no group have values that are accepted.

    Raises:
        ConfigError: one has not.
    """
    accepted: tuple[tuple[str, Sequence[Any]], ...] = (("keep_outputs", KEEP_OUTPUTS), ("dtype", DTYPES))
    if config["keep_outputs"] is False:  # YAML reads a bare `no` as false.
        config["keep_outputs"] = "no"
    for key, values in accepted:
        if config[key] not in values:
            raise ConfigError(f"option '{key}'", got=repr(config[key]), accepted=", ".join(values))
    if not isinstance(config["offline"], bool):
        raise ConfigError("option 'offline'", got=repr(config["offline"]), accepted="true or false")
    if not isinstance(config["seed"], int) or isinstance(config["seed"], bool) or config["seed"] < 0:
        raise ConfigError("option 'seed'", got=repr(config["seed"]), accepted="a whole number from 0")
    limit = config["gt_cache_gb"]
    if not isinstance(limit, int | float) or isinstance(limit, bool) or limit < 0:
        raise ConfigError("option 'gt_cache_gb'", got=repr(limit), accepted="a number from 0; 0 keeps nothing")
    workers = config["executor"]["workers"]
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        raise ConfigError("option 'executor.workers'", got=repr(workers), accepted="a whole number from 1")


def _protocol(config: dict[str, Any], method: Method, dataset: Dataset) -> tuple[Protocol, list[str]]:
    """Return the concrete protocol and what to say about its choice.

    Raises:
        IncompatibleError: none fits, or the named one does not; those that do are listed.
        ConfigError: fields of a protocol were changed on the command line.
    """
    wanted = config["protocol"]
    notes: list[str] = []
    method_facts = (method.method_id, method.task, method.scales, method.time_scales)
    if wanted["id"] == AUTO:
        card = registry.methods()[config["method"]["card"]].card
        lq_scale = dataset.lq_scale if dataset.roles >= {"gt", "lq"} else None
        protocol = resolve_auto(
            *method_facts, dataset.id, dataset.kind, dataset.roles, preferred=card.protocols, lq_scale=lq_scale
        )
        own = any(protocol.id in names for names in card.protocols.values())
        chosen = f"the choice of {method.name}'s card" if own else f"a {method.task} method"
        notes.append(f"protocol=auto is {protocol.id}: {chosen} on a dataset of kind {dataset.kind}")
    else:
        protocol = named_protocol(wanted)
        require_fit(protocol, *method_facts, dataset.id, dataset.roles)
    reason = method.misfit(protocol.scale, protocol.time_scale)
    if reason is not None:
        raise IncompatibleError(
            f"method '{method.method_id}' does not fit protocol '{protocol.id}'",
            got=reason,
            accepted=f"no method.scale and method.time_scale, or {protocol.scale} and {protocol.time_scale}",
            action="leave both out: in a run the protocol sets them",
        )
    return protocol, notes


def named_protocol(wanted: dict[str, Any]) -> Protocol:
    """Return the protocol that a configuration names, in the version it names.

    Raises:
        ConfigError: fields of it were changed on the command line.
    """
    protocol = load_protocol(wanted["id"])
    if protocol.version != wanted["version"]:
        protocol = load_protocol(f"{wanted['id']}@{wanted['version']}")
    fixed = protocol.model_dump(mode="json")
    changed = [key for key, value in wanted.items() if value != fixed.get(key)]
    if changed:
        raise ConfigError(
            f"protocol '{protocol.id}' is fixed and cannot be changed by options",
            got=", ".join(f"protocol.{key}={wanted[key]}" for key in changed),
            accepted="a protocol as it is: " + ", ".join(known_protocols()),
            action="choose another protocol",
        )
    return protocol


def _metrics(ids: Any) -> list[MetricInfo] | None:
    """Return the metrics that ``ids`` names; ``None`` for ``auto``, which the protocol decides."""
    from stvsr_bench.metrics.registry import metric_info

    if ids == AUTO:
        return None
    if not isinstance(ids, list) or not ids:
        raise ConfigError(
            "option 'metrics.ids'",
            got=repr(ids),
            accepted="a list of metric ids, for example metrics.ids=[psnr_rgb,ssim_rgb]",
            action="see `stvsr-bench list metrics`",
        )
    infos = [metric_info(name) for name in ids]
    return list({info.id: info for info in infos}.values())


def resolve_device(wanted: str) -> str:
    """Return the concrete device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ConfigError: another word, or a CUDA device that this machine lacks.
    """
    import torch

    count = torch.cuda.device_count()
    available = ["cpu", *(f"cuda:{i}" for i in range(count))]
    if wanted == "auto":
        return "cuda:0" if count else "cpu"
    if wanted == "cuda":
        wanted = "cuda:0"
    if wanted not in available:
        raise ConfigError(
            "option 'device'",
            got=repr(wanted),
            accepted="auto, " + ", ".join(available),
            action="see `stvsr-bench doctor`",
        )
    return wanted
