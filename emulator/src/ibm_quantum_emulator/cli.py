"""Command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from . import __version__
from .cli_faults import faults_app, requests
from .cli_world import world_app
from .config import BackendSpec, InstanceSpec, ServerConfig, default_data_dir, snapshots
from .faultplan import read_plan
from .snapshot import Snapshot
from .worldcheck import option, read_fitting
from .worldfile import World

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Quantum cloud API emulator.")
app.add_typer(faults_app, name="faults")
app.add_typer(world_app, name="world")
app.command()(requests)


@app.callback()
def _root() -> None:
    """An unofficial loopback emulator of a quantum cloud's REST API."""


@app.command()
def serve(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 0,
    data: Annotated[Path | None, typer.Option(help="Directory of everything kept.")] = None,
    backend: Annotated[
        list[str] | None, typer.Option(help="NAME or NAME=SNAPSHOT; may be repeated.")
    ] = None,
    instance: Annotated[
        list[str] | None, typer.Option(help="NAME[:PLAN[:REGION]]; may be repeated.")
    ] = None,
    queue_length: Annotated[int, typer.Option(help="Other people's jobs in the queue.")] = 0,
    seconds_per_job: Annotated[float, typer.Option(help="Virtual seconds for each.")] = 60.0,
    slots: Annotated[int, typer.Option(help="Own jobs that run at the same time.")] = 1,
    rate: Annotated[float, typer.Option(help="Virtual seconds per real second.")] = 1.0,
    stepped: Annotated[bool, typer.Option(help="Time moves only by the control API.")] = False,
    clock_url: Annotated[
        str | None, typer.Option(help='Follow this clock: GET answers {"now": <epoch seconds>}.')
    ] = None,
    noise: Annotated[str, typer.Option(help="none, readout or full.")] = "readout",
    seed: Annotated[int, typer.Option(help="Seed of all randomness in results.")] = 0,
    workers: Annotated[int, typer.Option(help="Most simulator processes.")] = 2,
    simulators: Annotated[
        Path | None,
        typer.Option(
            envvar="IBM_QUANTUM_EMULATOR_SIMULATORS",
            help="Socket of `simulators`; without it the emulator starts processes of its own.",
        ),
    ] = None,
    max_active_qubits: Annotated[int, typer.Option(help="Limit without gate noise.")] = 20,
    max_active_qubits_full: Annotated[int, typer.Option(help="Limit with noise full.")] = 16,
    simulation_timeout: Annotated[float, typer.Option(help="Real seconds per job.")] = 300.0,
    overhead_seconds: Annotated[float, typer.Option(help="Machine time of an empty job.")] = 2.0,
    seconds_per_shot: Annotated[float, typer.Option(help="Machine time per shot.")] = 0.00026,
    usage_allocation_seconds: Annotated[int, typer.Option(help="The instance's limit.")] = 36000,
    faults: Annotated[Path | None, typer.Option(help="Fault plan, TOML or JSON.")] = None,
    world: Annotated[
        Path | None, typer.Option(help="World around the account, TOML or JSON.")
    ] = None,
    reset_settings: Annotated[
        bool, typer.Option(help="Prefer these settings to those kept in the data directory.")
    ] = False,
    exit_with_parent: Annotated[bool, typer.Option(help="Stop when the parent ends.")] = False,
    ready_file: Annotated[Path | None, typer.Option(help="Gets {url, pid} when ready.")] = None,
) -> None:
    """Serve until interrupted. Prints one line with the address."""
    # Help and bad options need not wait for the server's imports.
    from .server import serve as run

    try:
        instances = [InstanceSpec.parse(text) for text in instance or ["emulator"]]
        around = _world(world, backend, [spec.name for spec in instances])
        config = ServerConfig.model_validate(
            {
                "host": host,
                "port": port,
                "data": data or default_data_dir(),
                "backends": [BackendSpec.parse(text) for text in _backends(backend, around)],
                "instances": instances,
                "queue_length": queue_length,
                "seconds_per_job": seconds_per_job,
                "slots": slots,
                "rate": rate,
                "stepped": stepped,
                "clock_url": clock_url,
                "noise": noise,
                "seed": seed,
                "workers": workers,
                "simulators": simulators,
                "max_active_qubits": max_active_qubits,
                "max_active_qubits_full": max_active_qubits_full,
                "simulation_timeout": simulation_timeout,
                "overhead_seconds": overhead_seconds,
                "seconds_per_shot": seconds_per_shot,
                "usage_allocation_seconds": usage_allocation_seconds,
                "faults": read_plan(faults) if faults else None,
                "world": around,
                "reset_settings": reset_settings,
                "exit_with_parent": exit_with_parent,
                "ready_file": ready_file,
            }
        )
    except (ValidationError, ValueError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    try:
        run(config, lambda url: typer.echo(f"quantum API emulator at {url}"))
    except OSError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def _world(path: Path | None, given: list[str] | None, instances: list[str]) -> World | None:
    if path is None:
        return None
    specs = [BackendSpec.parse(text) for text in given or []]
    return read_fitting(path, {spec.name: Snapshot(spec) for spec in specs}, instances)


def _backends(given: list[str] | None, world: World | None) -> list[str]:
    """Return the backends to serve: those of the options and those of the world document."""
    texts = {text.partition("=")[0]: text for text in given or []}
    for told in world.backends if world else []:
        texts.setdefault(told.name, option(told))
    return list(texts.values()) or ["ibm_torino"]


@app.command("backends")
def list_backends() -> None:
    """Print the calibration snapshots that a backend can be made of."""
    for name in snapshots():
        typer.echo(name)


@app.command()
def simulators(
    path: Annotated[Path, typer.Argument(help="Unix socket to listen at.")],
    *,
    exit_with_parent: Annotated[bool, typer.Option(help="Stop when the parent ends.")] = False,
) -> None:
    """Keep simulators ready for emulators on this machine, none of which then imports Qiskit.

    Emulators find them by `--simulators PATH` or IBM_QUANTUM_EMULATOR_SIMULATORS.
    """
    from .pool import ONE_THREAD
    from .worker import serve as run

    # Libraries look when they are imported.
    os.environ.update(ONE_THREAD)
    run(path, exit_with_parent=exit_with_parent)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
