"""What the commands that ask something do: `check`, `sweep`, `compare`, `select`, `lr-find`; of runs `report`, `audit`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


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
    from tfl.studies.sweep import space

    raw, overrides = typed(arguments)
    dimensions, plain = space.parse(overrides)
    if arguments.trials < 1:
        raise UserError(f"--trials: {arguments.trials} is not valid; at least 1")
    check_folder("--out", arguments.out or "runs")
    raw = override(raw, plain)
    space.check(raw, dimensions, config_of)
    from tfl.studies.sweep import sweep
    from tfl.terminal import console, summary

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
    return 130 if run.report.interrupted else 0


def compare(arguments: argparse.Namespace) -> int:
    """Compares methods with training from scratch, and prints the verdict."""
    from tfl.config import override
    from tfl.jobs import check_folder, comparison, typed

    options = ("labels", "seeds", "methods", "updates", "budget", "endpoint")
    config, found = comparison(override(*typed(arguments)), {name: getattr(arguments, name) for name in options})
    check_folder("--out", arguments.out or "runs")
    from tfl import reporting
    from tfl.directory import REPORT
    from tfl.studies.compare import compare, page
    from tfl.studies.compare.picture import draw
    from tfl.studies.compare.told import told
    from tfl.terminal import console

    done = compare.compare(config, found, arguments.out)
    if done.trials is None:
        print(f"interrupted; the same command with --out {done.folder} goes on")
        return 130
    console().print(told(done))
    if files := draw(done.trials, done.folder):
        print(f"picture: {files[0]}")
    print(f"comparison: {done.folder / compare.RESULT}")
    if written := reporting.attempt(done.folder, print, page.write):
        print(f"page: {written}")
    run = done.folder.parent
    if (run / REPORT).is_file() and (written := reporting.attempt(run, print)):  # the run that this is about holds it
        print(f"the page of the run, with this answer: {written}")
    return 0


def report(arguments: argparse.Namespace) -> int:
    """Shows a run, a comparison, or several runs beside one another, and writes their page and pictures."""
    from tfl import reporting
    from tfl.config import UserError
    from tfl.jobs import check_file, check_folder

    folders = [Path(name) for name in arguments.runs]
    plots, out = (Path(name) if name else None for name in (arguments.plots, arguments.out))
    if out is not None:
        check_file("--out", out)
        if out.is_file() and not out.read_bytes()[:14].lower().startswith(b"<!doctype html"):
            raise UserError(f"--out: {out} is there already, and is no page; name another file, or remove it")
    if plots is not None:
        check_folder("--plots", plots)
    if len(folders) == 1:
        return _report_one(folders[0], out, plots)
    if plots is not None:
        raise UserError("--plots: it goes with one run or comparison")
    from tfl.reporting.several import Runs
    from tfl.terminal import console, table

    runs = Runs(folders)
    console().print(table(*runs.table()))
    print("", *runs.sentences(), sep="\n")
    if out is not None:
        print(f"page: {reporting.write_several(folders, out)}")
    return 0


def _report_one(folder: Path, out: Path | None, plots: Path | None) -> int:
    from tfl import reporting
    from tfl.reporting.evidence import COMPARISON, Evidence
    from tfl.terminal import console, summary

    if (folder / COMPARISON).is_file():
        from tfl.studies.compare import page

        print(*page.said(folder), sep="\n")
        if plots is not None:
            print(*page.plots(folder, plots), sep="\n")
        print(f"page: {page.write(folder, out)}")
        return 0
    console().print(summary(Evidence(folder).report))
    if plots is not None:
        print(*reporting.plots(folder, plots), sep="\n")
    print(f"page: {reporting.write(folder, out)}")
    return 0


def select(arguments: argparse.Namespace) -> int:
    """Ranks backbones, and prints which one to take."""
    from tfl.config import override
    from tfl.jobs import check_folder, selection, typed

    raw = override(*typed(arguments))
    options = {"examples": arguments.examples, "depths": arguments.depths, "cost": arguments.cost}
    config, plan = selection(raw, arguments.backbones, options)
    check_folder("--out", arguments.out or "runs")
    from tfl.studies.select.select import RESULT
    from tfl.studies.select.select import select as run
    from tfl.studies.select.told import told
    from tfl.terminal import console

    done = run(config, plan, arguments.out)
    if done.ranking is None:
        print(f"interrupted; the same command with --out {done.folder} goes on")
        return 130
    console().print(told(done))
    print(f"selection: {done.folder / RESULT}")
    return 0


def lr_find(arguments: argparse.Namespace) -> int:
    """Tries rising learning rates, and prints which one to take."""
    from tfl.config import extra
    from tfl.jobs import check_folder, typed_config
    from tfl.studies.lr_find.rates import Sought

    config = typed_config(arguments)
    options = {name: getattr(arguments, name) for name in ("phase", "steps", "lowest", "highest")}
    sought = Sought(**{name: value for name, value in options.items() if value is not None})
    check_folder("--out", arguments.out or "runs")
    from tfl.studies.lr_find import lr_find

    done = lr_find.lr_find(config, sought, arguments.out)
    if done.curve is None:
        print("interrupted; nothing was kept")
        return 130
    for line in lr_find.told(done):
        print(line)
    files = lr_find.draw(done)
    print(f"picture: {files[0]}" if files else f"no picture: {extra('report')} brings Matplotlib")
    print(f"learning rates: {done.folder / lr_find.RESULT}")
    return 0


def audit(arguments: argparse.Namespace) -> None:
    """Asks a run where it fails, and prints the worst first."""
    from tfl import reporting
    from tfl.config import UserError

    if arguments.limit is not None and arguments.limit < 1:
        raise UserError(f"limit: {arguments.limit} is not valid; at least 1")
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
    if written := reporting.attempt(run.directory, print):
        print(f"the page of the run, with this in it: {written}")


def _listed(words: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (words or "").split(",") if word.strip())
