# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Pairs of shots for the reranker, their features computed once, since its encoder is frozen.

Each query has the shot that shows its place, and hard negatives: of the shots most similar to it
by descriptor (global mining, section 3.3), those that show other places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from ...common.files import replacing
from ...model import ImageFeatures
from ...model.reranker import correlate
from ...model.vit_encoder import VitEncoder
from ..data.partners import Size, is_true_partner
from ..data.shots import Shot

OTHER_PLACE_M, FARTHER_M = 8.0, 4.0
"""A shot of the query's group is another place if it is at least so far, and so much farther than
the positive."""
HARDEST, NEGATIVES = 30, 10
"""Negatives are drawn from the hardest, of which a few may show the place after all."""
HELD_OUT_EVERY = 10
"""Of so many groups with queries, one is not learned from."""

Prepare = Callable[[torch.Tensor], torch.Tensor]
"""From uint8 (B, H, W, 3) to the normalised input of the encoder."""


@dataclass(frozen=True)
class PairData:
    """
    Features of N shots (float16), their patches row by row, and G queries among them.

    ``query`` (G,) and ``candidates`` (G, 1 + K) are rows of ``features``: the positive, then
    negatives. ``labelled`` (G, 1 + K) says where it is known which partners are true: not where a
    negative is of the query's own street, and may show a part of what the query shows.
    ``partners`` (G, 2 P, 2) belong to query and positive, see ``Shot``. ``held_out`` (G,) says
    which are not learned from.
    """

    features: ImageFeatures
    size: Size
    query: torch.Tensor
    candidates: torch.Tensor
    labelled: torch.Tensor
    partners: torch.Tensor
    held_out: torch.Tensor

    def correlated(
        self, groups: torch.Tensor, columns: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Return what the reranker reads of some pairs, and labels.

        :param groups: (B,) numbers of queries.
        :param columns: (B, C) of their candidates; column 0 is the positive.
        :returns: pairs (B, C, S, 5, 7), and (B, C, S) whether each best partner is the true one,
            see ``is_true_partner``; 0 in labelled negatives.
        """
        count = columns.shape[1]
        rows = self.candidates[groups].gather(1, columns)
        query, candidate = (self._picked(of) for of in (
            self.query[groups].repeat_interleave(count), rows.flatten()))
        pairs = correlate(query, candidate)
        partners = self.partners[groups].float().repeat_interleave(count, dim=0)
        partners[columns.flatten() > 0] = torch.nan
        partners[~self.labelled[groups].gather(1, columns).flatten()] = torch.inf
        labels = is_true_partner(pairs, partners, self.size)
        return pairs.view(*columns.shape, *pairs.shape[1:]), labels.view(*columns.shape, -1)

    def _picked(self, rows: torch.Tensor) -> ImageFeatures:
        picked = self.features[rows.tolist()]
        return replace(picked, descriptors=picked.descriptors.float(), xy=picked.xy.float())


def pair_data(
    encoder: VitEncoder, sequences: Iterable[Iterable[Shot]], prepare: Prepare, *,
    seed: int = 0, batch: int = 32,
) -> PairData:
    """
    Encode shots, and find hard negatives of each query among those that are no queries.

    :param sequences: in each of them shots count from 0.
    """
    parts: list[ImageFeatures] = []
    known: list[Shot] = []
    for chunk in _chunks(_numbered(sequences), batch):
        images = torch.from_numpy(np.stack([shot.image for shot in chunk]))
        with torch.inference_mode():
            parts.append(_row_by_row(encoder(prepare(images))))
        known += [replace(shot, image=shot.image[:0, :0]) for shot in chunk]
    features = joined(parts)
    spec = encoder.spec
    return of_features(features, known, (spec.image_height, spec.image_width), seed)


def kept_pair_data(path: Path, make: Callable[[], PairData]) -> PairData:
    """Read what an earlier call has kept in a file, or make and keep it."""
    if not path.exists():
        data = make()
        with replacing(path) as unfinished:
            torch.save({**vars(data), 'features': vars(data.features)}, unfinished)
    kept = torch.load(path, weights_only=True)
    return PairData(**{**kept, 'features': ImageFeatures(**kept['features'])})


def of_features(
    features: ImageFeatures, shots: Sequence[Shot], size: Size, seed: int
) -> PairData:
    """Find hard negatives for shots whose features are known."""
    asking = [(row, shot.positive, shot.partners) for row, shot in enumerate(shots)
              if shot.positive is not None and shot.partners is not None]
    query, positive = torch.tensor([pair[:2] for pair in asking]).unbind(dim=1)
    negatives, elsewhere = _hard_negatives(features.descriptor, shots, query, positive, seed)
    groups = [shots[row].group for row in query.tolist()]
    held_out = set(sorted(set(groups))[::HELD_OUT_EVERY])
    first = torch.ones(len(query), 1, dtype=torch.bool)
    return PairData(
        features, size, query, torch.cat([positive[:, None], negatives], dim=1),
        torch.cat([first, elsewhere], dim=1),
        torch.from_numpy(np.stack([partners for _, _, partners in asking])).half(),
        torch.tensor([group in held_out for group in groups]),
    )


def _numbered(sequences: Iterable[Iterable[Shot]]) -> Iterator[Shot]:
    """Yield all shots, with the numbers of positives counted from the first of all."""
    count = 0
    for sequence in sequences:
        first = count
        for shot in sequence:
            count += 1
            moved = None if shot.positive is None else shot.positive + first
            yield replace(shot, positive=moved)


def _hard_negatives(
    descriptors: torch.Tensor, shots: Sequence[Shot], query: torch.Tensor,
    positive: torch.Tensor, seed: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows (G, ``NEGATIVES``) of other places, and whether each is of another group."""
    generator = torch.Generator().manual_seed(seed)
    numbers = {group: number for number, group in enumerate({shot.group: 0 for shot in shots})}
    group = torch.tensor([numbers[shot.group] for shot in shots])
    place = torch.tensor([shot.place_m for shot in shots], dtype=torch.float32)
    places = torch.tensor([row for row, shot in enumerate(shots) if shot.positive is None])
    least = torch.linalg.vector_norm(place[query] - place[positive], dim=1) + FARTHER_M
    found = []
    for part in torch.split(torch.arange(len(query)), 256):
        rows = query[part]
        similarity = descriptors[rows].float() @ descriptors[places].float().T
        apart = torch.cdist(place[rows], place[places])  # no comparison holds if not a number
        other = (apart > OTHER_PLACE_M) & (apart > least[part, None])
        other |= group[rows, None] != group[places]
        count = min(HARDEST, int(other.sum(dim=1).min()))
        hardest = similarity.masked_fill(~other, -torch.inf).topk(count).indices
        drawn = torch.rand(hardest.shape, generator=generator).argsort(dim=1)[:, :NEGATIVES]
        found.append(places[hardest.gather(1, drawn)])
    negatives = torch.cat(found)
    return negatives, group[negatives] != group[query][:, None]


def _row_by_row(features: ImageFeatures) -> ImageFeatures:
    """Put patches in the order of the grid, and halve the precision."""
    order = (features.xy[..., 1] * 1e4 + features.xy[..., 0]).argsort(dim=1)
    wide = order[..., None]
    return ImageFeatures(
        features.descriptor.half(), features.xy.gather(1, wide.expand_as(features.xy)),
        features.attention.gather(1, order),
        features.descriptors.gather(1, wide.expand_as(features.descriptors)).half(),
    )


def _chunks(shots: Iterable[Shot], size: int) -> Iterator[list[Shot]]:
    """Yield lists of shots, the last perhaps shorter."""
    remaining = iter(shots)
    while chunk := list(islice(remaining, size)):
        yield chunk


def joined(parts: list[ImageFeatures]) -> ImageFeatures:
    """Put batches of images one after another."""
    return ImageFeatures(*(torch.cat([getattr(part, name) for part in parts])
                           for name in ('descriptor', 'xy', 'attention', 'descriptors')))
