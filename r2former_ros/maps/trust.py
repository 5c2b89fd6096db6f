# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How probable it is that the best hypothesis is right, from what a search finds anyway.

Two logistic models: P(in map) asks whether the image shows any place of the map, P(right | in map)
whether the best hypothesis is the right one if it does. Their inputs are the signals of
``signals_of``; their coefficients are fitted for given weights (``benchmarks/trust.py``) and kept
in a file next to them, together with a bank: descriptors of pictures of elsewhere. An image that
resembles the bank more than the map, or a place that resembles much of the bank, deserves doubt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.optimize import minimize

from ..errors import WeightsError
from ..records import Floats, Hypothesis, Place, Vector
from .calibration import log_odds, probability_of

FORMAT = 'r2former_ros trust'
SUFFIX = '.trust.safetensors'
FOLDER = Path(__file__).parents[1] / 'weights'
NEIGHBOUR_IDS = 2
"""Places without poses count as near if their ids, in the order of driving, differ by this."""
LOOKED_AT = 20
"""Best hypotheses that the signals are computed from."""
TEMPERATURE = 0.4
"""Of the softmax over the log odds of the hypotheses; the smaller, the more the best counts."""
FARTHEST_GAP = 6.0
"""Gap to the next distinct place if there is none, in log odds."""
HUBS = 5
"""Most similar pictures of the bank whose mean similarity is the hubness of a place."""
PENALTY = 0.1
"""Inverse strength of the L2 penalty of a logistic model, on standardised signals."""
SIGNALS = ('logit', 'gap', 'deviation', 'mass', 'similarity_gap', 'bank', 'hubness')
IN_MAP = ('logit', 'bank', 'hubness', 'deviation', 'mass')
RIGHT = ('logit', 'mass', 'gap', 'deviation', 'similarity_gap', 'hubness')


@dataclass(frozen=True)
class Logistic:
    """A logistic model on some named signals, which it standardises."""

    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weight: tuple[float, ...]
    intercept: float

    def __call__(self, signals: Mapping[str, float]) -> float:
        """Return the probability."""
        terms = zip(self.names, self.mean, self.scale, self.weight)
        odds = sum(weight * (signals[name] - mean) / scale for name, mean, scale, weight in terms)
        return probability_of(odds + self.intercept)


@dataclass(frozen=True)
class Confidence:
    """
    What is known about the hypotheses of one image.

    ``in_map`` is the probability that the image shows a place of the map at all, ``right`` that
    the best hypothesis is right if so. ``shares`` (K,) divides the evidence among the places of
    the hypotheses: each has that of all hypotheses of the same place.
    """

    in_map: float
    right: float
    shares: Floats

    @property
    def probability(self) -> float:
        """The probability that the best hypothesis is right."""
        return self.in_map * self.right

    @property
    def probabilities(self) -> Floats:
        """The probability of each hypothesis (K,); hypotheses of one place share theirs."""
        rest = self.in_map * (1 - self.right) * self.shares / max(1 - self.shares[0], 1e-9)
        same = self.shares == self.shares[0]
        return np.where(same, self.probability, np.minimum(rest, self.probability))

    @property
    def evidence(self) -> Floats:
        """How much more likely the image is at each place than outside the map (K,)."""
        return self.probabilities / max(1 - self.in_map, 1e-9)


@dataclass(frozen=True, eq=False)
class Trust:
    """
    The models of one file of weights, ``fingerprint``, and its bank (B, D) float16.

    ``thresholds`` holds pairs (rate, probability): among the answers of at least this probability,
    the rate was wrong on maps and foreign pictures that the models had not seen.
    """

    fingerprint: str
    in_map: Logistic
    right: Logistic
    thresholds: tuple[tuple[float, float], ...]
    bank: NDArray[np.float16]

    def confidence(self, hypotheses: Sequence[Hypothesis], signals: Mapping[str, float],
                   radius_m: float) -> Confidence:
        """Judge the hypotheses of an image, best first, from its signals."""
        return Confidence(self.in_map(signals), self.right(signals),
                          shares_of(hypotheses, radius_m))

    def threshold(self, false_discovery_rate: float) -> float:
        """
        Return the probability that an answer must reach for a rate of wrong ones among all.

        It is interpolated between the measured rates, and never below one half.
        """
        rates, thresholds = zip(*self.thresholds)
        return max(0.5, float(np.interp(false_discovery_rate, rates, thresholds)))

    def rate(self, probability: float) -> float:
        """Return the share of wrong answers among those of at least a probability."""
        rates, thresholds = zip(*self.thresholds)
        return float(np.interp(probability, thresholds[::-1], rates[::-1]))

    def save(self, path: str | Path) -> None:
        """Write the file."""
        save_file({'bank': self.bank}, str(path), metadata={
            'format': FORMAT,
            'fingerprint': self.fingerprint,
            'in_map': json.dumps(asdict(self.in_map)),
            'right': json.dumps(asdict(self.right)),
            'thresholds': json.dumps(self.thresholds),
        })

    @classmethod
    def load(cls, path: str | Path) -> Trust:
        """
        Read a file.

        :raises WeightsError: if it cannot be read or is of another kind.
        """
        try:
            with safetensors.safe_open(str(path), framework='numpy') as file:
                header, bank = file.metadata() or {}, file.get_tensor('bank')
        except (OSError, safetensors.SafetensorError) as error:
            raise WeightsError(f'{path}: cannot be read ({error})') from error
        if header.get('format') != FORMAT:
            raise WeightsError(f'{path}: does not hold the coefficients of a probability')
        in_map, right = (_logistic(json.loads(header[name])) for name in ('in_map', 'right'))
        thresholds = tuple((rate, least) for rate, least in json.loads(header['thresholds']))
        return cls(header['fingerprint'], in_map, right, thresholds, bank)


def trust_for(fingerprint: str, weights: str | Path) -> Trust | None:
    """
    Find the file fitted for some weights: next to their file, or bundled.

    :param weights: the path or name that they were loaded by.
    :returns: None if there is none; then only scores are known.
    :raises WeightsError: if a file is damaged.
    """
    for path in (Path(weights).with_suffix(SUFFIX), *sorted(FOLDER.glob(f'*{SUFFIX}'))):
        if path.is_file():
            trust = Trust.load(path)
            if trust.fingerprint == fingerprint:
                return trust
    return None


def signals_of(
    hypotheses: Sequence[Hypothesis],
    query: Vector,
    place: Vector,
    bank: NDArray[np.float16],
    radius_m: float,
) -> dict[str, float]:
    """
    Compute the signals of an image.

    :param hypotheses: at least one, best first, scored by the reranker.
    :param query: the descriptor (D,) of the image, and ``place`` (D,) that of the best place.
    :param bank: descriptors (B, D) of pictures of elsewhere.
    :param radius_m: places within this distance are the same place.
    """
    first = hypotheses[:LOOKED_AT]
    logits = np.array([log_odds(one.score) for one in first])
    similarities = np.array([one.similarity for one in first])
    same = same_place(first, radius_m)[0]
    apart = ~same
    to_bank, place_to_bank = bank @ query, np.sort(bank @ place)
    return {
        'logit': float(logits[0]),
        'gap': float(min(logits[0] - logits[apart].max(), FARTHEST_GAP)) if apart.any()
        else FARTHEST_GAP,
        'deviation': float(logits.std()),
        'mass': float(_softmax(logits)[same].sum()),
        'similarity_gap': float(similarities[0] - similarities[apart].max()) if apart.any()
        else 1.0,
        'bank': float(similarities[0] - to_bank.max()),
        'hubness': float(place_to_bank[-HUBS:].mean()),
    }


def shares_of(hypotheses: Sequence[Hypothesis], radius_m: float) -> Floats:
    """Return for each hypothesis (K,) the share of the evidence that its place has."""
    softmax = _softmax(np.array([log_odds(one.score) for one in hypotheses]))
    return np.asarray(same_place(hypotheses, radius_m) @ softmax, np.float64)


def same_place(hypotheses: Sequence[Hypothesis], radius_m: float) -> NDArray[np.bool_]:
    """Return (K, K): which hypotheses are about the same place."""
    places = [one.place for one in hypotheses]
    if any(one.map_T_camera is None for one in places):
        at, radius_m = np.array([[one.place_id, 0, 0] for one in places], float), NEIGHBOUR_IDS
    else:
        at = np.array([_position(one) for one in places])
    apart = np.linalg.norm(at[:, None] - at, axis=2)
    return np.asarray(apart <= radius_m)


def fit_logistic(
    names: tuple[str, ...], signals: Floats, labels: Floats, weights: Floats
) -> Logistic:
    """
    Fit a model with an L2 penalty.

    :param signals: (N, K), a column per name.
    :param labels: (N,), 0 or 1.
    :param weights: (N,), their scale does not matter.
    """
    weights = weights / weights.mean()
    mean = np.average(signals, axis=0, weights=weights)
    scale = np.sqrt(np.average((signals - mean) ** 2, axis=0, weights=weights)) + 1e-9
    rows = np.column_stack([(signals - mean) / scale, np.ones(len(signals))])

    def loss(line: Floats) -> tuple[float, Floats]:
        odds = rows @ line
        miss = weights * (np.logaddexp(0, odds) - labels * odds)
        slope = rows.T @ (weights * (1 / (1 + np.exp(-odds)) - labels))
        penalised = np.append(line[:-1], 0.0)
        return float(PENALTY * miss.sum() + penalised @ penalised / 2), \
            PENALTY * slope + penalised

    line = minimize(loss, np.zeros(rows.shape[1]), jac=True).x
    return Logistic(names, tuple(mean.tolist()), tuple(scale.tolist()), tuple(line[:-1].tolist()),
                    float(line[-1]))


def _softmax(logits: Floats) -> Floats:
    weights = np.exp((logits - logits.max()) / TEMPERATURE)
    return np.asarray(weights / weights.sum(), np.float64)


def _position(place: Place) -> Floats:
    assert place.map_T_camera is not None
    return place.map_T_camera[:3, 3]


def _logistic(stored: dict[str, Any]) -> Logistic:
    names, mean, scale, weight = (tuple(stored[name])
                                  for name in ('names', 'mean', 'scale', 'weight'))
    return Logistic(names, mean, scale, weight, float(stored['intercept']))
