"""What a device's thermal status before and after says of a measurement."""

import pytest

from edgetune.devices.heat import in_words, warnings


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("none", "none", []),
        (None, None, []),
        ("throttled=0x50000", "throttled=0x50000", []),  # once since its start, not now
        ("none", "throttled=0x50000", ["held back while it was measured: under-voltage, throttled"]),
        ("throttled=0x10000", "throttled=0x50000", ["held back while it was measured: throttled"]),
        (
            "throttled=0x50005",
            "throttled=0x50000",
            ["the device was held back already when it began: under-voltage, throttled"],
        ),
        ("throttled=0x80000", "throttled=0x80008", ["held back while it was measured: soft temperature limit"]),
        ("moderate", "moderate", ["the device was already warm when it began (thermal status moderate)"]),
        ("none", "severe", ["throttled: thermal status severe at the end"]),
        (None, "throttled=0x4", ["throttled: thermal status throttled now at the end"]),
    ],
)
def test_now_and_since_the_start_are_told_apart(before, after, said):
    assert list(warnings(before, after)) == said


def test_a_status_in_words():
    assert in_words("throttled=0x80008") == "soft temperature limit now; since its start soft temperature limit"
    assert in_words("throttled=0x20000") == "since its start clock capped"
