"""What the list of targets says."""

from edgetune.targets.text import list_text


def test_what_is_only_for_classifiers_says_so():
    marked = [line.split()[0] for line in list_text().splitlines() if "for models that classify" in line]
    assert marked == ["camera-30fps"]
