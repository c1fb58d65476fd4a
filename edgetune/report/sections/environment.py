"""What it was made of and where it was measured."""

from __future__ import annotations

from pathlib import PurePath

from edgetune.bench.schema import BenchReport
from edgetune.report.cells import megabytes, number_cell, text_cell
from edgetune.report.evidence import Evidence
from edgetune.report.record import Cell, Column, Section, Table


def environment_section(evidence: Evidence) -> Section:
    """Base, data, versions, hashes, and the machines of the benchmarks."""
    tables = [_made_of(evidence), _versions(evidence)]
    tables += [_artifacts(evidence)] if evidence.shipped else []
    machines = [bench.report for one in evidence.shipped for bench in one.benches]
    tables += [_machines(machines)] if machines else []
    return Section(
        id="environment",
        title="Environment",
        lead=f"edgetune {evidence.manifest.edgetune}, seed {evidence.manifest.seed}. The recipe and the origin of each "
        "of its values are in recipe.yaml and origins.json of the run.",
        tables=tuple(tables),
    )


def _made_of(evidence: Evidence) -> Table:
    manifest = evidence.manifest
    base = manifest.base_source
    facts = {
        # Folders of this machine are nobody else's business.
        "base": PurePath(base).name if PurePath(base).is_absolute() else base,
        "base is": manifest.base_origin,
        "base, SHA-256": manifest.base_sha256,
        "method": manifest.method,
        "trained against": manifest.trained_against or "",
        "tokenizer, SHA-256": manifest.tokenizer_sha256,
        "chat template, SHA-256": manifest.chat_template_sha256,
        **{f"{name} rows, SHA-256": digest for name, digest in manifest.data_sha256.items()},
        "run made": manifest.created,
    }
    rows = tuple((text_cell(name), text_cell(value)) for name, value in facts.items() if value)
    columns = (Column(name="what"), Column(name="value", long=True))
    return Table(id="made-of", caption="What the run is made of", columns=columns, rows=rows)


def _versions(evidence: Evidence) -> Table:
    rows = tuple((text_cell(name), text_cell(version)) for name, version in sorted(evidence.manifest.versions.items()))
    columns = (Column(name="package"), Column(name="version"))
    return Table(id="versions", caption="Packages at the training", columns=columns, rows=rows)


def _artifacts(evidence: Evidence) -> Table:
    rows = []
    for one in evidence.shipped:
        manifest = one.manifest
        files = "\n".join(f"{digest[:16]}…  {name}" for name, digest in sorted(manifest.sha256.items()))
        types = ", ".join(f"{name}: {count}" for name, count in sorted(manifest.tensor_types.items()))
        rows.append(
            (
                text_cell(one.label),
                text_cell(f"{manifest.format}, {manifest.precision}, {manifest.weights}"),
                Cell(text=megabytes(one.size_bytes), value=one.size_bytes / 1e6),
                number_cell(float(manifest.context_length), shown=str(manifest.context_length)),
                text_cell(types),
                text_cell(manifest.licence or "not stated"),
                text_cell(files),
            )
        )
    columns = (
        Column(name="artifact"),
        Column(name="form"),
        Column(name="size"),
        Column(name="context", unit="tokens"),
        Column(name="tensors"),
        Column(name="licence"),
        Column(name="files, SHA-256", long=True),
    )
    return Table(id="artifacts", caption="Artifacts", columns=columns, rows=tuple(rows))


def _machines(benches: list[BenchReport]) -> Table:
    rows = []
    for bench in benches:
        machine = bench.environment
        limit = f", cgroup limit {machine.cgroup_cpus:g}" if machine.cgroup_cpus else ""
        memory = f"{machine.memory_bytes / 1e9:.1f} GB" if machine.memory_bytes else "unknown"
        virtual = {True: "virtual", False: "not virtual", None: "unknown whether virtual"}[machine.virtual]
        rows.append(
            (
                text_cell(bench.subject.name),
                text_cell(f"{machine.cpu} ({machine.architecture}), {virtual}"),
                text_cell(f"{machine.usable_cpus} of {machine.logical_cpus}{limit}"),
                text_cell(memory),
                text_cell(machine.governor or "not readable"),
                number_cell(machine.load_average, reason="not readable"),
                text_cell(f"{machine.system}\n" + ", ".join(f"{k} {v}" for k, v in sorted(machine.versions.items()))),
                text_cell(bench.created),
            )
        )
    names = ("benchmark of", "processor", "CPUs", "memory", "governor", "load before", "system and versions", "when")
    columns = tuple(Column(name=name, long=name == "system and versions") for name in names)
    return Table(id="machines", caption="Machines of the benchmarks", columns=columns, rows=tuple(rows))
