"""Runs in Optimum's environment, where edgetune is not installed: ``python child.py MODEL OUTPUT``."""

import sys

from optimum.exporters.onnx import main_export  # type: ignore[import-not-found]  # another environment

main_export(
    sys.argv[1],
    sys.argv[2],
    task="text-generation-with-past",
    device="cpu",
    dtype="fp32",
    library_name="transformers",
    do_validation=False,  # edgetune verify does that, on more than random tokens
    local_files_only=True,
)
