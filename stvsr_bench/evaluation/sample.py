"""One sample: restore what is not restored, score what is not scored, store the result."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from typing import Any

from stvsr_bench.core.environment import code_state, package_versions
from stvsr_bench.core.errors import BenchError, ResultError
from stvsr_bench.core.hashing import clip_hash
from stvsr_bench.core.paths import cache_dir
from stvsr_bench.core.seeding import derive_seed
from stvsr_bench.core.slug import slug
from stvsr_bench.data.apply import apply_protocol
from stvsr_bench.data.sample import Sample, SourceSample
from stvsr_bench.evaluation.diagnose import diagnose_outputs, diagnosis_notes, diagnosis_record
from stvsr_bench.evaluation.pipeline import Stage
from stvsr_bench.evaluation.plan import SCHEMA_VERSION, Plan
from stvsr_bench.evaluation.progress import FRAMES
from stvsr_bench.evaluation.scoring import Metrics, Scorer, stale
from stvsr_bench.evaluation.store import RunStore, restore_key
from stvsr_bench.evaluation.windowed import restore_sample
from stvsr_bench.methods.base import Report, Request
from stvsr_bench.metrics.catalog import MetricInfo
from stvsr_bench.metrics.feature_store import FeatureStore
from stvsr_bench.video.clip import Clip, Frames
from stvsr_bench.video.hashed import HashedClip, digest_of, files_state
from stvsr_bench.video.prefetch import PrefetchClip
from stvsr_bench.video.reading import open_clip
from stvsr_bench.video.writing import open_writer

BLOCK = 8  # frames per block when stored outputs are read back

Progress = Callable[[str, int, int], None]
"""Called with what is counted (``frames``, or a step within a clip), how many are done, and how many there are."""


@dataclass
class Inputs:
    """What one sample is made of, opened."""

    sample: Sample
    lq: HashedClip
    gt: HashedClip | None
    lq_hash: str
    state: str | None


class SampleWork:
    """Works on the samples of one plan.

    Args:
        plan: the run; its method is set up by the first restoration.
        store: the run folder.
    """

    def __init__(self, plan: Plan, store: RunStore) -> None:
        self.plan = plan
        self.store = store
        self.generation = plan.generation
        self.metrics = Metrics(plan.device, feature_store(plan))
        self.depth = 2 if plan.config["executor"]["overlap"] else 0
        self._ready = False

    def close(self) -> None:
        """Free what the method and the metrics hold."""
        self.metrics.close()
        if self._ready:
            self.plan.method.close()
            self._ready = False

    def run(self, source: SourceSample, progress: Progress) -> tuple[str, dict[str, Any]]:
        """Bring one sample up to date.

        Returns:
            What was done (``"done"``: nothing to do, ``"scored"``, ``"restored"`` or ``"failed"``) and the record.
        """
        began = time.perf_counter()
        try:
            old = self.store.load(source.name)
        except ResultError as error:  # damaged, or of a newer schema: it is not ours to replace
            return "failed", _failure(source, error)
        try:
            with ExitStack() as stack:
                inputs = self._open(source, old, stack)
                action, record = self._bring_up_to_date(inputs, old, progress)
            if action != "done":
                record["timing"]["wall_seconds"] = time.perf_counter() - began
                self.store.save(source.name, record)
        except Exception as error:  # noqa: BLE001 (a method may raise anything; one bad clip must not end the run)
            action, record = "failed", _failure(source, error)
            if old is None or old["status"] != "ok":  # a finished result is never replaced by a failure
                with suppress(BenchError):  # a full disk, for example: the caller still hears of the failure
                    self.store.save(source.name, record)
        return action, record

    def _open(self, source: SourceSample, old: dict[str, Any] | None, stack: ExitStack) -> Inputs:
        def reader(clip: Clip) -> Clip:
            return stack.enter_context(PrefetchClip(clip)) if self.depth else clip

        sample = apply_protocol(self.plan.protocol, source, wrap=reader, generation=self.generation)
        if sample.generated is not None:
            sample.generated.ensure()  # now: what LQ is made of and the state of its files belong to the result
        lq = HashedClip(sample.lq)
        gt = None if sample.gt is None else HashedClip(sample.gt)
        state = files_state(sample.lq, sample.gt)
        known = old is not None and state is not None and old.get("inputs_state") == state and old.get("restore")
        if known:
            assert old is not None
            lq_hash = old["restore"]["lq"]["hash"]
        elif old is not None:
            lq_hash = lq.pixel_hash()
        else:
            lq_hash = ""  # taken while the method reads the clip
        return Inputs(sample, lq, gt, lq_hash, state)

    def _bring_up_to_date(
        self, inputs: Inputs, old: dict[str, Any] | None, progress: Progress
    ) -> tuple[str, dict[str, Any]]:
        plan, sample = self.plan, inputs.sample
        if old is None or old["status"] != "ok":
            return "restored", self._restore(inputs, None, progress)
        if old["restore"]["key"] != restore_key(plan, sample.name, inputs.lq_hash):
            return "restored", self._restore(inputs, None, progress)
        if old.get("gt") is None or inputs.gt is None:
            gt_hash = None if inputs.gt is None else inputs.gt.pixel_hash(sample.scored)
        elif old.get("inputs_state") == inputs.state and inputs.state is not None:
            gt_hash = old["gt"]["hash"]
        else:
            gt_hash = inputs.gt.pixel_hash(sample.scored)
        missing = stale(old["scores"], plan.metrics, sample, old["restore"]["output_hash"], gt_hash)
        if not missing:
            if self._outputs_as_wanted(old):
                return "done", old
            return "restored", self._restore(inputs, old, progress)
        kept = old["restore"]["outputs"]
        if kept is not None and (self.store.folder / kept["path"]).exists():
            record = self._score_outputs(inputs, old, missing, progress)
            if record is not None:
                return "scored", record
        return "restored", self._restore(inputs, old, progress)

    def _outputs_as_wanted(self, old: dict[str, Any]) -> bool:
        """Whether outputs that the user now wants to keep are there; ones no longer wanted stay where they are."""
        wanted = self.plan.keep_outputs
        kept = old["restore"]["outputs"]
        if wanted == "no":
            return True
        return kept is not None and kept["kind"] == wanted and (self.store.folder / kept["path"]).exists()

    def _restore(self, inputs: Inputs, old: dict[str, Any] | None, progress: Progress) -> dict[str, Any]:
        """Restore and score in one pass; ``old`` values of other metrics are kept when the output is the same."""
        plan, sample = self.plan, inputs.sample
        if not self._ready:
            plan.method.setup(plan.device, plan.dtype)
            self._ready = True
        diagnosis = diagnosis_record(diagnose_outputs(plan.method, sample))
        report = Report(progress=progress)
        scorer = Scorer(plan.metrics, sample, inputs.gt, self.metrics)
        request = Request(
            scale=sample.scale,
            time_scale=sample.time_scale,
            seed=derive_seed(plan.seed, sample.name),
            name=sample.name,
        )
        kind = plan.keep_outputs
        height, width = inputs.lq.height * sample.scale, inputs.lq.width * sample.scale
        digests: list[bytes] = []
        with ExitStack() as stack:
            writer = None
            if kind != "no":
                writer = stack.enter_context(
                    open_writer(self.store.output_path(sample.name, kind), kind, height, width, sample.frame_rate)
                )

            def sink(block: Frames) -> None:
                digests.extend(digest_of(frame) for frame in block)
                if writer is not None:
                    writer.write(block)

            def score(item: tuple[Frames, int]) -> None:
                scorer.push(*item)

            sinks = Stage(sink, self.depth)
            scores = Stage(score, self.depth)
            done = 0
            try:
                for block in restore_sample(plan.method, sample, inputs.lq, request, report):
                    sinks.put(block)
                    scores.put((block, done))
                    done += len(block)
                    progress(FRAMES, done, sample.out_frames)
            except BaseException:
                sinks.close(abandon=True)
                scores.close(abandon=True)
                raise
            try:
                sinks.close()
            finally:
                scores.close()
        if kind != "no":
            self.store.drop_outputs(sample.name, kind)
        output_hash = clip_hash(digests)
        lq_hash = inputs.lq_hash or inputs.lq.pixel_hash()
        gt_hash = None if inputs.gt is None else inputs.gt.pixel_hash(sample.scored)
        outputs = None if kind == "no" else {"kind": kind, "path": self._relative(sample.name, kind)}
        if outputs is None and old is not None and old["restore"]["output_hash"] == output_hash:
            outputs = old["restore"]["outputs"]
        kept_scores = (
            old["scores"]
            if old is not None
            and old["restore"]["output_hash"] == output_hash
            and (old.get("gt") or {}).get("hash") == gt_hash
            else {}
        )
        restore_seconds = sum(stage.seconds for stage in report.stages)
        return {
            **self._head(inputs, gt_hash, diagnosis),
            "restore": {
                "key": restore_key(plan, sample.name, lq_hash),
                "output_hash": output_hash,
                "frames": done,
                "height": height,
                "width": width,
                "frame_rate": _rate(sample.frame_rate),
                "plan": report.plan,
                "stages": [asdict(stage) for stage in report.stages],
                "notes": report.notes,
                "lq": {
                    "hash": lq_hash,
                    "frames": len(inputs.lq),
                    "height": inputs.lq.height,
                    "width": inputs.lq.width,
                    "generated": _origin(sample),
                },
                "outputs": outputs,
                "overlap": self.depth > 0,
                "device": plan.device,
                "torch": package_versions().get("torch"),
                "commit": code_state()["commit"],
                "dirty": code_state()["dirty"],
            },
            "scores": {**kept_scores, **scorer.results(output_hash, gt_hash)},
            "timing": {"restore_seconds": restore_seconds, "score_seconds": scorer.seconds},
        }

    def _score_outputs(
        self, inputs: Inputs, old: dict[str, Any], missing: list[MetricInfo], progress: Progress
    ) -> dict[str, Any] | None:
        """Score stored outputs with ``missing`` metrics; ``None`` when the stored pixels are not what was recorded."""
        sample = inputs.sample
        scorer = Scorer(missing, sample, inputs.gt, self.metrics)
        digests: list[bytes] = []
        try:
            clip = open_clip(self.store.folder / old["restore"]["outputs"]["path"], sample.name)
            start = 0
            for block in clip.blocks(BLOCK):
                digests.extend(digest_of(frame) for frame in block)
                scorer.push(block, start)
                start += len(block)
                progress(FRAMES, start, sample.out_frames)
        except BenchError:
            return None
        output_hash = clip_hash(digests)
        if output_hash != old["restore"]["output_hash"]:
            return None
        gt_hash = None if inputs.gt is None else inputs.gt.pixel_hash(sample.scored)
        diagnosis = old.get("diagnosis")
        if diagnosis is None or (old.get("gt") or {}).get("hash") != gt_hash:  # none yet, or of another ground truth
            diagnosis = diagnosis_record(diagnose_outputs(self.plan.method, sample))
        return {
            **self._head(inputs, gt_hash, diagnosis),
            "restore": old["restore"],
            "scores": {**old["scores"], **scorer.results(output_hash, gt_hash)},
            "timing": {**old["timing"], "score_seconds": scorer.seconds},
        }

    def _head(self, inputs: Inputs, gt_hash: str | None, diagnosis: dict[str, Any] | None) -> dict[str, Any]:
        sample = inputs.sample
        generated = () if sample.generated is None else sample.generated.notes
        notes = list(
            dict.fromkeys([*sample.notes, *generated, *inputs.lq.notes, *(inputs.gt.notes if inputs.gt else ())])
        )
        return {
            "schema_version": SCHEMA_VERSION,
            "sample": sample.name,
            "status": "ok",
            "reason": None,
            "gt": None if gt_hash is None else {"hash": gt_hash, "frames": len(sample.scored)},
            "scored": [sample.scored.start, sample.scored.stop],
            "key_frames": list(sample.key_frames),
            **({} if sample.windows is None else {"windows": [[out.start, out.stop] for out in sample.outputs]}),
            **({} if diagnosis is None else {"diagnosis": diagnosis}),
            "notes": [*notes, *diagnosis_notes(diagnosis)],
            "inputs_state": inputs.state,
        }

    def _relative(self, name: str, kind: str) -> str:
        return str(self.store.output_path(name, kind).relative_to(self.store.folder))


def feature_store(plan: Plan) -> FeatureStore | None:
    """Return where features of the dataset's ground truth are kept, or ``None`` where the user wants none."""
    limit = plan.config["gt_cache_gb"]
    if not limit:
        return None
    return FeatureStore(cache_dir() / "features" / slug(plan.dataset.name), round(limit * 2**30))


def _failure(source: SourceSample, error: Exception) -> dict[str, Any]:
    """Return the record of a sample that failed; errors that are not ours keep their traceback."""
    reason = {"type": type(error).__name__, "message": str(error)}
    if not isinstance(error, BenchError):
        reason["traceback"] = "".join(traceback.format_exception(error))
    return {
        "schema_version": SCHEMA_VERSION,
        "sample": source.name,
        "status": "failed",
        "reason": reason,
        "restore": None,
        "gt": None,
        "scored": None,
        "key_frames": [],
        "notes": [],
        "scores": {},
        "timing": {},
    }


def _origin(sample: Sample) -> dict[str, Any] | None:
    """Return what identifies the stored set that LQ was read from; ``None`` where LQ was not generated so."""
    if sample.generated is None:
        return None
    record = sample.generated.ensure().record
    return {
        "set": record.id,
        "degradation": [record.degradation, record.version],
        "seed": record.seed,
        "recipe_hash": record.recipe_hash,
        "lq_hash": record.lq_hash,
        "libraries": record.libraries,
    }


def _rate(rate: Any) -> str | None:
    return None if rate is None else f"{rate.numerator}/{rate.denominator}"
