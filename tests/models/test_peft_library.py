"""PEFT without its neighbours' chatter."""

from __future__ import annotations

import subprocess
import sys
import warnings

from edgetune.models.peft_library import renamed_names_allowed


def test_importing_peft_says_nothing():
    code = "from edgetune.models.peft_library import load_peft; load_peft('a test')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr == ""


def test_other_warnings_than_of_renamed_names_are_shown():
    with warnings.catch_warnings(record=True) as caught, renamed_names_allowed():
        warnings.simplefilter("always", UserWarning)
        warnings.warn("is_gradient_checkpointing is deprecated", FutureWarning, stacklevel=1)
        warnings.warn("the disk is full", UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["the disk is full"]
