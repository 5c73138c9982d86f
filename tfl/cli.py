"""The command line: call what was asked for, and print. What it prints about a mistake is one line, and the exit code is 2."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tfl import questions
from tfl.mistyped import as_typed, unknown
from tfl.parser import whole

LOST = 75
"""Exit code of a worker that another one left alone (EX_TEMPFAIL: start it again)."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code: 0 done, 1 failed, 2 a mistake in what was given, 75 another worker is gone, 130
    interrupted, 143 terminated.
    """
    arguments, rest = whole().parse_known_args(argv)
    overrides = [item for item in rest if "=" in item and not item.startswith("-") and hasattr(arguments, "overrides")]
    if overrides:
        arguments.overrides = [*arguments.overrides, *overrides]
    # argparse loses positional arguments that stand behind options; only those are taken
    lost = [item for item in rest if item not in overrides]
    if arguments.command == "cache" and not any(item.startswith("-") for item in lost):
        arguments.keys, lost = [*arguments.keys, *lost], []
    if arguments.command == "evaluate" and arguments.source is None and len(lost) == 1 and not lost[0].startswith("-"):
        arguments.source, lost = lost[0], []
    if lost:
        arguments.parser.error(unknown(arguments, lost))
    if arguments.verbose:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
    from tfl.config import UserError

    try:
        code: int | None = CALLS[arguments.command](arguments)
        return code or 0
    except UserError as error:
        print(f"tfl: {as_typed(arguments, str(error))}", file=sys.stderr)
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


def _train(arguments: argparse.Namespace) -> int:
    from tfl.jobs import check_folder, typed_config, unfinished

    config = typed_config(arguments)

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
    from tfl.reporting import PAGE
    from tfl.terminal import console, summary

    run = METHODS[config.method].run(config, out)
    console().print(summary(run.report))
    print(f"run: {run.directory}")
    if (page := run.directory / PAGE).is_file():
        print(f"page: {page}")
    if export is not None and distribute.workers(distribute.strategy(config.distribute)).is_chief:
        print(f"export: {run.export(export)}")
    return 130 if run.report.interrupted else 0


def _launch(arguments: argparse.Namespace) -> int:
    from tfl.config import UserError
    from tfl.launch import launch

    command = [word for place, word in enumerate(arguments.words) if word != "--" or place]
    if arguments.workers < 1:
        raise UserError(f"--workers: {arguments.workers} is not valid; at least 1")
    if not command or command[0] != "train":
        raise UserError(
            f"launch: {' '.join(command) or 'nothing'} is not valid; write tfl launch --workers 2 -- train CONFIG …"
        )
    from tfl.directory import new_folder

    logs = arguments.logs or new_folder("launch")
    return launch(command, arguments.workers, Path(logs))


def _evaluate(arguments: argparse.Namespace) -> None:
    import tfl

    run = tfl.load(arguments.run)
    columns = ("text", "text_pair", "image", "label")
    fields = {name: value for name in columns if (value := getattr(arguments, name)) is not None}
    metrics = run.evaluate(arguments.source, **fields)
    from tfl.terminal import console, metrics_table

    console().print(metrics_table(metrics))
    if known := metrics.get("seen"):
        print(
            f"warning: the run was trained on {known:,} of these, or chose its epochs by them; the result is too good by them"
        )
    skipped = metrics.get("unreadable", [])
    for bad in skipped[:5]:
        print(f"skipped {bad['id']}: {bad['reason']}")
    if len(skipped) > 5:
        print(f"… and {len(skipped) - 5} more that could not be read")


def _predict(arguments: argparse.Namespace) -> None:
    import tfl
    from tfl.jobs import check_file, inputs_of_files, with_standard_input

    run = tfl.load(arguments.run)
    columns = {"text": arguments.text, "text_pair": arguments.text_pair, "image": arguments.image}
    from tfl import predictions
    from tfl.progress import counting
    from tfl.terminal import console

    if arguments.out is not None:
        out = Path(arguments.out)
        check_file("--out", out)
        predictions.check(out)
    with with_standard_input(arguments.files) as files:
        examples = inputs_of_files(run, files, columns)
        if arguments.out is None:
            predictions.show(run, examples, sys.stdout)
            return
        out.parent.mkdir(parents=True, exist_ok=True)
        with counting("predict", len(examples), console()) as moved:
            failed = predictions.write(run, examples, out, print, moved)
    without = f", {failed} of them an error" if failed else ""
    print(f"{len(examples)} predictions{without}: {out}")


def _export(arguments: argparse.Namespace) -> None:
    import tfl
    from tfl.jobs import check_folder

    run = tfl.load(arguments.run)
    from tfl.serving import certificate, portable

    named = {name: getattr(arguments, name) for name in ("format", "quantize", "max_loss")}
    folder = Path(arguments.out or run.directory / portable.folder_name(arguments.format, arguments.quantize))
    check_folder("--out", folder)
    if arguments.temperature:
        from tfl.studies.audit.calibration import temperature_of

        named["temperature"] = temperature_of(run)
    written = run.export(folder, arguments.name, **named)
    print(certificate.load(written).told())
    print(written)


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

    ports = (arguments.port, arguments.grpc_port or 0)
    if arguments.batch < 1 or arguments.delay < 0 or not all(0 <= port <= 65535 for port in ports):
        raise UserError("serve: --batch is at least 1, --delay at least 0, and --port and --grpc-port from 0 to 65535")
    serve(
        Path(arguments.export),
        host=arguments.host,
        port=arguments.port,
        grpc_port=arguments.grpc_port,
        batch=arguments.batch,
        delay=arguments.delay / 1000,
        token=os.environ.get("TFL_SERVE_TOKEN") or None,
    )


def _cache(arguments: argparse.Namespace) -> int:
    from tfl.config import UserError
    from tfl.data import decodable
    from tfl.features import shown
    from tfl.features.store import Store
    from tfl.terminal import console

    store = Store(Path(arguments.directory).expanduser() if arguments.directory else None)
    if arguments.all and arguments.what != "clear":
        raise UserError("--all: it goes with clear")
    if arguments.what == "clear" and arguments.all == bool(arguments.keys):
        raise UserError("clear: name the keys of the entries to remove (`tfl cache list`), or --all")
    chosen = store.named(arguments.keys) if arguments.keys else store.infos()
    if arguments.all:
        decodable.forget(store.root)
    if arguments.what == "clear":
        return shown.clear(store, chosen)
    if arguments.what == "verify":
        return shown.verify(store, chosen)
    console().print(shown.listed(store, chosen) if arguments.what == "list" else shown.described(store, chosen))
    return 0


def _service(arguments: argparse.Namespace) -> None:
    from tfl.data import service

    service.run(arguments.what, arguments.dispatcher, arguments.host, arguments.port)


def _list(arguments: argparse.Namespace) -> None:
    from tfl.jobs import listing

    for name, text in listing(arguments.what).items():
        print(f"{name:<28} {text}")


CALLS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "train": _train,
    "check": questions.check,
    "sweep": questions.sweep,
    "compare": questions.compare,
    "report": questions.report,
    "select": questions.select,
    "lr-find": questions.lr_find,
    "audit": questions.audit,
    "evaluate": _evaluate,
    "predict": _predict,
    "export": _export,
    "verify": _verify,
    "serve": _serve,
    "cache": _cache,
    "launch": _launch,
    "service": _service,
    "list": _list,
}
"""What each command of `tfl.parser` does."""

if __name__ == "__main__":
    sys.exit(main())
