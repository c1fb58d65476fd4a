"""Opening a classifier: which runtime its kind needs."""

from __future__ import annotations

from edgetune.artifact import Artifact
from edgetune.errors import ArtifactError
from edgetune.runtimes.classifier import Classifier


def open_classifier(artifact: Artifact, *, threads: int | None = None) -> Classifier:
    """An exported classifier in onnxruntime.

    Args:
        artifact: for text- or image-classification.
        threads: default: the physical cores this process may use.

    Raises:
        ArtifactError: it is no classifier, or damaged.
        MissingExtra: the onnx extra is not installed; for images also the images extra.
    """
    from edgetune.runtimes.onnx_classifier import OnnxClassifier
    from edgetune.runtimes.onnx_image_classifier import OnnxImageClassifier

    task = artifact.manifest.task if artifact.manifest else "generation"
    if task == "image-classification":
        return OnnxImageClassifier(artifact, threads=threads)
    if task == "text-classification":
        return OnnxClassifier(artifact, threads=threads)
    raise ArtifactError(f"{artifact.path} is no classifier", hint=f"talk to it: edgetune chat {artifact.path}")
