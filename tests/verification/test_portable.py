"""What travels with an artifact: only with one that passed, whole, and enough to see a copy that is another model."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from faults import rewrite, swap_rows

from edgetune import files
from edgetune.artifact import open_artifact, write_manifest
from edgetune.cli import main
from edgetune.data.conversation import Conversation
from edgetune.errors import ArtifactError, ResourceError
from edgetune.evaluation.questions import Question, Scored
from edgetune.exporting import export
from edgetune.verification import verify
from edgetune.verification.divergence import Distributions, divergences, log_softmax
from edgetune.verification.limits import FULL
from edgetune.verification.on_device import verify_portable
from edgetune.verification.portable import PORTABLE, read_portable, seal, write_portable
from edgetune.verification.record import load
from edgetune.verification.reference import Reference, ReferenceRow
from edgetune.verification.verify import Verifier


@pytest.fixture
def run(make_run):
    return make_run()


@pytest.fixture
def artifact(run):
    found = export(run, "gguf", "f16")
    assert Verifier(run, quick=True).verify(found, portable=True).passed
    return found


def failed(artifact):
    return [check.name for check in verify_portable(artifact).failed]


def test_an_artifact_that_failed_leaves_nothing_and_loses_what_it_left(run, artifact, tmp_path, capsys):
    swapped = rewrite(artifact, edit=swap_rows)
    assert not Verifier(run, quick=True).verify(swapped, portable=True).passed
    assert not (artifact.path / PORTABLE).exists()
    assert "the artifact failed" in capsys.readouterr().err
    copy = shutil.copytree(artifact.path, tmp_path / "copy")
    with pytest.raises(ArtifactError, match="carries no"):
        verify_portable(open_artifact(copy))
    main_file = open_artifact(copy).main_file
    main_file.write_bytes(main_file.read_bytes()[:-64])
    with pytest.raises(ArtifactError, match="is damaged") as caught:
        verify_portable(open_artifact(copy))
    assert "truncated or changed" in caught.value.problems[0]


def test_a_failure_where_the_run_is_travels_too(artifact):
    kept = (artifact.path / PORTABLE).read_text()
    found = load(artifact)
    checks = [check.model_copy(update={"passed": False}) if check.name == "task" else check for check in found.checks]
    verify.keep(artifact, found.model_copy(update={"checks": tuple(checks)}))
    (artifact.path / PORTABLE).write_text(kept)
    assert failed(artifact) == ["origin"]
    assert failed(artifact) == ["origin"], "it stays so"


@pytest.mark.parametrize(
    "changes", [{"system": "Be rude"}, {"stop_ids": (7,)}, {"context_length": 99}, {"weights": "whole"}]
)
def test_a_manifest_that_was_changed_on_the_way(artifact, changes):
    copy = write_manifest(artifact.path, artifact.manifest.model_copy(update=changes))
    assert "metadata" in failed(copy)


def test_a_copy_that_was_mended_is_verified_again(artifact):
    changed = write_manifest(artifact.path, artifact.manifest.model_copy(update={"system": "Be rude"}))
    assert not verify_portable(changed).passed
    mended = write_manifest(artifact.path, artifact.manifest)
    assert verify_portable(mended).passed
    assert load(mended).passed


def edit(artifact, change, *, again=False):
    path = artifact.path / PORTABLE
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content | ({"seal": seal(content)} if again else {})))


def test_an_edited_or_empty_reference_is_refused(artifact):
    edit(artifact, lambda content: content["limits"].update(kl_mean=99))
    with pytest.raises(ArtifactError, match="was changed after it was written"):
        verify_portable(artifact)
    edit(artifact, lambda content: content.update(rows=[]), again=True)
    with pytest.raises(ArtifactError, match="holds no row to compare"):
        verify_portable(artifact)
    edit(artifact, lambda content: content.update(schema_version=1))
    with pytest.raises(ArtifactError, match="another version of edgetune"):
        verify_portable(artifact)
    (artifact.path / PORTABLE).write_text("[]")
    with pytest.raises(ArtifactError, match="damaged"):
        verify_portable(artifact)


def sure(seed, lead):
    """Forty distributions over a hundred tokens, one of them that far ahead of the others."""
    logits = np.random.default_rng(seed).normal(size=(40, 100)).astype(np.float32)
    logits[:, 7] += lead
    return log_softmax(logits)


@pytest.mark.parametrize("lead", [0.0, 8.0, 12.0, 16.0, 30.0])
def test_what_travels_of_a_model_that_is_sure_gives_a_lower_bound(artifact, lead):
    own, other = sure(0, lead), sure(1, lead - 2)
    scored = Scored((0,) * 41, (-100, *[1] * 40))
    row = ReferenceRow(Conversation(()), Question(0, "", (0,), None, (scored,)), (Distributions(own),))
    write_portable(Reference((row,), None, "x", 100), (), 8, FULL, artifact)
    (found,) = read_portable(artifact).reference.rows
    (travelled,) = found.distributions
    assert divergences(travelled, own).kl.max() < 1e-7, "the very same model"
    whole = divergences(Distributions(own), other).kl
    assert (divergences(travelled, other).kl <= whole + 1e-6).all()


def test_answers_that_do_not_end_where_the_trained_models_do(artifact):
    """The trained model's answers are said to end early: those of the copy go on."""
    edit(artifact, lambda c: [a.update(finish="stop", tokens=1) for a in c["answers"]], again=True)
    assert failed(artifact) == ["endings"]


def test_a_full_disk_does_not_hide_the_findings(artifact, monkeypatch, capsys):
    real = files.write_text

    def full(path, text):
        if path.name == PORTABLE:
            raise ResourceError("the disk is full", hint="choose another folder with --output")
        real(path, text)

    monkeypatch.setattr(files, "write_text", full)
    assert main(["verify", str(artifact.path), "--quick", "--portable"]) == 0
    captured = capsys.readouterr()
    assert "pass weights" in captured.out
    assert "is not stored, so a device cannot verify its copy: the disk is full" in captured.err
    assert "--output" not in captured.err
