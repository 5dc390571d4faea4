"""Which schemes are equal by construction: named rules, and the normal form that they lead to (method, last section).

Each rule replaces a scheme by another one with the same result. The normal form is what no rule changes any more, so
the order of the rules does not matter. A rule asks the components and knows no name of theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.imprinting.components import AGGREGATIONS, GENS, METRICS, NORMS, WEIGHTINGS, ClassMetric


@dataclass(frozen=True)
class Context:
    """What a rule may ask beyond the scheme.

    Args:
        n_labels: labels of the task, which bounds the number of proxies.
        zero_proxies: whether a proxy has length zero. Such a proxy stays zero under L2, so its Euclidean distance is no
            function of its cosine. Known only once the proxies are.
    """

    n_labels: int
    zero_proxies: bool = False


@dataclass(frozen=True)
class Rule:
    """One equality.

    Args:
        name: of the rule.
        sentence: the equality in words.
        source: why it holds.
        apply: the equal scheme; the same object where the rule says nothing.
    """

    name: str
    sentence: str
    source: str
    apply: Callable[[Scheme, Context], Scheme]


def _few_samples(s: Scheme, _: Context) -> Scheme:
    if s.max_samples is None or s.max_samples > GENS[s.gen].keeps_whole(s.k):
        return s
    return _by(s, "all")


def _nothing_to_choose(s: Scheme, _: Context) -> Scheme:
    return s.having_k(1) if s.nothing_to_choose else s


def _one_proxy(s: Scheme, _: Context) -> Scheme:
    same = GENS[s.gen].with_one_proxy
    return s if s.k != 1 or same is None else _by(s, same)


def _by(s: Scheme, gen: str) -> Scheme:
    """The scheme computed by another gen that has no k."""
    return s.changed(gen=gen, k=None)


def _nothing_drawn(s: Scheme, _: Context) -> Scheme:
    if s.draws_samples or GENS[s.gen].draws(s.k) or s.seed == 0:
        return s
    return replace(s, seed=0)


def _max_is_nearest(s: Scheme, _: Context) -> Scheme:
    same = AGGREGATIONS[s.agg].same_as
    return s if same is None else s.changed(agg=same[0], m=same[1])


def _one_proxy_each(s: Scheme, _: Context) -> Scheme:
    same = AGGREGATIONS[s.agg].with_one_proxy
    return s if same in (None, s.agg) or s.max_proxies(1) != 1 else s.changed(agg=same)


def _all_vote(s: Scheme, context: Context) -> Scheme:
    most = s.max_proxies(context.n_labels)
    return s if most is None or s.m is None or s.m <= most else replace(s, m=most)


def _all_weighed(s: Scheme, context: Context) -> Scheme:
    same = None if s.weighting is None else WEIGHTINGS[s.weighting].of_all
    if same is None or s.m is None or s.m != s.max_proxies(context.n_labels):
        return s
    return s.changed(agg=same, m=None, weighting=None)


def _single_vote(s: Scheme, _: Context) -> Scheme:
    return s.changed(weighting=None) if s.m == 1 and s.weighting is not None else s


def _blind_choice(s: Scheme, _: Context) -> Scheme:
    pre, post = NORMS[s.norm_pre], NORMS[s.norm_post]
    if isinstance(METRICS[s.metric], ClassMetric):  # which sees the samples before the choice
        return s
    if not (GENS[s.gen].chooses_blindly and pre.scales and pre.unit and post.scales):
        return s
    return s.changed(norm_pre="none", norm_post=s.norm_pre)


def _unit_proxies(s: Scheme, context: Context) -> Scheme:
    metric = METRICS[s.metric]
    same = metric.nearest_on_unit_proxies
    if same is None or s.m != 1 or not NORMS[s.norm_post].unit or (context.zero_proxies and not metric.zero_proxies):
        return s
    return s.changed(metric=same)


def _query_length(s: Scheme, _: Context) -> Scheme:
    metric = METRICS[s.metric]
    ignored = metric.ignores_length or (s.m == 1 and metric.ignores_query_length and not GENS[s.gen].biased)
    if s.norm_inf == "none" or not (ignored and NORMS[s.norm_inf].scales and GENS[s.gen].map_scales):
        return s
    return s.changed(norm_inf="none")


def _proxy_length(s: Scheme, _: Context) -> Scheme:
    if s.norm_post == "none" or not (METRICS[s.metric].ignores_length and NORMS[s.norm_post].scales):
        return s
    return s.changed(norm_post="none")


RULES = (
    Rule(
        "few_samples",
        "Where no more samples are trained on than a gen keeps whole, it computes what gen=all does.",
        "method, section 4: if n_c <= k, a per-class gen returns all n_c embeddings",
        _few_samples,
    ),
    Rule(
        "nothing_to_choose",
        "Where a class has fewer than five samples, or one k is tried, a rule chooses k = 1.",
        "method, section 4",
        _nothing_to_choose,
    ),
    Rule(
        "one_proxy",
        "With k = 1, k-means is the mean and k-least-squares is least squares.",
        "the only cluster holds all samples",
        _one_proxy,
    ),
    Rule(
        "nothing_drawn",
        "Where no samples are drawn, a gen that draws nothing is the same under every seed.",
        "method, section 2: the seed is used for draws alone",
        _nothing_drawn,
    ),
    Rule(
        "max_is_nearest",
        "The largest score is the nearest proxy: max is m-nn with m = 1.",
        "section 3.1 of the paper",
        _max_is_nearest,
    ),
    Rule(
        "one_proxy_each",
        "Where no class has more than one proxy, the log-sum-exp of a class is the score of that proxy, as under max.",
        "T log exp(-d / T) = -d",
        _one_proxy_each,
    ),
    Rule(
        "all_vote",
        "No more proxies vote than there are.",
        "method, section 7: m above the number of proxies means all proxies",
        _all_vote,
    ),
    Rule(
        "all_weighed",
        "Where all proxies vote, the sum of softmax weights of a class grows with its log-sum-exp.",
        "T log sum exp((d_1 - d) / T) = d_1 + T log sum exp(-d / T)",
        _all_weighed,
    ),
    Rule("single_vote", "A single vote wins whatever its weight.", "weights are positive", _single_vote),
    Rule(
        "blind_choice",
        "Where samples are chosen by a rule blind to length, it does not matter whether they are normalised before or "
        "after the choice, unless the metric depends on them.",
        "the rows that are chosen are the same; an L2 norm before makes one afterwards do nothing but rounding",
        _blind_choice,
    ),
    Rule(
        "unit_proxies",
        "Among proxies of length one, the largest inner product and the smallest Euclidean distance are the largest "
        "cosine; the latter unless a proxy is zero.",
        "|q - p|^2 = |q|^2 + 1 - 2 q.p, and q.p = |q| cos(q, p)",
        _unit_proxies,
    ),
    Rule(
        "query_length",
        "The length of a query changes neither which inner product is the largest, if no proxy has a bias, nor any "
        "cosine; nor does it where a gen's map of queries takes a multiple to the multiple.",
        "method, section 6",
        _query_length,
    ),
    Rule(
        "proxy_length",
        "The length of a proxy changes no cosine.",
        "definition of the cosine",
        _proxy_length,
    ),
)


@lru_cache(maxsize=200_000)
def normal_form(scheme: Scheme, n_labels: int, *, zero_proxies: bool = False) -> Scheme:
    """The representative of all schemes that are equal to this one by construction.

    Not always a scheme that a user could ask for: 1-nn stands for ``max``, also with inner products.

    Args:
        scheme: any scheme.
        n_labels: number of labels of the task.
        zero_proxies: see :class:`Context`.
    """
    context = Context(n_labels, zero_proxies)
    before = None
    while scheme is not before:
        before = scheme
        for rule in RULES:
            scheme = rule.apply(scheme, context)
    return scheme
