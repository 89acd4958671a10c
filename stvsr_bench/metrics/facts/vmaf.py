"""VMAF, which a program computes."""

from __future__ import annotations

from stvsr_bench.metrics.info import MetricInfo


def _vmaf(model: str, title: str, note: str, aliases: tuple[str, ...]) -> MetricInfo:
    return MetricInfo(
        id=f"vmaf_{model}",
        version=1,
        title=title,
        conventions="luma floor(16 + (65.481R + 128.553G + 24.966B)/255 + 0.5) of 8-bit RGB, made here and given raw "
        f"as 4:2:0 with gray chroma, so that ffmpeg converts nothing; model {model} of libvmaf{note}; no border "
        "cut, no resize; frames are scored in the order given, and the motion feature of the first is 0, so identical "
        "clips give 97.43 there and 100 after; per frame, then mean over frames, then mean over clips",
        unit="0-100",
        higher_is_better=True,
        reference="full",
        level="frame",
        entry="stvsr_bench.metrics.vmaf:Vmaf",
        params={"model": f"vmaf_{model}"},
        min_height=17,
        min_width=17,
        program="ffmpeg with libvmaf",
        licence="Apache-2.0; libvmaf BSD-2-Clause-Patent; imageio-ffmpeg brings a GPL-3.0 ffmpeg, called as a program",
        source="Netflix VMAF; libvmaf through ffmpeg's filter of that name (values: libvmaf 86da14d of "
        "imageio-ffmpeg 0.8.1)",
        aliases=aliases,
    )


FACTS = (
    _vmaf("v0.6.1", "VMAF", "", ("vmaf",)),
    _vmaf("v0.6.1neg", "VMAF NEG", ", no gain from enhancement, as MGLD-VSR prints it", ("vmaf_neg",)),
)
