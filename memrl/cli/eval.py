"""`memrl eval`: a policy against baselines, and two evaluations side by side."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from memrl.cli.console import (
    add_json_option,
    next_commands,
    print_json,
    progress_console,
    wide_console,
)
from memrl.cli.served import add_served_options, named_server
from memrl.errors import ConfigError, EngineError

if TYPE_CHECKING:
    from memrl.evaluation.suites import Suite
    from memrl.policies.policy import Policy

log = logging.getLogger(__name__)


def add_eval_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `memrl eval` to the parser's commands."""
    evaluation = commands.add_parser(
        "eval",
        parents=[common],
        help="a policy against baselines; or: memrl eval compare A B",
        description=(
            "Measure a policy and baselines on suites of streams, with the same reader and budgets. What --out holds "
            "already is not measured again. `memrl eval compare A B` sets two such folders side by side."
        ),
        epilog=(
            "examples: memrl eval runs/tiny --suite run --suite synthetic:chunks=24,memory.budget=220; "
            "memrl eval runs/tiny --budgets 1/8,1/4,1/2,1; memrl eval squad --methods bm25,dense --suite data/squad; "
            "memrl eval compare runs/a runs/b"
        ),
        allow_abbrev=False,
    )
    evaluation.add_argument(
        "policy",
        metavar="POLICY",
        help="a run's folder, an exported policy's, or a config, whose model is then measured as it is",
    )
    evaluation.add_argument("words", nargs="*", metavar="key=value", help="settings in place of the policy's")
    evaluation.add_argument(
        "--suite",
        action="append",
        metavar="NAME[:key=value,...]",
        help="run (its own held-out streams; the default of a run or config), memalpha-val, memalpha-mab, a source (by "
        "name or import path), or the folder of a built set; may be repeated",
    )
    evaluation.add_argument(
        "--baselines", nargs="+", metavar="NAME", help="beside the policy: all that run here (default), none, or names"
    )
    evaluation.add_argument(
        "--methods",
        nargs="+",
        metavar="NAME",
        help="these alone, in place of the policy and --baselines: e.g. bm25,dense",
    )
    evaluation.add_argument(
        "--budgets",
        metavar="SHARE,...",
        help="in place of memory.budget: shares of each stream's text that the memory may hold, e.g. 1/8,1/4,1/2,1",
    )
    evaluation.add_argument("--streams", type=int, default=64, metavar="N", help="of a suite and seed (default: 64)")
    evaluation.add_argument("--seeds", type=int, nargs="+", metavar="N", help="of the sources (default: eval.seed)")
    evaluation.add_argument("--adapter", default="best", help="of a run: best (default), last, or e.g. v00012")
    evaluation.add_argument("--base-model", metavar="PATH", help="the base model, if no longer where it was")
    add_served_options(evaluation)
    evaluation.add_argument(
        "--out", type=Path, metavar="DIR", help="default: <RUN>/eval, <EXPORTED>-eval, eval-<CONFIG>"
    )
    add_json_option(evaluation)
    evaluation.set_defaults(command=_eval, configured=False)


def _eval(arguments: argparse.Namespace) -> None:
    if arguments.policy == "compare":
        _compare(arguments)
        return
    if arguments.methods and arguments.baselines:
        raise ConfigError("--methods names all that is measured, so --baselines cannot stand beside it")
    baselines, methods = (_names(arguments, words) for words in (arguments.baselines, arguments.methods))
    if wrong := [word for word in arguments.words if "=" not in word]:
        raise ConfigError(f"{', '.join(wrong)}: settings are written key=value; suites are named by --suite")
    if arguments.streams < 1:
        raise ConfigError(f"--streams is {arguments.streams}; it must be at least 1")
    served = named_server(arguments)
    from memrl.evaluation.budgets import read_budgets

    budgets = () if arguments.budgets is None else read_budgets(arguments.budgets)
    from memrl.evaluation.frontier import draw_frontier, frontier, frontier_markdown
    from memrl.evaluation.measure import Plan, evaluate, judge_name, reader_name
    from memrl.evaluation.results import draw, markdown, results
    from memrl.policies.policy import POLICY, open_policy
    from memrl.report.progress import RunProgress
    from memrl.storage.files import write_json_atomic, write_text_atomic

    policy = open_policy(arguments.policy, adapter=arguments.adapter, base_model=arguments.base_model, served=served)
    plan = Plan(
        suites=arguments.suite or ["run"],
        methods=methods or [POLICY, *_baselines(baselines or ["all"], policy, arguments.words)],
        out=arguments.out or policy.out,
        streams=arguments.streams,
        seeds=arguments.seeds,
        overrides=arguments.words,
        budgets=budgets,
    )
    progress = RunProgress(progress_console())
    with progress:
        done = evaluate(policy, plan, progress.phase)
    config = done.config
    found = results(done.measured, done.suites, reader=reader_name(config), judge=judge_name(config))
    found |= {"policy": policy.name, "seeds": list(plan.seeds or [config.eval.seed])}
    tables = markdown(found)
    if budgets:
        found["budgets"], found["frontier"] = list(map(float, budgets)), frontier(done.measured)
        tables += f"\n{frontier_markdown(found['frontier'])}"
        draw_frontier(found["frontier"], plan.out / "frontier.png")
    else:
        draw(found, plan.out / "results.png")
    write_json_atomic(plan.out / "results.json", found)
    write_text_atomic(plan.out / "results.md", tables)
    if arguments.json:
        print_json(found)
    else:
        _show(found, done.suites, plan.out)
    if failed := sum(row["failures"] for row in found["results"]):
        raise EngineError(f"{failed} streams could not be measured; run the same command again to repeat these alone.")
    next_commands(*_next(arguments.policy, policy, plan.out))


def _next(words: str, policy: Policy, out: Path) -> list[tuple[str, list[str | Path]]]:
    """Return what may follow a measurement: of a run its report and its way out; of others what was written."""
    from memrl.storage.rundir import RUN_FILE

    run = Path(words)
    if not (run / RUN_FILE).is_file():
        return [("compare", ["memrl", "eval", "compare", out, "OTHER"])]
    return [
        ("look", ["memrl", "report", run]),
        ("take it out", ["memrl", "export", run, "--out", f"exported/{run.name}"]),
    ]


def _show(found: dict[str, Any], suites: Sequence[Suite], out: Path) -> None:
    """Print what was measured as a table."""
    from memrl.evaluation.budgets import share_in_words
    from memrl.evaluation.results import asked_in_words, streams_in_words
    from memrl.report.tables import shown

    console = wide_console()
    budgets = found.get("budgets")
    both = any(row["unanswerable"] for row in found["results"])
    beside = ["unanswerable"] if both else []
    table = Table(
        "suite",
        "method",
        *(["budget"] if budgets else []),
        "score",
        *beside,
        "streams",
        "memory tokens",
        "policy better by",
        "p",
        "reader calls",
        "failed",
    )
    for row in found["results"]:
        gap = row["policy_better_by"]
        table.add_row(
            escape(row["suite"]),
            row["method"],
            *([share_in_words(row["budget"])] if budgets else []),
            escape(shown(row["score"])),
            *([escape(shown(row["unanswerable"]))] if both else []),
            streams_in_words(row),
            f"{row['memory_tokens'] or 0:,.0f}",
            escape(shown(gap, "+")),
            "" if gap is None else f"{gap['p']:.4f}",
            f"{row['reader_calls']:,}",
            f"{row['failure_rate']:.1%}",
        )
    console.print(table)
    for suite in suites:
        rows = [row for row in found["results"] if row["suite"] == suite.name]
        console.print(f"{suite.name}: {asked_in_words(rows)}", markup=False)
    console.print(f"reader: {found['reader']}; everything is in {out}", markup=False)


def _names(arguments: argparse.Namespace, words: Sequence[str] | None) -> list[str]:
    """The names among the words of an option that takes as many as come; settings, which may come next, go to the
    others."""
    arguments.words += [word for word in words or () if "=" in word]
    return [name for word in words or () if "=" not in word for name in word.split(",") if name]


def _baselines(words: Sequence[str], policy: Policy, overrides: Sequence[str]) -> list[str]:
    """The baselines that are meant; `all` leaves out what cannot run here without a download, and says so."""
    from memrl.envs.designs.searching import uses_own_search
    from memrl.evaluation.baselines import AS_THE_MEMORY, BASELINES, EMBEDDED
    from memrl.evaluation.baselines.retrieved import load_embedder
    from memrl.policies.policy import UNTRAINED

    everything = [*([UNTRAINED] if UNTRAINED in policy.adapters else []), *BASELINES]
    if "all" in words:
        config = policy.configured(overrides)
        if uses_own_search(config.memory.retrieval, config.memory.retrieval_options):
            everything.remove(AS_THE_MEMORY)  # it would be bm25 once more
        try:
            load_embedder(config.eval.embedder, download=False)
        except ConfigError as error:
            names = " and ".join(EMBEDDED)
            log.warning("without the baselines %s, to be named where their model is to be downloaded: %s", names, error)
            everything = [name for name in everything if name not in EMBEDDED]
    given = {"all": everything, "none": []}
    return list(dict.fromkeys(name for word in words for name in given.get(word, [word])))


def _compare(arguments: argparse.Namespace) -> None:
    from memrl.evaluation.compare import at_budget, by_kind, compare, compared
    from memrl.report.tables import shown
    from memrl.storage.files import write_json_atomic, write_text_atomic

    if len(arguments.words) != 2:
        raise ConfigError(
            "memrl eval compare takes two folders that memrl eval wrote, or two runs (a policy of that name: ./compare)"
        )
    found = compare(*map(Path, arguments.words))
    if arguments.out is not None:
        write_json_atomic(arguments.out / "compare.json", found)
        write_text_atomic(arguments.out / "compare.md", compared(found))
    if arguments.json:
        print_json(found)
        return
    table = Table("suite", "method", "streams", "left out", "one", "other", "other better by", "p")
    for row in found["results"]:
        table.add_row(
            escape(row["suite"]),
            at_budget(row),
            str(row["streams"]),
            str(row["left_out"]),
            escape(shown(row["one"])),
            escape(shown(row["other"])),
            escape(shown(row["better_by"], "+")),
            f"{row['better_by']['p']:.4f}",
        )
    console = wide_console()
    console.print(table)
    kinds = Table("suite", "method", "questions", "one", "other", "other better by", "p")
    for suite, method, kind, *cells in by_kind(found):
        kinds.add_row(*map(escape, (suite, method, kind, *cells)))
    console.print(kinds)
