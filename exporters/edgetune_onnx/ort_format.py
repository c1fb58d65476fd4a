"""ONNX Runtime's own format: a graph already optimised, in a flat buffer that its builds for phones load.

Those builds leave ONNX's protobuf reader out, and, told which operators are needed, all other operators too. The list
lies beside the graph: ``build.sh --include_ops_by_config`` of ONNX Runtime's sources reads it.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path

from edgetune.errors import EdgetuneError, ExportError
from edgetune.extras import require
from edgetune.runtimes.onnx_session import open_session
from edgetune_onnx.building import quantiser_log

_TOOL = "onnxruntime.tools.convert_onnx_models_to_ort"

#: Behind a precision's name: the same numbers in this format.
SUFFIX = "_ort"
GRAPH = "model.ort"
OPERATORS = "model.required_operators_and_types.config"


def is_ort(precision: str) -> bool:
    """Whether a precision is one in this format."""
    return precision.endswith(SUFFIX)


def numbers_of(precision: str) -> str:
    """A precision without its format.

    >>> numbers_of("int8_ort"), numbers_of("int8")
    ('int8', 'int8')
    """
    return precision.removesuffix(SUFFIX)


def convert(graph: Path) -> None:
    """Put :data:`GRAPH` and :data:`OPERATORS` in the place of an ONNX graph, by ONNX Runtime's own tool.

    The optimisations are those that every processor can run.

    Raises:
        ExportError: ONNX Runtime cannot load the graph, or cannot store it.
    """
    try:
        with quantiser_log(), redirect_stdout(io.StringIO()):
            tool = require(_TOOL, extra="onnx-export", needed_for="writing .ort files")
            fixed = [tool.OptimizationStyle.Fixed]
            tool.convert_onnx_models_to_ort(graph, optimization_styles=fixed, enable_type_reduction=True)
    except EdgetuneError:
        raise
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise ExportError(
            f"onnxruntime cannot write this graph as .ort: {str(error).splitlines()[0]}",
            hint=f"export it without {SUFFIX}",
        ) from error
    graph.unlink()
    operators = graph.with_name(OPERATORS)
    listed = operators.read_text(encoding="utf-8").splitlines(keepends=True)
    operators.write_text("".join(line for line in listed if not line.startswith("#")), encoding="utf-8")  # a path


def read_facts(path: Path) -> dict[str, str]:
    """What a graph says of itself.

    Raises:
        ArtifactError: it is no graph.
    """
    session = open_session(path, 1, needed_for="reading a graph")
    return dict(session.get_modelmeta().custom_metadata_map)
