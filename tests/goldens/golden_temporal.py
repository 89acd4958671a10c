"""Golden values of the temporal metrics."""

from __future__ import annotations

from metric_claims import Claim

CLAIMS: list[Claim] = []
