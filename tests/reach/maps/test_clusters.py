from __future__ import annotations

import warnings

import numpy as np
import pytest

from reach.maps.clusters import MOST, clusters


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_clumps_far_apart_are_found_with_their_middles():
    # Given three clumps of 200, 100 and 60 rows: 360 rows are cut into three
    rng = np.random.default_rng(0)
    centres = np.array([[9.0, 0, 0], [0, 9, 0], [0, 0, 9]])
    of = np.repeat([0, 1, 2], [200, 100, 60])
    rows = (centres[of] + 0.1 * rng.standard_normal((360, 3))).astype(np.float32)
    cluster, typical = clusters(rows)
    assert (cluster == of).all()
    # And the typical ones are those nearest to the means
    for one in range(3):
        distance = np.linalg.norm(rows - rows[of == one].mean(axis=0), axis=1)
        assert typical[one].tolist() == np.argsort(distance)[:5].tolist()


def test_few_rows_are_one_cluster():
    cluster, typical = clusters(np.eye(3, dtype=np.float32))
    assert cluster.tolist() == [0, 0, 0]
    assert sorted(typical[0].tolist()) == [-1, -1, 0, 1, 2]


def test_there_are_no_more_clusters_than_different_rows():
    rows = np.repeat(np.eye(3, 4, dtype=np.float32), 2000, axis=0)
    cluster, typical = clusters(rows)
    assert len(typical) == 3 == len(set(cluster.tolist()))
    assert clusters(np.ones((900, 2), dtype=np.float32))[0].max() == 0


def test_the_cut_is_the_same_every_time_and_ordered_by_size():
    rows = np.random.default_rng(1).standard_normal((20_000, 5)).astype(np.float32)
    (first, typical), (second, _) = clusters(rows), clusters(rows)
    assert (first == second).all()
    sizes = np.bincount(first)
    assert len(sizes) == MOST == len(typical)
    assert (np.diff(sizes) <= 0).all()
