"""The projection: few numbers, intervals, and what was published of it still holds."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from edgetune.devices.device import Device, find_device, shipped_devices
from edgetune.devices.measurements import measurements, used_for
from edgetune.devices.projection import BIG, MIXED, T0_S, fit, project, spans_kinds, work_of
from edgetune.devices.validation import coverage, leave_one_soc_out, mean_error
from edgetune.errors import EdgetuneError

PUBLISHED = Path(__file__).parent.parent.parent / "benchmarks" / "projection" / "results" / "projection.json"


def test_every_measurement_has_a_source_and_a_possible_speed():
    assert len(used_for("fit")) == 20
    for row in measurements():
        assert row.source
        assert row.mb_per_token * row.decode_tok_s / 1e3 < row.bandwidth_gb_s, "faster than its memory"


def test_the_goal_is_met_on_devices_left_out():
    outcomes = leave_one_soc_out(used_for("fit"))
    assert mean_error(outcomes) <= 0.15
    assert coverage(outcomes) >= 0.80


def test_what_is_published_is_what_the_code_says():
    stored = json.loads(PUBLISHED.read_text())
    outcomes = leave_one_soc_out(used_for("fit"))
    assert stored["mean_absolute_error"] == pytest.approx(mean_error(outcomes))
    assert stored["coverage"] == pytest.approx(coverage(outcomes))


def test_a_row_is_projected_without_any_row_of_its_soc():
    rows = used_for("fit")
    changed = tuple(
        row.model_copy(update={"decode_tok_s": row.decode_tok_s / 2}) if row.soc == "BCM2712" else row for row in rows
    )
    before = next(one for one in leave_one_soc_out(rows) if one.row.soc == "BCM2712")
    after = next(one for one in leave_one_soc_out(changed) if one.row.soc == "BCM2712")
    assert (before.low, before.middle, before.high) == (after.low, after.middle, after.high)


def test_exact_measurements_are_found_again():
    """Rows made by the formula give its efficiencies back, and an interval without width."""
    exact = tuple(
        row.model_copy(update={"decode_tok_s": 1 / _seconds(row, 0.3 if row.mixed_cores else 0.6)})
        for row in used_for("fit")
    )
    found = fit(exact)
    assert math.exp(found.log_efficiency[BIG]) == pytest.approx(0.6)
    assert math.exp(found.log_efficiency[MIXED]) == pytest.approx(0.3)
    assert found.half_width == pytest.approx(0, abs=1e-9)


def _seconds(row, efficiency):
    work = work_of(row)
    return T0_S + work.bytes / (efficiency * work.bandwidth) + work.arithmetic_s()


def test_an_interval_with_its_class():
    found = project(find_device("raspberry-pi-5"), 1e9, 1e9)
    assert found.low < found.middle < found.high
    assert (found.device_class, found.group) == ("a76-dotprod", BIG)
    assert found.low < 11 < found.high, "about 10 to 12 GB/s were measured there"
    assert found.notes == ()


def test_a_small_model_gets_a_wider_interval_and_a_note():
    board = find_device("raspberry-pi-5")
    small, large = project(board, 1e8, 1e8), project(board, 1e9, 1e9)
    assert small.high / small.low > large.high / large.low
    assert "smaller than any model measured" in small.notes[0]


def test_more_depth_is_slower():
    board = find_device("galaxy-s24")
    assert project(board, 2e9, 1e9).middle < project(board, 1e9, 1e9).middle


def test_cores_without_dot_products_also_compute():
    weak = find_device("raspberry-pi-4")
    strong = weak.model_copy(update={"device_class": "a76-dotprod"})
    assert project(weak, 2e9, 3e9).middle < 0.6 * project(strong, 2e9, 3e9).middle


def test_threads_across_kinds_of_cores_use_less():
    assert project(find_device("orion-o6"), 1e9, 1e9).group == MIXED
    assert project(find_device("radxa-dragon-q6a"), 1e9, 1e9).group == MIXED
    assert project(find_device("galaxy-s22"), 1e9, 1e9).group == BIG


def test_one_measurement_is_an_assumption_and_says_so():
    phone = find_device("galaxy-s24").model_copy(update={"device_class": "gpu-apple", "system": "ios"})
    assert "assumed" in project(phone, 5e8, 5e8).notes[0]


def test_bandwidth_outside_of_what_was_measured_is_said():
    fast = find_device("orion-o6").model_copy(update={"bandwidth_gb_s": 400.0})
    assert any("outside of what was measured" in note for note in project(fast, 1e9, 1e9).notes)


def test_devices_that_ship():
    names = [device.name for device in shipped_devices()]
    assert len(names) == len(set(names)) >= 9
    assert all(device.sources for device in shipped_devices())


def test_a_device_of_ones_own(tmp_path):
    file = tmp_path / "mine.yaml"
    fields = find_device("galaxy-s24").model_dump(mode="json") | {"name": "mine"}
    file.write_text(json.dumps(fields))
    assert find_device(str(file)) == Device.model_validate(fields)
    for wrong in ({"bandwidth_gb_s": -1}, {"extra": 1}, {"big_cores": [8]}, {"name": "No Good"}):
        file.write_text(json.dumps(fields | wrong))
        with pytest.raises(EdgetuneError, match="does not describe a device") as caught:
            find_device(str(file))
        assert caught.value.problems
    with pytest.raises(EdgetuneError, match="no such device"):
        find_device(str(tmp_path / "none.yaml"))


def test_an_unknown_device_gets_a_guess():
    with pytest.raises(EdgetuneError, match="did you mean 'galaxy-s24'"):
        find_device("galaxy-24")


def test_the_labels_of_cores_follow_their_rule():
    """Whoever adds a row finds here what the label means."""
    labels = {row.soc: row.mixed_cores for row in measurements()}
    assert {soc for soc, mixed in labels.items() if mixed} == {"QCS6490", "SC8280XP", "CIX P1 CP8180"}
    assert not any(row.mixed_cores for row in measurements() if row.threads is None)
    assert not labels["Snapdragon 7+ Gen 2"], "four threads on a Cortex-X2 and three A710, all of them big"
    board = find_device("raspberry-pi-5")
    phone = board.model_copy(update={"cores": 8, "big_cores": (4, 5, 6, 7), "threads": 4})
    assert [spans_kinds(one) for one in (board, phone, phone.model_copy(update={"threads": 5}))] == [False, False, True]
