"""From a run folder to its report."""

from __future__ import annotations

from pathlib import Path

from edgetune import __version__, console
from edgetune.report.choosing import choose
from edgetune.report.evidence import Evidence, read_evidence
from edgetune.report.missing import missing
from edgetune.report.overview import overview
from edgetune.report.quality import Quality
from edgetune.report.record import Report, Section
from edgetune.report.sections.decisions import ladder_section, merge_section
from edgetune.report.sections.devices import devices_section
from edgetune.report.sections.environment import environment_section
from edgetune.report.sections.forgetting import forgetting_section
from edgetune.report.sections.latency import latency_section
from edgetune.report.sections.memory import memory_section
from edgetune.report.sections.misses import misses_section
from edgetune.report.sections.sweeps import sweeps_section
from edgetune.report.sections.targets import targets_section
from edgetune.report.sections.task import task_section
from edgetune.report.sections.tradeoffs import tradeoffs_section
from edgetune.report.sections.training import training_section
from edgetune.report.sections.verification import verification_section


def build(folder: Path) -> Report:
    """Everything stored about a run, and what to do. The same evidence gives the same report.

    Raises:
        EdgetuneError: ``folder`` is not a run, or its manifest or recipe is damaged.
    """
    return report_of(read_evidence(folder))


def report_of(evidence: Evidence) -> Report:
    """What the evidence says."""
    quality = Quality(evidence)
    with console.progress("Making intervals on the rows that all have"):
        recommendation = choose(evidence, quality)
        sections = _sections(evidence, quality, recommendation.artifact)
    return Report(
        run=evidence.run.folder.resolve().name,
        title=evidence.recipe.name,
        description=evidence.recipe.description,
        evidence_until=evidence.until,
        edgetune=__version__,
        recommendation=recommendation,
        overview=overview(evidence, quality, recommendation),
        sections=sections,
        missing=missing(evidence, recommendation.artifact),
        warnings=evidence.remarks,
    )


def _sections(evidence: Evidence, quality: Quality, chosen: str | None) -> tuple[Section, ...]:
    """In reading order; those without data are None and left out."""
    found = (
        task_section(evidence, quality),
        tradeoffs_section(evidence, quality),
        latency_section(evidence),
        memory_section(evidence),
        sweeps_section(evidence),
        targets_section(evidence),
        devices_section(evidence),
        verification_section(evidence),
        misses_section(evidence, chosen),
        forgetting_section(evidence),
        training_section(evidence),
        merge_section(evidence),
        ladder_section(evidence),
        environment_section(evidence),
    )
    return tuple(section for section in found if section)
