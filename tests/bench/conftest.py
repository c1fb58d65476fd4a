import json

import pytest
from tinygguf import write_tiny_gguf

from edgetune.artifact import ArtifactManifest, write_manifest
from edgetune.files import sha256_file
from edgetune.run import Run, RunManifest


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> Run:
    """A run folder with an export of a tiny model and five held-out rows."""
    run = Run(tmp_path_factory.mktemp("runs") / "tiny-run")
    export(run)
    run.data_folder.mkdir()
    rows = [
        [{"role": "system", "content": "Obey."}, {"role": "user", "content": f"hello {index}"},
         {"role": "assistant", "content": "yes", "weight": 1}]
        for index in range(5)
    ]  # fmt: skip
    run.heldout_file.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    (run.folder / "recipe.yaml").write_text(json.dumps({"name": "tiny", "model": {"source": "base"}}))
    manifest = RunManifest(state="trained", edgetune="0", created="2026-01-01T00:00:00Z", seed=1)
    (run.folder / "manifest.json").write_text(manifest.model_dump_json())
    return run


def export(run):
    folder = run.exports_folder / "f32"
    folder.mkdir(parents=True)
    file = write_tiny_gguf(folder / "tiny.gguf")
    manifest = ArtifactManifest(
        name="tiny-f32", format="gguf", precision="f32", runtime="llama.cpp", main_file="tiny.gguf",
        weights="merged", architecture="LlamaForCausalLM", base_source="base", base_sha256="0", merged_into="base",
        chat_template_sha256="0", stop_ids=(2,), system="Answer in JSON.", context_length=512, parameters=1,
        tensor_types={"F32": 20}, fallbacks={}, sha256={"tiny.gguf": sha256_file(file)},
        size_bytes=file.stat().st_size, edgetune="0", created="2026-01-01T00:00:00Z",
    )  # fmt: skip
    write_manifest(folder, manifest)
