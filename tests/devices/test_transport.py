"""What every way to a device has in common."""

from __future__ import annotations

import pytest

from edgetune.devices.room import free_bytes
from edgetune.devices.transport import Answer, Lost, unmarked


@pytest.mark.parametrize(
    ("answer", "last"),
    [
        (Answer(1, "printed\n", "first\nsecond\n"), "second"),
        (Answer(1, "one\ntwo\n", " \n"), "two"),
        (Answer(3, "", ""), "exit code 3"),
    ],
)
def test_last_words(answer, last):
    assert answer.last == last


def test_what_was_printed_before_is_no_reason_of_a_loss():
    with pytest.raises(Lost, match=r"^the connection was lost: exit code 255$"):
        unmarked(Answer(255, "half of an answer", ""), "the connection was lost")


class Disk:
    """A device whose ``df`` prints this."""

    parent = "/var/tmp"

    def __init__(self, text):
        self.text = text

    def run(self, command, timeout=60.0):
        return Answer(0, self.text, "")


@pytest.mark.parametrize(
    ("text", "free"),
    [
        ("/dev/sda1 1000 600 400 60% /", 400 * 1024),
        ("my disk 1000 600 400 60% /mnt/my disk", 400 * 1024),
        ("none - - - - /", None),
        ("", None),
    ],
)
def test_free_space(text, free):
    assert free_bytes(Disk(text)) == free
