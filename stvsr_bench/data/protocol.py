"""Protocols: which LQ a method gets and which frames are scored; loaded from ``conf/protocol/``, free of torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stvsr_bench.core.cards import load_card
from stvsr_bench.core.dataset_card import DatasetKind
from stvsr_bench.core.errors import CardError, ConfigError, IncompatibleError, UnknownNameError
from stvsr_bench.core.paths import conf_dir
from stvsr_bench.data.frame_rules import ALL, EVERY, parse_windows, window_faults

Task = Literal["vsr", "vfi", "stvsr"]
Role = Literal["gt", "lq"]
Factors = Collection[int] | None
"""Factors that a method takes; ``None`` for any."""

AUTO = "auto"

# For methods whose card prefers none. First that fits wins; the first name of each is the common choice of the
# literature for that kind of data.
_AUTO: dict[tuple[Task, DatasetKind], tuple[str, ...]] = {
    ("vsr", "synthetic"): ("bi-x4",),
    ("vsr", "real"): ("given-x4", "given-x1"),
    ("vsr", "no_gt"): ("given-x4",),
    ("vfi", "synthetic"): ("gt-t2", "gt-t4", "gt-t8"),
    ("vfi", "real"): ("gt-t2", "gt-t4", "gt-t8"),
    ("vfi", "no_gt"): (),
    ("stvsr", "synthetic"): ("bi-x4t2", "bi-x4t4"),
    ("stvsr", "real"): ("given-x4t2", "given-x4t4", "given-x1t2", "given-x1t4"),
    ("stvsr", "no_gt"): ("given-x4t2up", "given-x4t4"),
}
_ROLES: dict[DatasetKind, frozenset[Role]] = {
    "synthetic": frozenset({"gt"}),
    "real": frozenset({"gt", "lq"}),
    "no_gt": frozenset({"lq"}),
}


def roles_of_kind(kind: DatasetKind) -> frozenset[Role]:
    """Return what a dataset of ``kind`` holds."""
    return _ROLES[kind]


class Protocol(BaseModel):
    """One protocol.

    Attributes:
        id: its name; ``conf/protocol/<id>.yaml`` holds the newest version.
        version: raised whenever a change moves a number.
        title: one sentence.
        source: ``generate`` (LQ = degraded GT), ``gt`` (LQ = GT frames at full size), ``given`` (LQ from disk).
        degradation: id of the recipe that makes LQ, for ``generate``.
        degradation_seed: seed of what the recipe draws; part of the protocol, and independent of the run's seed.
        scale: spatial factor φs.
        time_scale: temporal factor φt.
        frame_rule: ``every`` keeps frames 0, φt, 2φt … of the full-rate clip as LQ; ``all`` keeps every LQ frame and
            multiplies the rate, so that the new frames have no ground truth; ``windows(L, stride S)`` restores windows
            of L frames on their own (see :mod:`stvsr_bench.data.frame_rules`).
        scored: which output frames are scored: ``all`` that an output covers.
        metrics: the group of ``conf/metrics/`` that a run takes unless it names another one.
        notes: what a reader of results must know.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    version: Annotated[int, Field(ge=1)]
    title: str
    source: Literal["generate", "gt", "given"]
    degradation: str | None = None
    degradation_seed: Annotated[int, Field(ge=0)] = 0
    scale: Annotated[int, Field(ge=1)]
    time_scale: Annotated[int, Field(ge=1)]
    frame_rule: str = EVERY
    scored: Literal["all"] = "all"
    metrics: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")] = "default"
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _parts_agree(self) -> Protocol:
        if (self.degradation is not None) != (self.source == "generate"):
            raise ValueError("a degradation belongs to source: generate, and to no other")
        if self.source == "gt" and self.scale != 1:
            raise ValueError("source: gt feeds GT frames at full size, so scale must be 1")
        if self.frame_rule == ALL and (self.source != "given" or self.time_scale == 1):
            raise ValueError("frame_rule: all raises the rate of given LQ, so it needs source: given, time_scale > 1")
        windows = parse_windows(self.frame_rule)
        if windows is not None and (fault := window_faults(windows, self.time_scale)) is not None:
            raise ValueError(fault)
        return self

    @property
    def needs(self) -> Role:
        """What must lie on disk: ``"gt"`` where LQ is made from it, ``"lq"`` where LQ is given."""
        return "lq" if self.source == "given" else "gt"

    @property
    def kinds(self) -> tuple[DatasetKind, ...]:
        """Kinds of dataset that hold what it needs."""
        return tuple(kind for kind, roles in _ROLES.items() if self.needs in roles)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks whose methods can take part, as far as the task alone tells."""
        vsr: tuple[Task, ...] = ("vsr",) if self.time_scale == 1 else ()
        vfi: tuple[Task, ...] = ("vfi",) if self.scale == 1 and self.time_scale > 1 else ()
        return (*vsr, *vfi, "stvsr")

    def explain(self) -> str:
        """Return one line for lists: «LQ = bi of GT, every 2nd frame; ×4 in space, ×2 in time»."""
        source = {"generate": f"LQ = {self.degradation} of GT", "gt": "LQ = GT frames", "given": "LQ from disk"}
        step, windows = self.time_scale, parse_windows(self.frame_rule)
        if windows is not None:
            inside = ", ".join(map(str, range(0, windows.length, step)))
            kept = f"windows of {windows.length} frames, stride {windows.stride}, of which frames {inside} are kept"
        elif self.frame_rule == ALL:
            kept = f"every frame kept, rate ×{step}, no GT"
        else:
            kept = "every frame" if step == 1 else f"frames 0, {step}, {2 * step} … kept"
        return f"{source[self.source]}, {kept}; ×{self.scale} in space, ×{self.time_scale} in time"


def known_protocols() -> list[str]:
    """Return the ids of the newest versions, in alphabetical order; superseded ``NAME@1`` and ``auto`` are left out."""
    names = {path.stem for path in (conf_dir() / "protocol").glob("*.yaml")}
    return sorted(name for name in names if name != AUTO and "@" not in name)


def load_protocol(name: str) -> Protocol:
    """Return the protocol ``name`` (``bi-x4t2``; ``bi-x4t2@1`` for a superseded version).

    Raises:
        ConfigError: ``auto``, which stands for no protocol until :func:`resolve_auto` has chosen one.
        UnknownNameError: there is no such protocol; the nearest are listed.
        CardError: its file breaks the schema.
    """
    if name == AUTO:
        raise ConfigError(
            "'auto' is not a protocol", accepted=", ".join(known_protocols()), action="name one, or use it in `run`"
        )
    path = conf_dir() / "protocol" / f"{name}.yaml"
    if "/" in name or not path.is_file():
        raise UnknownNameError("protocol", name, [*known_protocols(), AUTO])
    protocol = load_card(path, Protocol)
    base, _, version = name.partition("@")
    if protocol.id != base or (version and version != str(protocol.version)):
        raise CardError(
            f"'{path}' names another protocol",
            got=f"id {protocol.id}, version {protocol.version}",
            accepted=f"the file's own name, {name}",
            action="rename the file or correct its id and version",
        )
    return protocol


def fits(
    protocol: Protocol,
    task: Task,
    scales: Factors = None,
    time_scales: Factors = None,
    roles: Collection[Role] = (),
    lq_scale: int | None = None,
) -> bool:
    """Say whether a method, and a dataset that holds ``roles``, can run under ``protocol``.

    Args:
        protocol: the protocol.
        task: the method's task.
        scales: spatial factors the method takes; ``None`` for any.
        time_scales: temporal factors the method takes; ``None`` for any.
        roles: what the dataset holds; empty leaves the dataset out of the question.
        lq_scale: how many times as large as its LQ the dataset's GT is; ``None`` where that is open.
    """
    compared = protocol.source == "given" and protocol.frame_rule != ALL
    return (
        task in protocol.tasks
        and (scales is None or protocol.scale in scales)
        and (time_scales is None or protocol.time_scale in time_scales)
        and (not roles or protocol.needs in roles)
        and (lq_scale is None or not compared or protocol.scale == lq_scale)
    )


def fitting_protocols(
    task: Task,
    scales: Factors = None,
    time_scales: Factors = None,
    roles: Collection[Role] = (),
    lq_scale: int | None = None,
) -> list[str]:
    """Return the ids of all known protocols that fit (see :func:`fits`)."""
    facts = (task, scales, time_scales, roles, lq_scale)
    return [name for name in known_protocols() if fits(load_protocol(name), *facts)]


def require_fit(
    protocol: Protocol,
    method: str,
    task: Task,
    scales: Factors,
    time_scales: Factors,
    dataset: str,
    roles: Collection[Role],
) -> None:
    """Raise unless ``protocol`` fits both the method and the dataset.

    Raises:
        IncompatibleError: it does not; the protocols that fit both are listed.
    """
    if fits(protocol, task, scales, time_scales, roles):
        return
    if not fits(protocol, task, scales, time_scales):
        what = f"method '{method}' does not fit protocol '{protocol.id}'"
        got = f"{_abilities(task, scales, time_scales)}; the protocol asks for ×{protocol.scale} in space and "
        got += f"×{protocol.time_scale} in time"
    else:
        what = f"dataset '{dataset}' does not fit protocol '{protocol.id}'"
        got = f"a dataset that holds {_held(roles)}; the protocol needs {_HELD[protocol.needs]}"
    raise IncompatibleError(
        what, got=got, accepted=_listing(method, task, scales, time_scales, dataset, roles), action=_ACTION
    )


def resolve_auto(
    method: str,
    task: Task,
    scales: Factors,
    time_scales: Factors,
    dataset: str,
    kind: DatasetKind,
    roles: Collection[Role] | None = None,
    preferred: Mapping[str, Sequence[str]] | None = None,
    lq_scale: int | None = None,
) -> Protocol:
    """Return the protocol that ``auto`` stands for.

    The first that fits of: what the method's card prefers for this dataset by name, what it prefers for this kind of
    dataset, and what is common for the method's task.

    Args:
        method: the method's id, for the message.
        task: its task.
        scales: spatial factors it takes; ``None`` for any.
        time_scales: temporal factors it takes; ``None`` for any.
        dataset: the dataset's id; the name before a bracket is what cards speak of.
        kind: the dataset's kind, which decides.
        roles: what it holds; by default what its kind implies.
        preferred: ``protocols`` of the method's card.
        lq_scale: how many times as large as its LQ the dataset's GT is; ``None`` where that is open.

    Raises:
        IncompatibleError: none is right by itself; those that can be named are listed.
        UnknownNameError: the card names a protocol that does not exist.
    """
    held = _ROLES[kind] if roles is None else roles
    family = preferred or {}
    for name in (*family.get(dataset.partition("[")[0], ()), *family.get(kind, ()), *_AUTO[task, kind]):
        protocol = load_protocol(name)
        if fits(protocol, task, scales, time_scales, held, lq_scale):
            return protocol
    raise IncompatibleError(
        f"no protocol is right by itself for method '{method}' on dataset '{dataset}'",
        got=f"{_abilities(task, scales, time_scales)}; a dataset of kind {kind} that holds {_held(held, lq_scale)}",
        accepted=_listing(method, task, scales, time_scales, dataset, held, lq_scale),
        action=_ACTION,
    )


_HELD: dict[Role, str] = {"gt": "ground truth", "lq": "LQ clips"}
_ACTION = "name another protocol, method or dataset; see `stvsr-bench list protocols`"


def _held(roles: Collection[Role], lq_scale: int | None = None) -> str:
    held = " and ".join(text for role, text in _HELD.items() if role in roles)
    return held if lq_scale is None else f"{held}, ×{lq_scale} apart"


def _abilities(task: Task, scales: Factors, time_scales: Factors) -> str:
    def factors(values: Factors) -> str:
        return "any factor" if values is None else " or ".join(f"×{v}" for v in sorted(values))

    return f"a {task} method ({factors(scales)} in space, {factors(time_scales)} in time)"


def _listing(
    method: str,
    task: Task,
    scales: Factors,
    time_scales: Factors,
    dataset: str,
    roles: Collection[Role],
    lq_scale: int | None = None,
) -> str:
    both = fitting_protocols(task, scales, time_scales, roles, lq_scale)
    if both:
        return f"that fit '{method}' and '{dataset}': {', '.join(both)}"
    alone = fitting_protocols(task, scales, time_scales)
    if alone:
        return f"none fits both; '{method}' fits {', '.join(alone)} on a dataset that holds what they need"
    return f"none fits both, nor '{method}' on any dataset"
