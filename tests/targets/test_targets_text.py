"""What the list of targets says."""

from edgetune.targets.text import list_text


def test_what_cannot_be_measured_yet_is_marked():
    marked = [line.split()[0] for line in list_text().splitlines() if "cannot be measured yet" in line]
    assert marked == ["camera-30fps"]
