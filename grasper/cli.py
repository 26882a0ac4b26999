"""The command line: parse, call one function, print. Heavy imports happen inside the commands."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grasper.commands.bits import bits
from grasper.commands.data import data_app, init
from grasper.commands.export import export
from grasper.commands.judge import judge
from grasper.commands.models import app as models_app
from grasper.commands.plan import plan_of_options, read_config
from grasper.commands.runs import runs
from grasper.commands.tune import tune
from grasper.commands.use import rate, recommend, write
from grasper.errors import BudgetSpentError, GrasperError, MissingFileError, explain_system_error
from grasper.methods import BUILT_IN
from grasper.streams import tolerate_broken_streams

if TYPE_CHECKING:
    from grasper.pipeline import Pipeline

app = typer.Typer(
    name="grasper",
    help="Personalized text for people who have almost no history.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigOption = Annotated[
    list[Path] | None,
    typer.Option("-c", "--config", help="YAML file, or a shipped one's name; of several, later ones win. Without it, the run's own."),
]
DataOption = Annotated[Path | None, typer.Option("--data", help="Folder or file with the data (prepare.data).")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="section.key=value, several times; `tasks` is a list of long, title, rating.")]
RunOption = Annotated[str | None, typer.Option("--run", help="Name of the run, a folder below runs/, or a path. Default: the data set's name.")]
MethodsOption = Annotated[
    str | None, typer.Option("--methods", help=f"Comma-separated systems: {', '.join(method.name for method in BUILT_IN)}, or a plugin's.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="At most this many targets.")]
SplitOption = Annotated[str | None, typer.Option("--split", help="dev-a, dev-b, dev or test.")]
BudgetOption = Annotated[
    str | None, typer.Option("--budget", help="Endpoints: the most that may be spent, as 500requests, 200000tokens or 3.50 (needs prices).")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Redo stages that were written by another configuration.")]


INTERRUPTED = 130
"""Exit code after Ctrl-C."""
BUDGET_SPENT = 3
"""Exit code when --budget is spent; the same command with a new one resumes."""


@tolerate_broken_streams
def main() -> None:
    """Entry point: errors meant for the user become one line and exit code 2, Ctrl-C becomes 130."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        code = app(arguments, prog_name="grasper", standalone_mode=False)
        if code == INTERRUPTED:  # how the option parser passes Ctrl-C on
            raise KeyboardInterrupt
        if isinstance(code, int):
            raise SystemExit(code)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted; the same command resumes where it stopped", INTERRUPTED)
    except BudgetSpentError as error:
        _fail(f"stopped: {error}", BUDGET_SPENT)
    except GrasperError as error:
        if debug:
            raise
        _fail(f"error: {error}", 2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # a usage error found by the option parser
            if not error.format_message().strip():  # no command at all: its help has been printed
                raise SystemExit(error.exit_code) from None
            if getattr(error, "option_name", "") == "--plugin":
                _fail("error: --plugin stands before the command: grasper --plugin FILE COMMAND …", error.exit_code)
            _fail(f"error: {error.format_message()} (grasper COMMAND --help lists the options)", error.exit_code)
        if not debug and (explanation := explain_system_error(error)):
            _fail(f"error: {explanation}", 2)
        raise
    finally:
        gc.freeze()  # all that is left ends with the process; a search of it for cycles is slow where torch was imported


def _fail(message: str, code: int) -> None:
    print(" ".join(message.split()), file=sys.stderr)
    raise SystemExit(code)


def _run_stage(stage: str, options: dict[str, Any], overwrite: bool, budget: str | None) -> None:
    from grasper.commands.spending import spending

    pipeline = plan_of_options(**options, only=stage)
    with spending(pipeline, budget, _say):
        pipeline.carry_out(overwrite=overwrite, say=_say)
    _print_result(pipeline, stage)


def _say(line: str) -> None:
    print(line, flush=True)


def _print_result(pipeline: Pipeline, stage: str) -> None:
    """What a finished stage has to tell."""
    from grasper.terminal import print_metrics, print_statistics

    folder = pipeline.run.folder(stage)
    if stage == "prepare":
        print_statistics(folder)
    if stage == "evaluate":
        print_metrics(folder)
        print(f"report: {folder / 'report.html'}")


def _add_stage(name: str, description: str) -> None:
    def command(
        config: ConfigOption = None,
        data: DataOption = None,
        settings: SetOption = None,
        run: RunOption = None,
        methods: MethodsOption = None,
        limit: LimitOption = None,
        split: SplitOption = None,
        overwrite: OverwriteOption = False,
        budget: BudgetOption = None,
    ) -> None:
        options = {"config": config, "data": data, "settings": settings, "run": run, "methods": methods, "limit": limit, "split": split}
        _run_stage(name, options, overwrite, budget)

    app.command(name=name, help=description)(command)


_add_stage("prepare", "Raw files → reviews, items, examples; prints the statistics of the data.")
_add_stage("predict", "Reviews → likely next items: fit the link predictor and write candidates.")
_add_stage("align", "Sample reasoning paths, keep the gold ones, fine-tune the model on them.")
_add_stage("synthesize", "Write the reviews that users would write about their predicted items.")
_add_stage("generate", "Write the target texts from real and synthetic history.")
_add_stage("evaluate", "Score the saved outputs and write the report; needs no model.")


@app.command()
def pipeline(
    config: ConfigOption = None,
    data: DataOption = None,
    settings: SetOption = None,
    run: RunOption = None,
    methods: MethodsOption = None,
    limit: LimitOption = None,
    split: SplitOption = None,
    overwrite: OverwriteOption = False,
    budget: BudgetOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and do nothing.")] = False,
) -> None:
    """Run all stages for the chosen methods; finished ones are skipped, cut-off ones resume."""
    from grasper.commands.spending import foresee, spending

    plan = plan_of_options(config, data, settings, run, methods, limit, split)
    if dry_run:
        is_running = plan.run.is_held()
        for step in plan.steps:
            state = step.state()
            print(f"{step.name:32} {'running' if is_running and state == 'cut off' else state:8} {step.folder}")
        for line in foresee(plan):
            print(line)
        _require_known_model(plan)
        return
    with spending(plan, budget, _say, overwrite=overwrite):
        plan.carry_out(overwrite=overwrite, say=_say)
    if plan.is_for_use:
        print(f"ready to use: {plan.run.root}; prepare.split is none, so nothing is generated or evaluated")
        named, names = quote(str(plan.run.root)), plan.config.methods
        writer = "" if "grasper" in names else f" --method {names[0]}"
        print(f"next: grasper recommend USER --run {named}, grasper write --user USER --item ITEM --run {named}{writer}")
    else:
        _print_result(plan, "evaluate")


def _require_known_model(plan: Pipeline) -> None:
    """A model of the catalogue that must be fetched first is told before work starts; nothing is downloaded."""
    from grasper.models.catalogue import KNOWN, require_known

    model = plan.config.model
    if model.kind == "local" and model.name in KNOWN:
        require_known(model.name)


@app.command()
def show(
    user: Annotated[str, typer.Argument(help="A user id of the data set.")],
    run: Annotated[str | None, typer.Option("--run", help="Name or path of the run. Default: the newest finished one.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Also draw the user's neighbourhood into this SVG file.")] = None,
) -> None:
    """Print a user's history, predicted items, synthetic reviews and texts."""
    from grasper.api import load_run
    from grasper.errors import ConfigError
    from grasper.files import write_text
    from grasper.runs import run_folder
    from grasper.terminal import print_user

    if plot and plot.suffix.lower() != ".svg":
        raise ConfigError(f"--plot {plot}: the drawing is SVG, expected a name that ends in .svg")
    loaded = load_run(run_folder(run) if run else None)
    print_user(loaded, user)
    if plot:
        write_text(plot, loaded.draw_neighbourhood(user))
        print(f"neighbourhood: {plot}")


@app.command()
def doctor(config: ConfigOption = None, data: DataOption = None, settings: SetOption = None) -> None:
    """Check installation, model and data, and say what to do about each problem."""
    from grasper.commands.doctor import print_checks

    overrides = [*(settings or []), *([f"prepare.data={data}"] if data else [])]
    if not print_checks(read_config(config, overrides)):
        raise MissingFileError("some checks failed; each line above says what to do")


app.command()(init)
app.add_typer(data_app, name="data")
app.command()(recommend)
app.command()(write)
app.command()(rate)
app.command()(runs)
app.command()(export)
app.command()(judge)
app.command()(bits)
app.command()(tune)
app.add_typer(models_app, name="models")


def _print_version(is_asked: bool) -> None:
    if is_asked:
        from grasper import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _before(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")] = False,
    plugins: Annotated[
        list[Path] | None, typer.Option("--plugin", help="A Python file that registers methods, metrics, … of your own; may be given several times.")
    ] = None,
) -> None:
    for path in plugins or ():
        from grasper.registry import load_plugin

        load_plugin(path)


if __name__ == "__main__":
    main()
