"""What can be typed: commands, their arguments and options."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

from tfl.config import did_you_mean


class Parser(argparse.ArgumentParser):
    """Takes no abbreviation for an option, and says of a word that is none of the choices which one is near."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**named, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        wrong = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
        near = did_you_mean(wrong[1], re.findall(r"[\w-]+", wrong[2])) if wrong else ""
        super().error(message + near)


class Version(argparse.Action):
    """Prints the version that is installed; it is looked up when it is asked for, since that takes time."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib import metadata

        print(f"tfl {metadata.version('tfl')}")
        parser.exit()


def whole() -> argparse.ArgumentParser:
    """The parser of `tfl`; `command` is the name of the command that was typed."""
    parser = Parser(prog="tfl", description="The transfer-learning workbench for Keras 3 on TensorFlow.")
    parser.add_argument("-v", "--verbose", action="store_true", help="show TensorFlow's own log")
    parser.add_argument("--version", action=Version, nargs=0, help="show the version and end")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    _train(commands)
    _sweep(commands)
    _compare(commands)
    _select(commands)
    _lr_find(commands)
    _use(commands)
    _audit(commands)
    _serve(commands)
    _cache(commands)
    _launch(commands)
    _service(commands)
    listing = _command(commands, "list", "list what there is")
    listing.add_argument("what", choices=("backbones", "sources", "presets"))
    return parser


def _train(commands: Any) -> None:
    """To a run."""
    train = _command(commands, "train", "train on a config, a folder of images or a table of texts")
    _add_job(train)
    train.add_argument("--out", metavar="DIR", help="directory of the run (default: a new one below runs/)")
    train.add_argument(
        "--resume",
        action="store_true",
        help="go on with the unfinished run in DIR (which needs no CONFIG|SOURCE), or the last below runs/",
    )
    train.add_argument("--export", metavar="DIR", help="also export a SavedModel there")

    check = _command(commands, "check", "everything but training: data, weights, what would train, time, memory")
    _add_job(check)


def _sweep(commands: Any) -> None:
    """To the best of several."""
    sweep = _command(commands, "sweep", "try values of keys (KEY=A,B or KEY=LOW..HIGH) and keep the best")
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


def _compare(commands: Any) -> None:
    """To a verdict."""
    compare = _command(commands, "compare", "whether the transfer helps: pre-trained against the same network from scratch")
    _add_job(compare)
    compare.add_argument("--labels", metavar="A,B,…", help="labels a class, and all (default: 5,10,20,50,all, as far as there)")
    compare.add_argument("--seeds", type=int, default=5, metavar="N", help="paired seeds (default: 5; at least 2)")
    compare.add_argument(
        "--methods", metavar="A,B,…", help="scratch, head, top, full, lora, config (default: scratch,head,top, or the config's)"
    )
    compare.add_argument("--updates", type=int, metavar="N", help="updates of each training, about (default: 200)")
    compare.add_argument("--budget", type=float, metavar="SECONDS", help="seconds of each training, in place of updates")
    compare.add_argument("--endpoint", metavar="WHAT", help="the primary one: end, slope or start, or end@10 (default: end)")
    compare.add_argument(
        "--out", metavar="DIR", help="directory of the comparison, new or to go on with (default: a new one in runs/)"
    )
    compare.epilog = (
        "All methods get the same examples and the same number of updates (or seconds), the subsets of labels are nested, and "
        "seed by seed the same. The verdict is by the intervals of the differences, over seeds and test examples. The same "
        "command on the same DIR goes on where it was interrupted."
    )


def _select(commands: Any) -> None:
    """To a backbone."""
    select = _command(commands, "select", "which backbone fits the data, by what its frozen features tell, before training")
    _add_job(select)
    select.add_argument("--backbones", metavar="A,B@WEIGHTS,…", help="or a .yaml list of them (default: a few of the table)")
    select.add_argument(
        "--examples", type=int, metavar="N", help="examples of train and validation to use, at most (default: 2000)"
    )
    select.add_argument("--depths", type=int, metavar="N", help="also score N lower places to cut each at (default: 0)")
    select.add_argument(
        "--cost",
        metavar="WHAT",
        help="how to choose among backbones that the data cannot tell apart: seconds (the default) or parameters",
    )
    select.add_argument("--out", metavar="DIR", help="directory of the selection (default: a new one in runs/)")
    select.epilog = (
        "WEIGHTS are a file, a folder, a handle or none; keys such as backbone.image_size=128 hold for all. Ranked by a "
        "cross-validated linear probe; of those that cannot be told from the best, the cheapest is recommended. The test "
        "split is not touched."
    )


def _lr_find(commands: Any) -> None:
    """To a learning rate."""
    find = _command(commands, "lr-find", "the learning-rate range test of a phase: a suggestion and its picture")
    _add_job(find)
    find.add_argument(
        "--phase", type=int, metavar="N", help="number of the phase, from 1 on; those before it are trained (default: 1)"
    )
    find.add_argument("--steps", type=int, metavar="N", help="updates from the lowest rate to the highest (default: 100)")
    find.add_argument("--lowest", type=float, metavar="RATE", help="where it begins (default: 1e-6)")
    find.add_argument("--highest", type=float, metavar="RATE", help="where it ends if nothing diverges (default: 1)")
    find.add_argument("--out", metavar="DIR", help="directory for the picture and the numbers (default: a new one in runs/)")


def _use(commands: Any) -> None:
    """What a run is asked."""
    evaluate = _command(commands, "evaluate", "evaluate a run, on its own test split or on other data")
    evaluate.add_argument("run", metavar="RUN")
    evaluate.add_argument("source", nargs="?", metavar="SOURCE", help="labelled data (default: the run's test split)")
    evaluate.add_argument("--label", metavar="COLUMN", help="column of labels in SOURCE (default: the run's)")
    evaluate.add_argument("--text", metavar="COLUMN", help="column of texts in SOURCE (default: the run's)")
    evaluate.add_argument("--text-pair", metavar="COLUMN", help="column of second texts, for a run that reads pairs")
    evaluate.add_argument("--image", metavar="COLUMN", help="column of image paths in SOURCE (default: the run's)")

    report = _command(commands, "report", "what runs came to: a page of one, or several beside one another")
    report.add_argument("runs", nargs="+", metavar="RUN", help="directories of runs, or of one comparison")
    report.add_argument("--out", metavar="PAGE", help="the page (default: RUN/report.html; of several runs: none)")
    report.add_argument("--plots", metavar="DIR", help="also the pictures, each as PNG and SVG, into DIR")

    predict = _command(commands, "predict", "predict images, texts or the rows of tables")
    predict.add_argument("run", metavar="RUN")
    predict.add_argument(
        "files", nargs="+", metavar="FILE", help="images or folders of them; tables; .txt files or - (stdin), a text a line"
    )
    predict.add_argument("--text", metavar="COLUMN", help="column of texts in a table (default: the run's)")
    predict.add_argument("--text-pair", metavar="COLUMN", help="column of second texts, for a run that reads pairs")
    predict.add_argument("--image", metavar="COLUMN", help="column of image paths in a table (default: the run's)")
    predict.add_argument("--out", metavar="FILE", help="a .csv, .jsonl or .parquet file (default: the terminal)")


def _audit(commands: Any) -> None:
    """Where it fails."""
    audit = _command(commands, "audit", "where a run fails: calibration, slices, robustness, labels, overfitting, cues")
    audit.add_argument("run", metavar="RUN")
    audit.add_argument(
        "--slices", metavar="A,B,…", help="columns of the source's table, or class, folder, length (default: those three)"
    )
    audit.add_argument("--scratch", metavar="RUN", help="the same from scratch: does a gap come with the pre-training?")
    audit.add_argument("--ood", metavar="SOURCE", help="input of another kind: images, texts, a table or a source")
    audit.add_argument("--sections", metavar="A,B,…", help="what is asked (default: all that the run can be asked)")
    audit.add_argument("--limit", type=int, metavar="N", help="examples predicted again and again, at most (default: 128)")
    audit.epilog = "Answers go to audit.json in the directory of RUN; a section that it lacks something for says so."


def _serve(commands: Any) -> None:
    """From a run to something that answers."""
    export = _command(commands, "export", "export a run, certified to predict what was evaluated")
    export.add_argument("run", metavar="RUN")
    export.add_argument(
        "--out", metavar="DIR", help="folder of the bundle; one that is there gets a new version (default: RUN/export)"
    )
    export.add_argument("--format", default="savedmodel", help="savedmodel (the default), litert, onnx or openvino")
    export.add_argument("--quantize", metavar="HOW", help="with litert: dynamic (weights in 8 bits) or int8 (all in 8 bits)")
    export.add_argument(
        "--max-loss", type=float, metavar="SHARE", help="largest loss of accuracy that --quantize may cause (default: 0.02)"
    )
    export.add_argument(
        "--temperature", action="store_true", help="divide logits by the temperature that `tfl audit` fits on validation"
    )
    export.add_argument("--name", metavar="MODEL", help="name of the model (default: from source and backbone)")

    verify = _command(commands, "verify", "ask an export again for all that was evaluated, and compare")
    verify.add_argument("export", metavar="EXPORT", help="a bundle, a model in it, or a version")

    serve = _command(commands, "serve", "answer over HTTP as TensorFlow Serving does, with a page to try the models")
    serve.add_argument("export", metavar="EXPORT", help="a bundle, whole; new versions in it are taken up while it serves")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone, 127.0.0.1)")
    serve.add_argument("--port", type=int, default=8501, help="0: any that is free (default: 8501)")
    serve.add_argument("--grpc-port", type=int, metavar="PORT", help="also answer over gRPC there; 0: any (default: no gRPC)")
    serve.add_argument(
        "--batch", type=int, default=32, metavar="N", help="rows computed together, at most; 1: none (default: 32)"
    )
    serve.add_argument(
        "--delay",
        type=float,
        default=2.0,
        metavar="MS",
        help="milliseconds that a row waits for others to share its batch (default: 2)",
    )


def _launch(commands: Any) -> None:
    """Several workers."""
    launch = _command(commands, "launch", "start several workers on this machine that train together, for trying it")
    launch.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default: 2)")
    launch.add_argument("--logs", metavar="DIR", help="where each one's output goes (default: a new folder in runs/)")
    launch.add_argument("words", nargs=argparse.REMAINDER, metavar="-- train …", help="the command of each; it needs --out")


def _service(commands: Any) -> None:
    """What reads data for others."""
    service = _command(commands, "service", "run a process of a tf.data service, which reads training images for data.service")
    service.add_argument("what", choices=("dispatcher", "worker"))
    service.add_argument(
        "--port", type=int, metavar="PORT", help="port to listen on; 0: any that is free (default: 5050, of a worker any)"
    )
    service.add_argument("--dispatcher", metavar="HOST:PORT", help="with worker: address of the dispatcher that it works for")
    service.add_argument("--host", metavar="NAME", help="with worker: name by which others reach it (default: the machine's)")


def _cache(commands: Any) -> None:
    cache = _command(commands, "cache", "the store of frozen features: what is in it, whether it is whole; clear it")
    cache.add_argument("what", metavar="list|info|verify|clear", choices=("list", "info", "verify", "clear"))
    cache.add_argument("keys", nargs="*", metavar="KEY", help="entries, by the beginnings of their keys (clear: or --all)")
    cache.add_argument("--all", action="store_true", help="with clear: every entry")
    cache.add_argument(
        "--directory", metavar="DIR", help="directory of the store (default: TFL_CACHE, or the user's cache folder)"
    )


def _command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    command.add_argument("-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    command.set_defaults(parser=command)
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
    command.add_argument("--image", metavar="COLUMN", help="data.image: the column of image paths")
    command.add_argument("--label", metavar="COLUMN", help="data.label: the column of labels")
    command.add_argument("--seed", type=int, help="seed of splits, order, augmentation and the head")
