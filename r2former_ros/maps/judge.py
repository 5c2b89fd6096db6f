# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What the hypotheses of one image are worth: their probabilities, and whether the best is accepted.

Two thresholds for two jobs: what a single answer must reach to be accepted, and at which point the
filter over places takes it as evidence for a place rather than for "not in the map".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..config import Config
from ..model import ImageFeatures
from ..records import Floats, Hypothesis
from .calibration import calibration_for, log_odds, with_threshold
from .risk import risk_of
from .search import PlaceSearch
from .trust import same_place, signals_of, trust_for

MEASURED_RATIO = 300.0
"""How much likelier keypoints give a pose in metres at the right place than at a wrong one.

None of 1,675 wrong places gave one, so it is less than 3 in 1,675 there; more than half of the
right ones did.
"""


@dataclass(frozen=True, eq=False)
class Judgement:
    """
    The probabilities (K,) of hypotheses, NaN if nothing tells them, and the ``evidence`` (K,).

    Evidence is how much more likely the image is at the place than outside the map. ``accepted``
    is about the best one alone, which needed ``required`` as its probability; NaN if its score
    decided.
    """

    probabilities: Floats
    evidence: Floats
    accepted: bool = False
    required: float = math.nan


class Judge:
    """Judge what a search finds, image by image."""

    def __init__(self, search: PlaceSearch) -> None:
        """
        Find the coefficients that belong to the weights.

        :raises MapError: if ``decision.false_accept_rate`` is set and the map is not calibrated.
        :raises WeightsError: if the file of the coefficients is damaged.
        """
        self.search = search
        self.trust = trust_for(search.model.fingerprint, search.config.model.weights)
        self.use(search.config)

    def use(self, config: Config) -> None:
        """
        Change the settings.

        :raises MapError: if they need a calibration that the map lacks; then nothing changes.
        """
        self.calibration = calibration_for(self.search.place_map, config)
        self.risk = risk_of(self.search.place_map, config)
        self.decision = with_threshold(config, self.calibration).decision
        self._rerank = config.rerank.effective

    def judge(
        self, query: ImageFeatures, hypotheses: Sequence[Hypothesis], measured: int | None = None
    ) -> Judgement:
        """
        Judge the hypotheses of an image, best first.

        :param measured: id of the place relative to which a pose in metres was measured.
        """
        if not hypotheses:
            return Judgement(np.zeros(0), np.zeros(0))
        ratio = self._of_geometry(hypotheses, measured)
        if self.trust is None or not self._has_logits:
            return self._by_score(hypotheses, ratio)
        search, radius_m = self.search, self.decision.agreement_radius_m
        signals = signals_of(
            hypotheses, query.descriptor_of(0),
            search.descriptor(hypotheses[0].place.place_id), self.trust.bank, radius_m)
        confidence = self.trust.confidence(hypotheses, signals, radius_m)
        required, probabilities = self._required(), confidence.probabilities
        probabilities = ratio * probabilities / (1 - probabilities + ratio * probabilities)
        accepted = self._reaches_score(hypotheses[0]) if math.isnan(required) else \
            bool(probabilities[0] >= required)
        return Judgement(probabilities, ratio * confidence.evidence, accepted, required)

    def _of_geometry(self, hypotheses: Sequence[Hypothesis], measured: int | None) -> Floats:
        """Return the likelihood ratio (K,) of what was measured: above 1 near a measured pose."""
        named = [one.place.place_id == measured for one in hypotheses]
        near = same_place(hypotheses, self.decision.agreement_radius_m)[:, named].any(axis=1)
        return np.where(near, MEASURED_RATIO, 1.0)

    @property
    def _has_logits(self) -> bool:
        """Whether scores are probabilities of the reranker, which the signals are made from."""
        return self.search.reranks and self._rerank.candidates > 0 \
            and self._rerank.ranking == 'probability'

    def _required(self) -> float:
        """Return the probability that a single answer must reach; NaN: its score decides."""
        rate = self.decision.false_discovery_rate
        if self.trust is None or rate == 0 or self.decision.false_accept_rate > 0:
            return math.nan
        return (self.risk or self.trust).threshold(rate)

    def _by_score(self, hypotheses: Sequence[Hypothesis], ratio: Floats) -> Judgement:
        """Judge by the score alone, and by the calibration of the map if it has one."""
        known = self.calibration
        even = log_odds(self.decision.evidence_score or self.decision.min_score)
        return Judgement(
            np.array([known.probability(one.score) if known else math.nan for one in hypotheses]),
            ratio * np.exp([log_odds(one.score) - even for one in hypotheses]),
            self._reaches_score(hypotheses[0]),
        )

    def _reaches_score(self, best: Hypothesis) -> bool:
        return best.score >= self.decision.min_score
