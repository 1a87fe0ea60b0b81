"""What a deployment does regularly, as its settings say."""

from __future__ import annotations

from temporalio.client import Client

from activities.scheduling import Regular, Schedules
from activities.sweeping import Sweeping
from adapters.folders import SharedFiles
from adapters.temporal_references import TemporalReferences
from composition.parts import Parts
from qsaga.core.operations import Reconcile, Retain, Sweep
from qsaga.settings import Settings


def schedules(parts: Parts) -> Schedules:
    """The schedules of the deployment."""
    settings = parts.settings
    return Schedules(settings.deployment, settings.temporal.task_queue, parts.seals)


def sweeping(parts: Parts) -> Sweeping:
    """The files of the deployment."""
    settings = parts.settings

    def references(client: Client) -> TemporalReferences:
        return TemporalReferences(client, settings.temporal.task_queue)

    return Sweeping(
        parts.records,
        SharedFiles("artefacts", settings.data_dir / "artefacts"),
        SharedFiles("payloads", settings.data_dir / "payloads"),
        SharedFiles("incumbents", settings.data_dir / "incumbents"),
        references,
        SharedFiles("cache entries", settings.data_dir / "cache"),
    )


def regular(settings: Settings) -> tuple[Regular, ...]:
    """What is to be done how often."""
    said = settings.reconcile
    return (
        Regular(Reconcile(repair=True, days=said.days), said.every, said.jitter),
        Regular(Retain(), said.retain_every, said.jitter),
        Regular(Sweep(days=said.sweep_days, delete=True), said.sweep_every, said.jitter),
    )
