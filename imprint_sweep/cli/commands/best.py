"""Which configuration is best on some tasks, by how much, and is that more than chance? From the results table."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence

from imprint_sweep.analysis.data import filling, names, results
from imprint_sweep.analysis.data.results import SCHEME, parameter_columns
from imprint_sweep.analysis.data.selection import FEW_SEEDS, MAIN_SEEDS, basis
from imprint_sweep.analysis.data.subset import subset
from imprint_sweep.analysis.stats import ranking
from imprint_sweep.analysis.stats.best import Best, best
from imprint_sweep.cli.app import user_errors
from imprint_sweep.cli.options import parse_options
from imprint_sweep.grid.choosing import chosen_scheme, overrides
from imprint_sweep.grid.scheme import Scheme
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
        "--max-proxies", type=int, metavar="N", help="the memory budget: proxies of all labels together"
    )
    parser.add_argument("--n-shot", type=int, metavar="N", help="with so many samples per label (default: all of them)")
    parser.add_argument(
        "--oracles", action="store_true", help="let the least-squares gens compete: they see all classes"
    )
    parser.add_argument("--outputs", metavar="DIR", help="the paths.outputs of the runs (default: theirs)")
    given = parse_options(parser, arguments)
    with user_errors():
        found = results.load(outputs_folder(given.outputs))
        if given.where is not None:
            found = subset(found, given.where)
        answer = best(found, given.task, max_proxies=given.max_proxies, n_shot=given.n_shot, oracles=given.oracles)
        print(visible("\n".join(lines(answer, found, given.n_shot))))


def lines(answer: Best, found: results.Results, n_shot: int | None = None) -> list[str]:
    """The answer for the terminal.

    Args:
        answer: which.
        found: the results that it is from.
        n_shot: samples per label; None means all.
    """
    said = [basis(answer.matrix, MAIN_SEEDS if n_shot is None else FEW_SEEDS), *answer.matrix.missing]
    if answer.over_budget:
        said.append(f"Over the budget: {counted(answer.over_budget, 'configuration')} more.")
    return [*said, "", *_table(answer), "", *_verdict(answer), "", f"Run it: {_command(answer, found)}"]


def _table(answer: Best) -> list[str]:
    """The winner, and what the best of every other GEN lacks."""
    head = ("", "proxies", "accuracy", f"rank of {len(answer.ranks):,}", "worse by", "worse on", "p", "after Holm")
    winner = answer.winner
    rows = [
        (
            names.configurations(answer.matrix.configurations.iloc[[winner]])[0],
            f"{answer.proxies[winner]:,}",
            f"{100 * answer.matrix.accuracy[:, winner].mean():.2f} %",
            f"{answer.ranks[winner]:,.1f}",
            *("", "", "", ""),
        )
    ]
    for rival in answer.rivals.to_dict("records"):
        rows.append(
            (
                rival["name"],
                f"{rival['proxies']:,}",
                f"{100 * rival['accuracy']:.2f} %",
                f"{rival['rank']:,.1f}",
                f"{100 * rival['lead']:.2f} %",
                f"{rival['wins']} of {len(answer.matrix.instances)}",
                f"{rival['p']:.2g}",
                f"{rival['adjusted']:.2g}",
            )
        )
    return aligned([head, *rows], right=range(1, len(head)))


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


def _command(answer: Best, found: results.Results) -> str:
    configuration = answer.matrix.configurations.astype(object).iloc[answer.winner]
    known = configuration.where(configuration.notna(), None)
    own = [(name.replace("_", ".", 1), known[name]) for name in parameter_columns(answer.matrix.configurations)]
    scheme = Scheme(
        **{axis: known[axis] for axis in SCHEME},
        seed=answer.matrix.seeds[0],
        weight_decay=None,
        parameters=tuple((key, value) for key, value in own if value is not None),
    )
    return filling.command(overrides(chosen_scheme(scheme)), answer.matrix.instances, found, exactly=True)


if __name__ == "__main__":
    main()
