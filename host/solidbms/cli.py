"""The command line. Exit status: 0 as expected, 1 otherwise, 2 bad input (one line a problem)."""

from __future__ import annotations

import solidbms.stop  # noqa: F401 - first: for Ctrl-C meanwhile

# isort: split
import csv
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from solidbms import __version__
from solidbms.schema import PLACEHOLDERS, BadInput

IMAGE = "SOLIDBMS_UF2"


class _Group(click.Group):
    """Turns BadInput into its lines on stderr and exit status 2, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BadInput as error:
            click.echo(str(error), err=True)
            ctx.exit(2)
        except click.UsageError as error:
            name = error.ctx.command_path if error.ctx else ctx.command_path
            click.echo(f"{error.format_message()} See {name} --help", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
            ctx.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Battery management firmware, run and measured on this machine."""


TARGET = click.option(
    "--target", type=click.Choice(["cpython", "unix", "emu"]), help="Where the firmware runs."
)
UF2 = click.option(
    "--uf2", type=click.Path(path_type=Path), envvar=IMAGE,
    help=f"MicroPython image for target emu; or name it in {IMAGE}.",
)
class _Place(click.Path):
    """A path to write to: an empty one would be the directory that one happens to be in."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if value == "":
            self.fail("a path is valid, not ''", param, ctx)
        return super().convert(value, param, ctx)


PLACE = _Place(path_type=Path)
OUT = click.option("--out", type=PLACE, help="Directory for the results.")
SEED = click.option("--seed", type=click.IntRange(min=0), default=0, help="Of noise faults.")


@main.command()
@click.argument("scenario")
@TARGET
@UF2
@OUT
@SEED
@click.option("--live", is_flag=True, help="One live line even where output is not a terminal.")
@click.option(
    "--link", type=click.FloatRange(0, 1e6, min_open=True), is_flag=False, flag_value=1.0,
    metavar="[FACTOR]", help="Serve `monitor` and Battery meanwhile, in real time times FACTOR.",
)
def run(
    scenario: str, target: str | None, uf2: Path | None, out: Path | None, seed: int, live: bool,
    link: float | None,
) -> None:
    """Run SCENARIO, a name from hil/scenarios or a TOML file."""
    from solidbms.jobs import scenario_job

    job = scenario_job(scenario, seed)
    _execute(job, target, out or Path("build") / job.name, live, link, uf2)


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--cell", required=True, help="Cell that was measured.")
@click.option("--pack", default="bench_1s", show_default=True)
@click.option("--from-soc", type=float, help="Begin where the reference falls below this, %.")
@click.option("--start-soc", type=float, help="SoC the firmware believes at boot, %.")
@click.option("--start-bound-pct", type=float, help="Bound of that SoC, %.")
@click.option("--gain-pct", type=float, default=0.0, help="Gain error of the current sensor.")
@click.option("--offset-ma", type=float, default=0.0, help="Offset of the current sensor.")
@click.option("--temp-offset-c", type=float, default=0.0)
@click.option("--capacity-pct", type=float, default=0.0, help="Error of the believed capacity.")
@click.option("--noise-mv", type=float, default=0.0, help="Voltage noise, 1 sigma.")
@click.option("--adc-bits", type=click.IntRange(8, 24), help="Of 0 to 5 V and +-40 A.")
@click.option("--temp-step-c", type=float, default=0.0, help="Resolution of the thermometer.")
@click.option("--temp-c", type=float, help="Temperature where the file has none.")
@click.option("--discharge-positive", is_flag=True, help="The file counts discharge positive.")
@click.option("--columns", help="Names in the file: t_s=Time,i_A=Current,v_V=Voltage,...")
@SEED
@TARGET
@UF2
@click.option("--out", type=PLACE, required=True)
def replay(
    file: Path, target: str | None, uf2: Path | None, out: Path, **options: Any
) -> None:
    """Replay a measured cell (FILE.csv or .csv.gz) through the firmware, scored by the cycler."""
    from solidbms.replay import Options, replay_job
    from solidbms.run import OUTPUTS, UNFINISHED

    places = (out.resolve(), out.resolve() / UNFINISHED)
    if file.name in OUTPUTS and file.resolve().parent in places:
        raise BadInput(f"{out}: --out: {file.name} would be overwritten; another one is valid")
    _execute(replay_job(file, Options(**options)), target, out, live=False, uf2=uf2)


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", required=True, metavar="CELL", help="Name of the cell, for packs to use.")
@click.option("--out", type=PLACE, required=True, metavar="CELL.toml")
@click.option("--temp-c", type=float, help="Temperature of the files that have no column of it.")
@click.option("--discharge-positive", is_flag=True, help="Where a file does not show by itself.")
@click.option("--columns", help="Names in the files: t_s=Time,i_A=Current,v_V=Voltage,...")
def identify(
    files: tuple[Path, ...], name: str, out: Path, temp_c: float | None,
    discharge_positive: bool, columns: str | None,
) -> None:
    """Make a cell file from measurements: slow tests, and pulses or drives from full on.

    Beside it, CELL.html shows the fit against the data. docs/identify.md says what to measure.
    """
    from solidbms.identify.command import run as make
    from solidbms.identify.reading import Options

    make(list(files), name, out, Options(columns, discharge_positive, temp_c), click.echo)


@main.command()
@click.argument("pack")
def explain(pack: str) -> None:
    """Show a pack's ledger, its time contract, and every error."""
    from solidbms.explain import explain as text

    lines, ok = text(pack)
    click.echo(lines)
    if not ok:
        sys.exit(2)


@main.command()
@click.argument("pack")
@click.option("--out", type=PLACE, help="Directory for campaign.json.")
@click.option("--quick", is_flag=True, help="One condition and seed a fault, one short shift.")
@click.option("--jobs", type=click.IntRange(1, 256), default=os.cpu_count(), help="Processes.")
def campaign(pack: str, out: Path | None, quick: bool, jobs: int) -> None:
    """Try every single fault on PACK, its rules, and shifts without a fault.

    Writes OUT/campaign.json; Ctrl-C keeps what was done. `python -m solidbms.safety` makes
    docs/safety.md of it.
    """
    from solidbms.campaign import command

    out = out or Path("build") / f"campaign_{pack}"
    with _progress(False) as progress:
        found = command.campaign(
            pack, out, quick, jobs, lambda n, of, line: progress(n / of, f"{n} of {of}: {line}")
        )
    for line in (*found["wrong"], *(f"not told in time: {x}" for x in command.missed(found))):
        click.echo(line)
    shifts = found["shifts"]
    click.echo(f"{pack}: {len(found['runs'])} runs{'' if found['whole'] else ', interrupted'}; "
               f"{shifts['hours']:g} h without a fault, trips: "
               f"{', '.join(shifts['trips']) or 'none'}")  # fmt: skip
    click.echo(f"results: {out / command.FILE}")
    if not found["whole"] or found["wrong"] or command.missed(found) or shifts["trips"]:
        sys.exit(1)


@main.command()
@click.argument("dir_a", type=click.Path(path_type=Path))
@click.argument("dir_b", type=click.Path(path_type=Path))
@click.option("--free", is_flag=True, help="Each kept its own time: agree within one tick.")
def compare(dir_a: Path, dir_b: Path, free: bool) -> None:
    """Find the first tick and field in which two runs differ."""
    from solidbms.compare import compare as first
    from solidbms.compare import compare_free

    if free:
        differs, steps, worst_ms = compare_free(dir_a, dir_b)
        if differs is None:
            click.echo(f"the same {steps} steps, at most {worst_ms} ms apart")
            return
        click.echo(differs)
        sys.exit(1)
    difference, ticks = first(dir_a, dir_b)
    if difference is None:
        click.echo(f"identical: {ticks} ticks")
        return
    click.echo(str(difference))
    sys.exit(1)


@main.command()
@click.argument("directory", type=click.Path(path_type=Path))
def report(directory: Path) -> None:
    """Write DIRECTORY/report.html again from its CSV and JSON files."""
    from solidbms.report import write_report
    from solidbms.rundir import check_run

    for name in ("trace.csv", "events.csv", "summary.json"):
        if not (directory / name).is_file():
            raise BadInput(f"{directory / name}: missing; the directory of a run is valid")
    try:
        check_run(directory)
        click.echo(str(write_report(directory)))
    except UnicodeDecodeError:
        raise BadInput(f"{directory}: no text; what a run wrote is valid") from None
    except (ValueError, csv.Error) as error:
        raise BadInput(str(error)) from None
    except OSError as error:
        where = error.filename or directory
        raise BadInput(f"{where}: {error.strerror}; a place you can write to is valid") from None


@main.command()
@click.argument("place", required=False)
def monitor(place: str | None) -> None:
    """Watch a pack on PLACE: a port, or the directory of a running simulation (`run --link`).

    Without PLACE: the only board on USB. Leaving it changes nothing on the pack.
    """
    from solidbms.link.places import LinkError, open_wire

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise BadInput("monitor: a terminal is valid, not a pipe or a file")
    if place is None:
        from solidbms.image import find_board
        from solidbms.mpboard import Finder

        place = Finder(find_board("pico")[0], None, None)()
    try:
        open_wire(place).close()
    except LinkError as error:
        raise BadInput(str(error)) from None
    from solidbms.monitor import Monitor

    Monitor(place).run()


@main.command()
@click.option("--board", default="pico", show_default=True, help="A folder in boards/, or yours.")
@click.option("--pack", default="demo", show_default=True)
@click.option("--port", help="Which port, where several boards are connected.")
@click.option("--serial", help="Which board, by its USB serial number.")
@click.option("--rig", is_flag=True, help="With fault injection: never on a pack in use.")
def flash(board: str, pack: str, port: str | None, serial: str | None, rig: bool) -> None:
    """Write firmware and pack onto a board's idle slot, switch over, print its boot report."""
    from solidbms.flash import flash as write

    sys.exit(write(board, pack, port, serial, rig, click.echo))


def _execute(
    job: Any, target: str | None, out: Path, live: bool, link: float | None = None,
    uf2: Path | None = None,
) -> None:
    from solidbms import run as runs
    from solidbms.targets import TARGETS, default, unix

    chosen = target or default()
    if chosen == "unix" and unix.interpreter() is None:
        click.echo(
            "WARNING: no MicroPython for this machine: running on cpython, which proves the logic "
            "but not the language", err=True,
        )  # fmt: skip
        chosen = "cpython"
    assert chosen in TARGETS
    if uf2 is not None:
        os.environ[IMAGE] = str(uf2)
    if chosen == "emu":
        from solidbms.targets import emu

        if why := emu.missing():
            raise BadInput(why)
    if job.warning:
        click.echo(f"WARNING: {job.warning}", err=True)
    with _progress(live) as progress:
        summary = runs.execute(job, chosen, out, progress, link)
    beside = out / runs.UNFINISHED
    _verdict(summary, beside if beside.is_dir() else out)


@contextmanager
def _progress(live: bool) -> Iterator[Callable[[float, str], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    console = Console(stderr=True, force_terminal=True if live else None)
    if not console.is_terminal:
        yield lambda share, line: None
        return
    bar = Progress(
        BarColumn(24), TaskProgressColumn(), TextColumn("{task.description}"), console=console,
        transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=1.0)
        yield lambda share, line: bar.update(task, completed=share, description=line)


def _verdict(summary: dict[str, Any], out: Path) -> None:
    times = f"{summary['simulated_s']:.0f} s simulated in {summary['wall_s']:.1f} s"
    click.echo(
        f"{summary['scenario']} on {summary['target']}: {summary['verdict'].upper()}, {times}, "
        f"{summary['ticks']} ticks, hash {summary['hash'] or 'none'}"
    )
    for line in summary["expected"]:
        got = "" if line["ok"] else f", got: {line['got']}"
        click.echo(f"  {'ok  ' if line['ok'] else 'FAIL'} {line['what']}{got}")
    soc = summary["soc"]
    if soc:
        held = "held" if soc["bound_held"] else f"held {soc['bound_held_pct']} % of the time"
        click.echo(
            f"  SoC error: RMSE {soc['rmse_pct']:.2f} %, max {soc['max_pct']:.2f} %; "
            f"bound {held}, at most {soc['bound_max_pct']:.2f} %"
        )
    if summary["placeholders"]:
        click.echo(f"  limits of cell {summary['cell']}: {PLACEHOLDERS}")
    if summary["interrupted"]:
        click.echo("  expectations were not checked")
        click.echo(f"interrupted: what was simulated is kept in {out}")
    click.echo(f"report: {out / 'report.html'}")
    if summary["verdict"] in ("fail", "interrupted"):
        sys.exit(1)
