"""Which configuration is best on some tasks, by how much, and is that more than chance? From the results table.

It is chosen by held-out training samples where the table has such rows (eval.split=validation), and its accuracy on the
test split, which the choice has not seen, is told. Where there are none, or with --by test, the test split decides.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence

import pandas as pd

from imprint_sweep.analysis.data import names
from imprint_sweep.analysis.data.selection import FEW_SEEDS, MAIN_SEEDS, basis
from imprint_sweep.analysis.stats import ranking
from imprint_sweep.analysis.stats.best import Best
from imprint_sweep.api.choosing import Choice, best
from imprint_sweep.cli.app import user_errors
from imprint_sweep.cli.options import parse_options
from imprint_sweep.grid.scheme import TESTED_ON, VALIDATION
from imprint_sweep.invocation import command, outputs_folder
from imprint_sweep.wording import aligned, counted, visible

ALPHA = 0.05


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Raises:
        SystemExit: code 2 if there are no such results.
    """
    parser = ArgumentParser(prog=command("best"), description=__doc__)
    parser.add_argument("--task", nargs="+", default=[], metavar="NAME", help="which tasks (default: all in the table)")
    parser.add_argument(
        "--where", metavar="CONDITION", help='which rows, such as "model == resnet18 and task.classes == all"'
    )
    parser.add_argument(
        "--by", choices=TESTED_ON, help="what decides (default: validation where the table has such rows, else test)"
    )
    parser.add_argument(
        "--max-proxies", type=int, metavar="N", help="the memory budget: proxies of all labels together"
    )
    parser.add_argument("--n-shot", type=int, metavar="N", help="with so many samples per label (default: all of them)")
    parser.add_argument(
        "--with-baselines", action="store_true", help="show apart what is no imprinting, as it sees all classes at once"
    )
    parser.add_argument("--outputs", metavar="DIR", help="the paths.outputs of the runs (default: theirs)")
    given = parse_options(parser, arguments)
    with user_errors():
        choice = best(
            outputs_folder(given.outputs),
            task=given.task,
            by=given.by,
            where=given.where,
            max_proxies=given.max_proxies,
            n_shot=given.n_shot,
            with_baselines=given.with_baselines,
        )
        print(visible("\n".join(lines(choice, given.n_shot))))


def lines(choice: Choice, n_shot: int | None = None) -> list[str]:
    """The answer for the terminal.

    Args:
        choice: which.
        n_shot: samples per label; None means all.
    """
    answer = choice.answer
    said = [basis(answer.matrix, MAIN_SEEDS if n_shot is None else FEW_SEEDS), *answer.matrix.missing]
    if answer.over_budget:
        said.append(f"Over the budget: {counted(answer.over_budget, 'configuration')} more.")
    return [*said, _chosen_by(choice), "", *_table(choice), "", *_verdict(answer), *_on_test(choice)]


def _chosen_by(choice: Choice) -> str:
    if choice.by == VALIDATION:
        return "Chosen by held-out training samples (eval.split=validation), without the test split."
    return (
        "Chosen by the test split, which makes the chosen one look better than it is; run the sweep with "
        "eval.split=validation, too, to choose without it."
    )


def _table(choice: Choice) -> list[str]:
    """The winner, and what the best of every other GEN lacks; baselines apart."""
    answer = choice.answer
    accuracy = f"{choice.by} accuracy"
    head = ("", "proxies", "bytes", "µs a query", accuracy, f"rank of {len(answer.ranks):,}",
            "worse by", "worse on", "p", "after Holm")  # fmt: skip
    rivals = {row["name"]: row for row in answer.rivals.to_dict("records")}
    rows = [head]
    apart = len(rows) + int((~choice.table["baseline"]).sum())
    for shown in choice.table.to_dict("records"):
        rival = rivals.get(shown["name"])
        rank = answer.ranks[answer.winner] if rival is None else rival["rank"]
        cost = (
            f"{shown['proxies']:,}",
            "" if pd.isna(shown["nbytes"]) else f"{shown['nbytes']:,}",
            "" if pd.isna(shown["microseconds"]) else f"{shown['microseconds']:,.3g}",
        )
        behind = ("", "", "", "") if rival is None else (
            f"{100 * rival['lead']:.2f} %",
            f"{rival['wins']} of {len(answer.matrix.instances)}",
            f"{rival['p']:.2g}",
            f"{rival['adjusted']:.2g}",
        )  # fmt: skip
        rows.append((shown["name"], *cost, f"{100 * shown['accuracy']:.2f} %", f"{rank:,.1f}", *behind))
    told = aligned(rows, right=range(1, len(head)))
    if apart == len(told):
        return told
    return [*told[:apart], "", "Baselines, which are no imprinting:", *told[apart:]]


def _verdict(answer: Best) -> list[str]:
    """Whether the lead is more than chance."""
    said = []
    if answer.same:
        same = names.configurations(answer.matrix.configurations.iloc[list(answer.same)])
        said.append(f"The same results on every instance: {names.some(same, most=3)}.")
    rivals, n = answer.rivals, len(answer.matrix.instances)
    if rivals.empty:
        return [*said, "There is no other GEN to compare it with."]
    certain = rivals["adjusted"] <= ALPHA
    for which, words in ((certain, "significant over"), (~certain, "not significant over")):
        if which.any():
            said.append(f"At level {ALPHA:g} its lead is {words} the best of {', '.join(rivals['gen'][which])}.")
    if n < (least := ranking.needed(len(rivals), ALPHA)):
        said.append(f"{counted(n, 'instance')} cannot tell: {least} or more could.")
    return said


def _on_test(choice: Choice) -> list[str]:
    """What the choice is worth on the test split, and the command that computes it."""
    cells = choice.cells["cell_id"].tolist()
    if choice.test_accuracy is None:
        missing = counted(len(choice.tested.missing), "instance")
        return [
            f"Its test cells are not all in the table: they are missing on {missing}.",
            "",
            f"Compute them: {choice.command}",
        ]
    which = f"cell {cells[0]}" + (f" and {len(cells) - 1:,} more" if len(cells) > 1 else "")
    return [f"On the test split: {100 * choice.test_accuracy:.2f} %, {which}.", "", f"Run it: {choice.command}"]


if __name__ == "__main__":
    main()
