"""The command line: parse, call, print. What it prints about a mistake is one line, and the exit code is 2."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LOST = 75
"""Exit code of a worker that another one left alone (EX_TEMPFAIL: start it again)."""
CONFIG_SUFFIXES = (".yaml", ".yml")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code: 0 done, 1 failed, 2 a mistake in what was given, 75 another worker is gone, 130
    interrupted, 143 terminated.
    """
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    overrides = [item for item in rest if "=" in item and not item.startswith("-") and hasattr(arguments, "overrides")]
    if len(overrides) < len(rest):  # argparse loses positional arguments that stand behind options; only those are taken
        parser.error(f"unrecognized arguments: {' '.join(item for item in rest if item not in overrides)}")
    if overrides:
        arguments.overrides = [*arguments.overrides, *overrides]
    if arguments.verbose:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
    from tfl.config import UserError

    try:
        code: int | None = arguments.call(arguments)
        return code or 0
    except UserError as error:
        print(f"tfl: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tfl: interrupted", file=sys.stderr)
        return 130
    except RuntimeError as error:
        if type(error).__name__ != "WorkerLost":
            raise
        print(f"tfl: {error}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(LOST)  # TensorFlow would wait for the other worker while it shuts down
    except BrokenPipeError:  # `tfl list backbones | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a disk that is full, a folder that may not be written
        print(f"tfl: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tfl", description="The transfer-learning workbench for Keras 3 on TensorFlow.")
    parser.add_argument("-v", "--verbose", action="store_true", help="show TensorFlow's own log")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    train = _command(commands, "train", _train, "train on a config, a folder of images or a table of texts")
    _add_job(train)
    train.add_argument("--out", metavar="DIR", help="directory of the run (default: a new one below runs/)")
    train.add_argument("--resume", action="store_true", help="go on with the unfinished run in DIR, or the last below runs/")
    train.add_argument("--export", metavar="DIR", help="also export a SavedModel there")

    check = _command(commands, "check", _check, "everything but training: data, weights, what would train, time, memory")
    _add_job(check)

    sweep = _command(commands, "sweep", _sweep, "try values of keys (KEY=A,B or KEY=LOW..HIGH) and keep the best")
    _add_job(sweep)
    sweep.add_argument("--trials", type=int, default=20, metavar="N", help="sets of values to try (default: 20)")
    sweep.add_argument(
        "--out", metavar="DIR", help="directory of the sweep, new or to go on with (default: a new one in runs/)"
    )
    sweep.add_argument("--no-best", action="store_true", help="do not run the best config as an ordinary run into DIR/best")
    sweep.epilog = (
        "task.dropout=0,0.2 tries values, phases.0.learning_rate=1e-4..1e-2 a range (by its logarithm where it is wide); what "
        "stands in brackets or quotes is one value. Every combination is tried where there are no more than N, else Optuna "
        "proposes. Trials are compared on the validation split; the test split is used by the run in DIR/best alone. The same "
        "command on the same DIR goes on where it was interrupted."
    )

    evaluate = _command(commands, "evaluate", _evaluate, "evaluate a run, on its own test split or on other data")
    evaluate.add_argument("run", metavar="RUN")
    evaluate.add_argument("source", nargs="?", metavar="SOURCE", help="labelled data (default: the run's test split)")
    evaluate.add_argument("--label", metavar="COLUMN", help="column of labels in SOURCE (default: the run's)")
    evaluate.add_argument("--text", metavar="COLUMN", help="column of texts in SOURCE (default: the run's)")
    evaluate.add_argument("--text-pair", metavar="COLUMN", help="column of second texts, for a run that reads pairs")

    predict = _command(commands, "predict", _predict, "predict images, texts or the rows of tables")
    predict.add_argument("run", metavar="RUN")
    predict.add_argument(
        "files", nargs="+", metavar="FILE", help="images or folders of them; tables; .txt files, a text a line"
    )
    predict.add_argument("--text", metavar="COLUMN", help="column of texts in a table (default: the run's)")
    predict.add_argument("--text-pair", metavar="COLUMN", help="column of second texts, for a run that reads pairs")
    predict.add_argument("--image", metavar="COLUMN", help="column of image paths in a table (default: the run's)")
    predict.add_argument("--out", metavar="CSV", help="where to write the predictions (default: the terminal)")

    export = _command(commands, "export", _export, "export a run as a SavedModel, certified to predict what was evaluated")
    export.add_argument("run", metavar="RUN")
    export.add_argument("--out", metavar="DIR", help="of the bundle, new or to add a version to (default: RUN/export)")
    export.add_argument("--name", metavar="MODEL", help="of the model (default: from source and backbone)")

    verify = _command(commands, "verify", _verify, "ask an export again for all that was evaluated, and compare")
    verify.add_argument("export", metavar="EXPORT", help="a bundle, a model in it, or a version")

    serve = _command(commands, "serve", _serve, "answer over HTTP as TensorFlow Serving does, with a page to try the models")
    serve.add_argument("export", metavar="EXPORT", help="a bundle; new versions in it are taken up while it serves")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone, 127.0.0.1)")
    serve.add_argument("--port", type=int, default=8501, help="0: any that is free (default: 8501)")
    serve.add_argument("--batch", type=int, default=32, metavar="N", help="rows computed together; 1: none (default: 32)")
    serve.add_argument("--delay", type=float, default=2.0, metavar="MS", help="that a row waits for others (default: 2)")

    _add_cache(commands)

    launch = _command(commands, "launch", _launch, "start several workers on this machine that train together, for trying it")
    launch.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default: 2)")
    launch.add_argument("--logs", metavar="DIR", help="where each one's output goes (default: a new folder in runs/)")
    launch.add_argument("command", nargs=argparse.REMAINDER, metavar="-- train …", help="the command of each; it needs --out")

    listing = _command(commands, "list", _list, "list what there is")
    listing.add_argument("what", choices=("backbones", "sources", "presets"))
    return parser


def _add_cache(commands: Any) -> None:
    cache = _command(commands, "cache", _cache, "the store of frozen features: what is in it, whether it is whole; clear it")
    cache.add_argument("what", choices=("list", "info", "verify", "clear"))
    cache.add_argument("keys", nargs="*", metavar="KEY", help="entries, by the beginnings of their keys (clear: or --all)")
    cache.add_argument("--all", action="store_true", help="with clear: every entry")
    cache.add_argument("--directory", metavar="DIR", help="of the store (default: TFL_CACHE, or the user's cache folder)")


def _command(commands: Any, name: str, call: Any, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    command.set_defaults(call=call)
    command.add_argument("-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return command


def _add_job(command: argparse.ArgumentParser) -> None:
    """What says which job: a config or a source, shortcuts for its most used keys, and overrides."""
    command.add_argument("job", nargs="?", metavar="CONFIG|SOURCE", help="a .yaml config; or a folder, table, .npz, …")
    command.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as phases.1.learning_rate=3e-6")
    command.add_argument("--config", metavar="YAML", help="the config, named by an option")
    command.add_argument("--backbone", metavar="NAME", help="backbone.name; `tfl list backbones`")
    command.add_argument("--weights", metavar="WHERE", help="backbone.weights: a file, folder, package://…, hf://… or none")
    command.add_argument("--text", metavar="COLUMN", help="data.text: the column of texts")
    command.add_argument("--text-pair", metavar="COLUMN", help="data.text_pair: the column of second texts")
    command.add_argument("--label", metavar="COLUMN", help="data.label: the column of labels")
    command.add_argument("--seed", type=int, help="seed of splits, order, augmentation and the head")


def _job(arguments: argparse.Namespace) -> Any:
    """The validated config of a `train` or `check` command."""
    from tfl.config import override
    from tfl.jobs import config_of

    return config_of(override(*_raw(arguments)))


def _raw(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """The raw config of a command, with what options say, and the overrides to it."""
    from tfl import config as configs
    from tfl.jobs import raw_of_source

    job, overrides = arguments.job, list(arguments.overrides)
    if arguments.config is not None:
        overrides, job = [*([job] if job else []), *overrides], arguments.config
    if job is None:
        raise configs.UserError("name a .yaml config, a folder of images or a table of texts; `tfl train --help`")
    raw = configs.read(job) if str(job).endswith(CONFIG_SUFFIXES) else raw_of_source(job)
    shortcuts = {
        "backbone.name": arguments.backbone,
        "backbone.weights": arguments.weights,
        "data.text": arguments.text,
        "data.text_pair": arguments.text_pair,
        "data.label": arguments.label,
        "seed": arguments.seed,
    }
    return configs.assign(raw, {key: value for key, value in shortcuts.items() if value is not None}), overrides


def _train(arguments: argparse.Namespace) -> int:
    config = _job(arguments)
    from tfl.jobs import check_folder, unfinished

    out = unfinished(config, arguments.out) if arguments.resume else arguments.out
    check_folder("--out", out or "runs")
    export = Path(arguments.export) if arguments.export else None
    if export is not None:
        from tfl.serving import bundle

        check_folder("--export", export)
        bundle.check(export)
        if out and export.absolute() in (Path(out).absolute(), *Path(out).absolute().parents):
            from tfl.config import UserError

            raise UserError(f"--export: {export} would hold the run, and an export needs a folder of its own; name another")
    from tfl import distribute
    from tfl.methods import METHODS
    from tfl.report import summary
    from tfl.terminal import console

    run = METHODS[config.method].run(config, out)
    console().print(summary(run.report))
    print(f"run: {run.directory}")
    if export is not None and distribute.workers(distribute.strategy(config.distribute)).is_chief:
        print(f"export: {run.export(export)}")
    return 130 if any(phase.stopped == "interrupted" for phase in run.report.phases) else 0


def _launch(arguments: argparse.Namespace) -> int:
    import datetime

    from tfl.config import UserError
    from tfl.launch import launch

    command = [word for place, word in enumerate(arguments.command) if word != "--" or place]
    if arguments.workers < 1:
        raise UserError(f"--workers: {arguments.workers} is not valid; at least 1")
    if not command or command[0] != "train":
        raise UserError(
            f"launch: {' '.join(command) or 'nothing'} is not valid; write tfl launch --workers 2 -- train CONFIG …"
        )
    logs = arguments.logs or Path("runs") / f"launch-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    return launch(command, arguments.workers, Path(logs))


def _check(arguments: argparse.Namespace) -> None:
    config = _job(arguments)
    from tfl.studies.check import check
    from tfl.terminal import console

    console().print(check(config))


def _sweep(arguments: argparse.Namespace) -> int:
    from tfl.config import UserError, override
    from tfl.jobs import check_folder, config_of
    from tfl.studies import space

    raw, overrides = _raw(arguments)
    dimensions, plain = space.parse(overrides)
    if arguments.trials < 1:
        raise UserError(f"--trials: {arguments.trials} is not valid; at least 1")
    check_folder("--out", arguments.out or "runs")
    raw = override(raw, plain)
    space.check(raw, dimensions, config_of)
    from tfl.report import summary
    from tfl.studies.sweep import BEST, RESULT, run_best, sweep, table
    from tfl.terminal import console

    done = sweep(raw, dimensions, config_of, trials=arguments.trials, out=arguments.out)
    console().print(table(done))
    if done.interrupted:
        print(f"interrupted; the same command with --out {done.folder} goes on")
        return 130
    if not done.ranked:
        print(f"tfl: every trial failed; {done.folder / RESULT} says why", file=sys.stderr)
        return 1
    print(f"best: {done.folder / BEST}")
    if arguments.no_best:
        return 0
    run = run_best(done, config_of)
    console().print(summary(run.report))
    print(f"run: {run.directory}")
    return 130 if any(phase.stopped == "interrupted" for phase in run.report.phases) else 0


def _evaluate(arguments: argparse.Namespace) -> None:
    import tfl

    run = tfl.load(arguments.run)
    columns = ("text", "text_pair", "label")
    fields = {name: value for name in columns if (value := getattr(arguments, name)) is not None}
    metrics = run.evaluate(arguments.source, **fields)
    from tfl.report import metrics_table
    from tfl.terminal import console

    console().print(metrics_table(metrics))
    skipped = metrics.get("unreadable", [])
    for bad in skipped[:5]:
        print(f"skipped {bad['id']}: {bad['reason']}")
    if len(skipped) > 5:
        print(f"… and {len(skipped) - 5} more that could not be read")


def _predict(arguments: argparse.Namespace) -> None:
    import tfl
    from tfl.jobs import check_file, inputs_of_files

    run = tfl.load(arguments.run)
    if arguments.out is not None:
        check_file("--out", arguments.out)
    columns = {"text": arguments.text, "text_pair": arguments.text_pair, "image": arguments.image}
    result = run.predict(inputs_of_files(run, arguments.files, columns))
    if arguments.out is None:
        result.to_csv(sys.stdout, index=False)
    else:
        Path(arguments.out).parent.mkdir(parents=True, exist_ok=True)
        result.to_csv(arguments.out, index=False)
        print(f"{len(result)} predictions: {arguments.out}")


def _export(arguments: argparse.Namespace) -> None:
    import tfl
    from tfl.jobs import check_folder

    run = tfl.load(arguments.run)
    from tfl.serving import bundle

    folder = Path(arguments.out or run.directory / "export")
    check_folder("--out", folder)
    bundle.check(folder, arguments.name)
    version, certified = bundle.write(run, folder, arguments.name)
    print(certified.told())
    print(version)


def _verify(arguments: argparse.Namespace) -> int:
    from tfl.serving import bundle, certificate

    passed = True
    for version in bundle.chosen(Path(arguments.export)):
        found = certificate.verify(version)
        print(f"{version}: {found.told()}")
        passed = passed and found.passed
    return 0 if passed else 1


def _serve(arguments: argparse.Namespace) -> None:
    from tfl.config import UserError
    from tfl.serving.serve import serve

    if arguments.batch < 1 or arguments.delay < 0 or not 0 <= arguments.port <= 65535:
        raise UserError("serve: --batch is at least 1, --delay at least 0, and --port from 0 to 65535")
    serve(
        Path(arguments.export),
        host=arguments.host,
        port=arguments.port,
        batch=arguments.batch,
        delay=arguments.delay / 1000,
        token=os.environ.get("TFL_SERVE_TOKEN") or None,
    )


def _cache(arguments: argparse.Namespace) -> int:
    from tfl.config import UserError
    from tfl.features import shown
    from tfl.features.store import Store
    from tfl.terminal import console

    store = Store(Path(arguments.directory).expanduser() if arguments.directory else None)
    if arguments.all and arguments.what != "clear":
        raise UserError("--all: it goes with clear")
    if arguments.what == "clear" and arguments.all == bool(arguments.keys):
        raise UserError("clear: name the keys of the entries to remove (`tfl cache list`), or --all")
    chosen = store.named(arguments.keys) if arguments.keys else store.infos()
    if arguments.what == "clear":
        return shown.clear(store, chosen)
    if arguments.what == "verify":
        return shown.verify(store, chosen)
    console().print(shown.listed(store, chosen) if arguments.what == "list" else shown.described(store, chosen))
    return 0


def _list(arguments: argparse.Namespace) -> None:
    from tfl.jobs import listing

    for name, text in listing(arguments.what).items():
        print(f"{name:<28} {text}")


if __name__ == "__main__":
    sys.exit(main())
