# SPDX-FileCopyrightText: 2026 The r2former_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Measure what the probability of an answer is worth, and fit the models behind it.

    python benchmarks/trust.py --data DIR --json trust.json [--fit WEIGHTS.trust.safetensors]

Each map is asked for pictures of its own places and for foreign ones, of several families. Every
figure is of models fitted without the map and without the family that they judge. Half of the
weight is foreign. Answers near the truth (at most 25 m) are counted apart from gross errors.
``--fit`` writes models fitted on everything, with their bank, for ``maps/trust.py``.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from loop_closure import gardens_point, kitti
from numpy.typing import NDArray
from tqdm import tqdm

from r2former_ros.cli.options import parse_setting
from r2former_ros.config import Config, with_values
from r2former_ros.evaluation.cache import cached
from r2former_ros.geometry.verification import count_inliers
from r2former_ros.mapping.build import create_map, keyframe_from
from r2former_ros.maps.place_map import PlaceMap
from r2former_ros.maps.search import PlaceSearch
from r2former_ros.maps.trust import (
    IN_MAP,
    RIGHT,
    SIGNALS,
    Logistic,
    Trust,
    fit_logistic,
    signals_of,
)
from r2former_ros.model import ImageFeatures, Model
from r2former_ros.model.loading import load_configured
from r2former_ros.records import Frame, Hypothesis, Pose, PosedFrame
from r2former_ros.sources.datasets import read_ground_truth
from r2former_ros.sources.pictures import read_image

NEAR_M = 25.0
RADIUS_M = 10.0
RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
ASKED = 0.1
SURE = 0.8
FEW_WRONG = 15
BANK = 200
FEWEST = 25
SITES_TOO = ('ietower', 'kitti')
"""Sources of the pool that maps are made from too."""
FLOORS = ('floor16', 'floor22')
Answer = tuple[bool, bool]
"""Whether an answer is right, and whether it is within 25 m."""


@dataclass(frozen=True)
class Shot:
    """A picture, with what the judge of its map needs to know about it."""

    path: Path
    at: Any = None


@dataclass(frozen=True)
class Site:
    """A map and its queries. ``judge`` compares a query's truth with a place's."""

    name: str
    places: Sequence[Shot]
    queries: dict[str, Sequence[Shot]]
    judge: Callable[[Any, Any], Answer]
    poses: Sequence[Pose | None] = ()


@dataclass
class Rows:
    """A row per picture asked of a map."""

    site: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    foreign: list[bool] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    near: list[bool] = field(default_factory=list)
    signals: list[list[float]] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)
    others: list[list[float]] = field(default_factory=list)


def metric(truth: Pose, place: Pose) -> Answer:
    """Judge by distance: right within 8 m."""
    apart_m = float(np.linalg.norm(truth[:3, 3] - place[:3, 3]))
    return apart_m <= 8.0, apart_m <= NEAR_M


def by_rows(reach: int, near: int) -> Callable[[int, int], Answer]:
    """Judge by the difference of the row numbers along a route."""
    return lambda truth, place: (abs(truth - place) <= reach, abs(truth - place) <= near)


def gardens(data: Path) -> list[Site]:
    """Return a map per lap, asked for the two other laps."""
    drive = gardens_point(data)
    laps = {
        name: [Shot(file, pose.pose) for file, pose in
               list(zip(drive.files, drive.truth, strict=True))[200 * lap : 200 * lap + 200]]
        for lap, name in enumerate(('day_left', 'day_right', 'night_right'))
    }
    return [Site(f'gardens_{name}', shots, {one: laps[one] for one in laps if one != name},
                 metric, [shot.at for shot in shots]) for name, shots in laps.items()]


def listed(data: Path, name: str, folder: str, reach: int, most: int) -> Site:
    """Return a set whose queries have the row numbers of their places."""
    places = read_ground_truth(data / 'eval' / folder / 'ground_truth.json')
    database = [Shot(path, row) for row, path in enumerate(places.database)][:most]
    queries = [Shot(path, row) for row, path in enumerate(places.queries)][:most]
    return Site(name, database, {name: queries}, by_rows(reach, 4 * reach))


def street(data: Path) -> Site:
    """Return KITTI: a map of every third frame, asked for the frames halfway between."""
    drive = kitti(data)
    shots = [Shot(file, pose.pose) for file, pose in zip(drive.files, drive.truth, strict=True)]
    return Site('kitti', shots[::3], {'kitti': shots[1::3]}, metric,
                [shot.at for shot in shots[::3]])


def floors(data: Path) -> list[Site]:
    """Return floors of a tower: a map of every third frame, asked for those halfway between."""
    sites = []
    for floor in FLOORS:
        files = sorted((data / 'train_clips').glob(f'{floor}__*.jpg'))
        shots = [Shot(file, (file.name.rpartition('_frame_')[0], row))
                 for row, file in enumerate(files)]
        sites.append(Site(floor, shots[::3], {floor: shots[1::3]}, in_clip))
    return sites


def in_clip(truth: tuple[str, int], place: tuple[str, int]) -> Answer:
    """Judge by the clip: right within two frames of it, near anywhere in it."""
    same = truth[0] == place[0]
    return same and abs(truth[1] - place[1]) <= 2, same


def pictures_by_source(data: Path) -> dict[str, list[Path]]:
    """Return the pictures of the pool, without sources that maps are made from, or too small."""
    pool: dict[str, list[Path]] = {}
    for line in (data / 'train_pool' / 'manifest.csv').read_text().splitlines()[1:]:
        name, source = line.split(',')[:2]
        if source not in SITES_TOO:
            pool.setdefault(source, []).append(data / 'train_pool' / name)
    return {name: sorted(paths) for name, paths in pool.items() if len(paths) >= FEWEST}


def foreign_families(data: Path, count: int) -> dict[str, list[Shot]]:
    """Return pictures of elsewhere by family, drawn at random."""
    pool = pictures_by_source(data)
    clips = (data / 'train_clips').glob('*.jpg')
    pool['tower'] = sorted(one for one in clips if not one.name.startswith(FLOORS))
    draw = random.Random(0)
    return {name: [Shot(path) for path in draw.sample(sorted(paths), min(count, len(paths)))]
            for name, paths in sorted(pool.items())}


class Eyes:
    """Encode every picture once."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.seen: dict[Path, ImageFeatures] = {}

    def features(self, search: PlaceSearch, path: Path) -> ImageFeatures:
        """Return the features of a picture."""
        if path not in self.seen:
            self.seen[path] = search.encode(search.prepare(Frame(0, read_image(path))))
        return self.seen[path]


def build(site: Site, eyes: Eyes, path: Path, config: Config) -> PlaceSearch:
    """Make the map of a site and open it for searching."""
    from r2former_ros.model.preprocess import preprocess

    poses = site.poses or [None] * len(site.places)
    with create_map(eyes.model, path, config) as place_map:
        for shot, pose in zip(tqdm(site.places, desc=site.name, mininterval=10), poses,
                              strict=True):
            image = read_image(shot.path)
            if shot.path not in eyes.seen:
                pixels = preprocess(image, eyes.model.spec.input, eyes.model.device)
                eyes.seen[shot.path] = eyes.model.encode(pixels)
            posed = PosedFrame(Frame(0, image), pose, shot.path.name)
            place_map.add(keyframe_from(posed, eyes.seen[shot.path], 0))
    return PlaceSearch(eyes.model, PlaceMap.open(path), config)


def ask(search: PlaceSearch, query: ImageFeatures, bank: NDArray[np.float16]) -> tuple[
        list[Hypothesis], dict[str, float], list[float]]:
    """Search for an image; return hypotheses, signals, and what rivals say: inliers, SUE, SU."""
    hypotheses = search.rerank(query, search.retrieve(query))
    place = search.descriptor(hypotheses[0].place.place_id)
    signals = signals_of(hypotheses, query.descriptor_of(0), place, bank, RADIUS_M)
    spec, best = search.model.spec, search.local_features(hypotheses[0].place.place_id)
    inliers = count_inliers(query.local_features_of(0), best,
                            max(spec.image_height, spec.image_width), search.config.verification)
    return hypotheses, signals, [float(inliers), -spread_m(hypotheses), signals['deviation']]


def spread_m(hypotheses: Sequence[Hypothesis]) -> float:
    """Return the spread of the ten best places, weighted by score (SUE)."""
    first = hypotheses[:10]
    weights = np.array([one.score for one in first]) + 1e-9
    at = np.array([[one.place.place_id, 0, 0] if one.place.map_T_camera is None
                   else one.place.map_T_camera[:3, 3] for one in first], float)
    mean = np.average(at, axis=0, weights=weights)
    return float(np.average(((at - mean) ** 2).sum(axis=1), weights=weights) ** 0.5)


def collect(
    sites: Sequence[Site], families: dict[str, list[Shot]], bank: Bank, *,
    eyes: Eyes, config: Config, limit: int,
) -> Rows:
    """Ask every map for its queries and for the foreign pictures."""
    rows = Rows()
    with tempfile.TemporaryDirectory() as folder:
        for site in sites:
            search = build(site, eyes, Path(folder) / f'{site.name}.r2map', config)
            asked = {name: spread(shots, limit) for name, shots in site.queries.items()}
            for name, shots in [*asked.items(), *families.items()]:
                if name == 'tower' and site.name in FLOORS:
                    name = 'other floors'
                for shot in shots:
                    add_row(rows, site, name, shot, ask(
                        search, eyes.features(search, shot.path), bank.without(name)))
            search.place_map.close()
    return rows


def spread(shots: Sequence[Shot], count: int) -> list[Shot]:
    """Choose some, evenly spread."""
    chosen = np.linspace(0, len(shots) - 1, min(count, len(shots))).round().astype(int)
    return [shots[row] for row in chosen]


def add_row(rows: Rows, site: Site, name: str, shot: Shot, said: Any) -> None:
    """Judge one answer."""
    hypotheses, signals, others = said
    best = hypotheses[0]
    right, near = (False, False) if shot.at is None else \
        site.judge(shot.at, site.places[best.place.place_id - 1].at)
    rows.site.append(site.name)
    rows.asked.append(name)
    rows.foreign.append(shot.at is None)
    rows.right.append(right)
    rows.near.append(near)
    rows.signals.append([signals[one] for one in SIGNALS])
    rows.raw.append(best.score)
    rows.others.append(others)


class Table:
    """The rows as columns, with the weight of each."""

    def __init__(self, rows: Rows) -> None:
        self.site, self.asked = np.array(rows.site), np.array(rows.asked)
        self.foreign, self.right = np.array(rows.foreign), np.array(rows.right)
        self.near, self.raw = np.array(rows.near), np.array(rows.raw)
        self.signals, self.others = np.array(rows.signals), np.array(rows.others)
        self.weight = np.ones(len(self.site))
        for site in set(rows.site):  # each map counts the same, half of it foreign
            for foreign in (True, False):
                chosen = (self.site == site) & (self.foreign == foreign)
                self.weight[chosen] = 0.5 / max(chosen.sum(), 1)

    def fit(self, chosen: NDArray[np.bool_]) -> tuple[Logistic, Logistic]:
        """Fit both models on some rows."""
        known = chosen & ~self.foreign
        return (self._fit(IN_MAP, chosen, ~self.foreign), self._fit(RIGHT, known, self.right))

    def _fit(
        self, names: tuple[str, ...], chosen: NDArray[np.bool_], labels: NDArray[np.bool_]
    ) -> Logistic:
        columns = [SIGNALS.index(name) for name in names]
        return fit_logistic(names, self.signals[chosen][:, columns], labels[chosen].astype(float),
                            self.weight[chosen])

    def judged(self, models: tuple[Logistic, Logistic]) -> NDArray[np.float64]:
        """Return the probability of every row."""
        named = [dict(zip(SIGNALS, row, strict=True)) for row in self.signals.tolist()]
        return np.array([models[0](one) * models[1](one) for one in named])

    def left_out(self) -> dict[str, NDArray[np.float64]]:
        """Judge each row by models that saw neither its map nor its family, by family."""
        judged = {}
        for family in sorted(set(self.asked[self.foreign])):
            judged[family] = np.zeros(len(self.site))
            for site in set(self.site):
                # All maps of one place are left out together.
                same = np.array([one.split('_')[0] == site.split('_')[0] for one in self.site])
                seen = ~same & ~(self.foreign & (self.asked == family))
                judged[family][self.site == site] = \
                    self.judged(self.fit(seen))[self.site == site]
        return judged


def auroc(good: NDArray[np.float64], bad: NDArray[np.float64]) -> float | None:
    """Return how often a good one is above a bad one; ties count half."""
    if not len(good) or not len(bad):
        return None
    above = (good[:, None] > bad).mean() + 0.5 * (good[:, None] == bad).mean()
    return float(above)


def ece(probability: NDArray[np.float64], right: NDArray[np.bool_],
        weight: NDArray[np.float64]) -> float:
    """Return the expected calibration error over ten bins."""
    bins = np.minimum((probability * 10).astype(int), 9)
    return float(sum(
        abs(np.average(probability[bins == one] - right[bins == one], weights=weight[bins == one]))
        * weight[bins == one].sum() for one in set(bins.tolist())) / weight.sum())


def false_discoveries(
    accepted: NDArray[np.bool_], right: NDArray[np.bool_], weight: NDArray[np.float64]
) -> float | None:
    """Return the share of wrong answers among the accepted ones."""
    total = float(weight[accepted].sum())
    return float(weight[accepted & ~right].sum()) / total if total else None


def entry(table: Table, site: str, queries: str, family: str,
          judged: NDArray[np.float64], threshold: float) -> dict[str, Any]:
    """Return the figures of a map, its queries and one foreign family."""
    known = (table.site == site) & (table.asked == queries)
    foreign = (table.site == site) & table.foreign & (table.asked == family)
    both = known | foreign
    weight = np.where(known, 0.5 / known.sum(), 0.0) + np.where(foreign, 0.5 / foreign.sum(), 0.0)
    right, wrong = known & table.right, known & ~table.right
    accepted = both & (judged >= threshold)
    sure = both & (judged >= SURE)
    rivals = {'raw': table.raw, 'inliers': table.others[:, 0], 'SUE': table.others[:, 1],
              'SU': table.others[:, 2]}
    return {
        'map': site, 'queries': queries, 'foreign': family, 'asked': ASKED,
        'fdr': false_discoveries(accepted, table.right, weight),
        'fdr_25m': false_discoveries(accepted, table.near, weight),
        'recall': share(accepted & right, right),
        'ece': ece(judged[both], table.right[both], weight[both]),
        'auroc_foreign': auroc(judged[right], judged[foreign]),
        'auroc_wrong': auroc(judged[right], judged[wrong]) if wrong.sum() >= FEW_WRONG else None,
        'fdr_at_p80': false_discoveries(sure, table.right, weight),
        'recall_at_p80': share(sure & right, right),
        'accepted_foreign': share(accepted & foreign, foreign),
        'accepted_foreign_at_p80': share(sure & foreign, foreign),
        'rivals': {name: {'auroc_foreign': auroc(one[right], one[foreign]),
                          'auroc_wrong': auroc(one[right], one[wrong])
                          if wrong.sum() >= FEW_WRONG else None}
                   for name, one in rivals.items()},
        'raw_ece': ece(table.raw[both], table.right[both], weight[both]),
        'raw_fdr_at_50': false_discoveries(
            both & (table.raw >= 0.5), table.right, weight),
    }


def share(some: NDArray[np.bool_], of: NDArray[np.bool_]) -> float | None:
    """Return how many of the chosen rows are among some."""
    return float(some.sum() / of.sum()) if of.sum() else None


def summary(entries: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return mean and worst of the main figures."""
    worst = {'auroc_foreign': min, 'auroc_wrong': min, 'ece': max, 'fdr_at_p80': max,
             'recall_at_p80': min, 'fdr': max, 'recall': min, 'raw_ece': max,
             'raw_fdr_at_50': max}
    found = {name: [one[name] for one in entries if one[name] is not None] for name in worst}
    return {name: {'mean': float(np.mean(values)), 'worst': float(worst[name](values))}
            for name, values in found.items() if values}


def thresholds_of(
    table: Table, judged: Iterable[NDArray[np.float64]]
) -> tuple[tuple[float, float], ...]:
    """Return for each rate the least probability whose answers are wrong at most that often."""
    means = np.mean(list(judged), axis=0)
    found = []
    for rate in RATES:
        rates = ((one, false_discoveries(means >= one, table.right, table.weight))
                 for one in np.linspace(0.3, 0.995, 140).tolist())
        found.append((rate, next((one for one, wrong in rates if (wrong or 0) <= rate), 0.995)))
    return tuple(found)


@dataclass(frozen=True)
class Bank:
    """Descriptors (B, D) of pictures of the pool, and the source of each."""

    descriptors: NDArray[np.float16]
    sources: NDArray[np.str_]

    @classmethod
    def of(cls, data: Path, eyes: Eyes, count: int) -> Bank:
        """Encode as many pictures of each source, as far as it has them."""
        from r2former_ros.model.preprocess import preprocess

        draw, pool = random.Random(1), pictures_by_source(data)
        chosen = [(name, path) for name, paths in sorted(pool.items())
                  for path in draw.sample(paths, min(len(paths), count // len(pool)))]
        rows = []
        for _, path in tqdm(chosen, desc='bank', mininterval=10):
            pixels = preprocess(read_image(path), eyes.model.spec.input, eyes.model.device)
            rows.append(eyes.model.encode(pixels).descriptor_of(0))
        return cls(np.array(rows, np.float16), np.array([name for name, _ in chosen]))

    def without(self, source: str) -> NDArray[np.float16]:
        """Return the descriptors of all other sources: a family must not be in its own bank."""
        return self.descriptors[self.sources != source]


def sites_of(data: Path, most: int) -> list[Site]:
    """Return all maps."""
    return [
        *gardens(data),
        listed(data, 'corridor', 'corridor', 2, most),
        listed(data, 'sped', 'sped_test_crops100', 0, most),
        street(data),
        *floors(data),
    ]


def asked(model: Model, config: Config, arguments: argparse.Namespace) -> tuple[Bank, Rows]:
    """Make the bank, ask all maps, and keep the answers if told to."""
    eyes = Eyes(model)
    bank = Bank.of(arguments.data, eyes, BANK)
    sites = [one for one in sites_of(arguments.data, arguments.most)
             if not arguments.maps or one.name in arguments.maps]
    rows = collect(sites, foreign_families(arguments.data, arguments.foreign), bank,
                   eyes=eyes, config=config, limit=arguments.limit)
    if arguments.rows:
        np.savez(arguments.rows[0], bank=bank.descriptors, sources=bank.sources,
                 rows=json.dumps(asdict(rows)))
    return bank, rows


def report(
    table: Table, bank: Bank, model: Model, arguments: argparse.Namespace
) -> None:
    """Judge what was not seen, write the figures, and fit on everything."""
    judged = table.left_out()
    thresholds = thresholds_of(table, judged.values())
    threshold = dict(thresholds)[ASKED]
    entries = [
        entry(table, site, queries, family, judged[family], threshold)
        for site in dict.fromkeys(table.site.tolist())
        for queries in dict.fromkeys(table.asked[(table.site == site) & ~table.foreign].tolist())
        for family in dict.fromkeys(table.asked[(table.site == site) & table.foreign].tolist())
    ]
    result = {'weights': f'{model.origin.text} {model.fingerprint}', 'entries': entries,
              'summary': summary(entries), 'thresholds': thresholds}
    arguments.json.write_text(json.dumps(result, indent=1))
    print(json.dumps(result['summary'], indent=1))
    if arguments.fit:
        Trust(model.fingerprint, *table.fit(np.ones(len(table.site), bool)), thresholds,
              bank.descriptors).save(arguments.fit)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--json', type=Path, required=True)
    parser.add_argument('--fit', type=Path, help='write models fitted on everything')
    parser.add_argument('--limit', type=int, default=100, help='queries per map and set, at most')
    parser.add_argument('--foreign', type=int, default=40, help='foreign pictures per family')
    parser.add_argument('--most', type=int, default=300, help='places per listed set, at most')
    parser.add_argument('--maps', nargs='*', help='only these')
    parser.add_argument('--rows', type=Path, nargs='+',
                        help='keep the answers in this file; if all of them exist, use them')
    parser.add_argument('--new-bank', action='store_true',
                        help='the answers are of earlier weights of the same recipe: encode the '
                             'bank with these')
    parser.add_argument('--cache', type=Path, help='keep encoded pictures in this folder')
    parser.add_argument('--set', action='append', default=[], type=parse_setting,
                        metavar='NAME=VALUE')
    arguments = parser.parse_args()
    config = with_values(Config(), {'map.thumbnail_width': 0, **dict(arguments.set)})
    model = load_configured(config)
    if arguments.cache:
        model = cached(model, arguments.cache)
    if arguments.rows and all(path.exists() for path in arguments.rows):
        parts = [np.load(path) for path in arguments.rows]
        bank = Bank.of(arguments.data, Eyes(model), BANK) if arguments.new_bank else \
            Bank(parts[0]['bank'], parts[0]['sources'])
        rows = Rows()
        for part in parts:
            for name, column in json.loads(str(part['rows'])).items():
                getattr(rows, name).extend(column)
    else:
        bank, rows = asked(model, config, arguments)
    report(Table(rows), bank, model, arguments)


if __name__ == '__main__':
    main()
