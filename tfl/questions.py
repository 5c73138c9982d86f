"""What the commands that ask something of methods do: `tfl check`, `tfl sweep`, `tfl compare`, `tfl audit`."""

from __future__ import annotations

import argparse
import sys


def check(arguments: argparse.Namespace) -> None:
    """Tries everything but training, and prints what there would be."""
    from tfl.jobs import typed_config

    config = typed_config(arguments)
    from tfl.studies import check
    from tfl.terminal import console

    console().print(check.check(config))


def sweep(arguments: argparse.Namespace) -> int:
    """Tries values of keys, prints the trials, and runs the best."""
    from tfl.config import UserError, override
    from tfl.jobs import check_folder, config_of, typed
    from tfl.studies import space

    raw, overrides = typed(arguments)
    dimensions, plain = space.parse(overrides)
    if arguments.trials < 1:
        raise UserError(f"--trials: {arguments.trials} is not valid; at least 1")
    check_folder("--out", arguments.out or "runs")
    raw = override(raw, plain)
    space.check(raw, dimensions, config_of)
    from tfl.report import summary
    from tfl.studies import sweep
    from tfl.terminal import console

    done = sweep.sweep(raw, dimensions, config_of, trials=arguments.trials, out=arguments.out)
    console().print(sweep.table(done))
    if done.interrupted:
        print(f"interrupted; the same command with --out {done.folder} goes on")
        return 130
    if not done.ranked:
        print(f"tfl: every trial failed; {done.folder / sweep.RESULT} says why", file=sys.stderr)
        return 1
    print(f"best: {done.folder / sweep.BEST}")
    if arguments.no_best:
        return 0
    run = sweep.run_best(done, config_of)
    console().print(summary(run.report))
    print(f"run: {run.directory}")
    return 130 if any(phase.stopped == "interrupted" for phase in run.report.phases) else 0


def compare(arguments: argparse.Namespace) -> int:
    """Compares methods with training from scratch, and prints the verdict."""
    from tfl.config import UserError, override
    from tfl.jobs import check_folder, config_of, typed
    from tfl.studies.plan import plan

    raw = override(*typed(arguments))
    options = ("labels", "seeds", "methods", "updates", "budget", "endpoint")
    chosen = {name: getattr(arguments, name) for name in options}
    found = plan(**chosen, own_phases=bool(raw.get("phases")))
    config = config_of(raw)
    if config.backbone.weights == "none":
        raise UserError("backbone.weights: none is what scratch has already; name the pre-trained weights to compare with it")
    check_folder("--out", arguments.out or "runs")
    from tfl.studies import compare
    from tfl.studies.picture import draw
    from tfl.studies.told import told
    from tfl.terminal import console

    done = compare.compare(config, found, arguments.out)
    if done.trials is None:
        print(f"interrupted; the same command with --out {done.folder} goes on")
        return 130
    console().print(told(done))
    files = draw(done.trials, done.folder)
    print(f"picture: {files[0]}" if files else "no picture: pip install 'tfl[report]' brings Matplotlib")
    print(f"comparison: {done.folder / compare.RESULT}")
    return 0


def audit(arguments: argparse.Namespace) -> None:
    """Asks a run where it fails, and prints the worst first."""
    from tfl.config import UserError

    if arguments.limit is not None and arguments.limit < 1:
        raise UserError(f"--limit: {arguments.limit} is not valid; at least 1")
    from tfl.run import load
    from tfl.studies.audit import audit as audits
    from tfl.studies.audit.calibration import RESULT
    from tfl.studies.audit.told import told
    from tfl.terminal import console

    sections, slices = _listed(arguments.sections), _listed(arguments.slices)
    audits.check(sections)
    run = load(arguments.run)
    scratch = None if arguments.scratch is None else load(arguments.scratch)
    limit = {} if arguments.limit is None else {"limit": arguments.limit}
    done = audits.audit(run, audits.Options(sections=sections, slices=slices, scratch=scratch, ood=arguments.ood, **limit))
    console().print(told(done))
    print(f"audit: {run.directory / RESULT}")


def _listed(words: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (words or "").split(",") if word.strip())
