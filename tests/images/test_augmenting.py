"""Changes to training pictures: bounded, repeatable, and none unless asked for."""

from __future__ import annotations

import numpy as np
import pytest

from edgetune.images.augmenting import Augmentation, drawing

SIZE = 32


def dot(row=16, column=16):
    frame = np.zeros((SIZE, SIZE, 3), np.uint8)
    frame[row - 1 : row + 2, column - 1 : column + 2] = 255
    return frame


def centre(frame):
    weights = frame[..., 0].astype(float)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    return (weights * rows).sum() / weights.sum(), (weights * columns).sum() / weights.sum()


def test_nothing_is_changed_by_default():
    assert not Augmentation()
    frame = dot(3, 9)
    assert np.array_equal(Augmentation().apply(frame, drawing(1, 0, 0)), frame)


def test_the_same_seed_pass_and_picture_give_the_same():
    some = Augmentation(shift=0.2, rotate=30, zoom=0.2, flip=True, brightness=0.3, contrast=0.3)
    frame = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    one, again, later, other = (some.apply(frame, drawing(7, *place)) for place in ((0, 3), (0, 3), (1, 3), (0, 4)))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, later)
    assert not np.array_equal(one, other)
    assert one.shape == frame.shape
    assert one.dtype == np.uint8


def test_a_shift_stays_within_its_share_and_uses_it():
    found = [centre(Augmentation(shift=0.25).apply(dot(), drawing(1, 0, n))) for n in range(60)]
    away = np.abs(np.asarray(found) - 16)
    assert away.max() <= 0.25 * SIZE + 0.6
    assert away.max(axis=0).min() > 0.2 * SIZE


def test_a_turn_keeps_the_distance_from_the_middle():
    found = np.asarray([centre(Augmentation(rotate=90).apply(dot(8, 16), drawing(1, 0, n))) for n in range(40)])
    distances = np.hypot(found[:, 0] - 15.5, found[:, 1] - 15.5)
    assert np.allclose(distances, np.hypot(7.5, 0.5), atol=0.7)
    assert (found[:, 1] < 12).any()
    assert (found[:, 1] > 19).any()


def test_a_zoom_moves_points_from_and_to_the_middle():
    found = np.asarray([centre(Augmentation(zoom=0.5).apply(dot(8, 16), drawing(1, 0, n)))[0] for n in range(40)])
    assert found.min() < 6
    assert found.max() > 9
    assert (15.5 - found).max() <= 7.5 * 1.5 + 0.7


def test_a_flip_mirrors_about_half_of_them():
    places = [round(centre(Augmentation(flip=True).apply(dot(8, 4), drawing(1, 0, n)))[1]) for n in range(60)]
    assert set(places) == {4, 27}
    assert 15 < places.count(27) < 45


def test_the_edge_is_repeated_not_filled_with_black():
    white = np.full((SIZE, SIZE, 3), 200, np.uint8)
    moved = Augmentation(shift=0.3, rotate=45, zoom=0.3).apply(white, drawing(1, 0, 0))
    assert (moved == 200).all()


def test_light_and_contrast_change_values_only():
    frame = dot()
    bright = [Augmentation(brightness=0.5).apply(frame, drawing(1, 0, n)).max() for n in range(30)]
    assert min(bright) < 190
    assert all(value >= 127 for value in bright)
    halves = np.full((SIZE, SIZE, 3), 100, np.uint8)
    halves[:16] = 150
    spans = [np.ptp(Augmentation(contrast=0.9).apply(halves, drawing(1, 0, n))) for n in range(30)]
    assert min(spans) < 25
    assert 75 < max(spans) <= 95


@pytest.mark.parametrize("setting", ["shift", "rotate", "zoom", "brightness", "contrast"])
def test_one_setting_does_not_change_what_another_draws(setting):
    frame = dot(8, 4)
    alone = centre(Augmentation(flip=True).apply(frame, drawing(5, 0, 2)))
    both = centre(Augmentation(flip=True, **{setting: 1e-9}).apply(frame, drawing(5, 0, 2)))
    assert np.allclose(alone, both, atol=0.6)
