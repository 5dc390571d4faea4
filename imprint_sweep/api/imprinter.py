"""The estimator: weight imprinting as a scikit-learn classifier.

It calls the components that the engine calls, on the normal form of what is asked for, so with the keys of a cell's
labels it predicts what the cell does.
"""

from __future__ import annotations

import numbers
import reprlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from operator import index
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from imprint_sweep import __version__
from imprint_sweep.api.head_file import HeadFile
from imprint_sweep.api.keywords import advising
from imprint_sweep.api.labels import in_order, listed, position, read_labels, with_label, without
from imprint_sweep.errors import ConfigError, ImprinterError, ImprintError, one_line
from imprint_sweep.grid.cell import component_versions, stage_seed
from imprint_sweep.grid.equalities import normal_form
from imprint_sweep.grid.keys import GenSpec, Readout
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.imprinting import n_shot
from imprint_sweep.imprinting.agg import voting
from imprint_sweep.imprinting.agg.comparison import Comparison, ComparisonByClass, compared
from imprint_sweep.imprinting.alone import Alone
from imprint_sweep.imprinting.choosing_k import CV_1SE, MAX_K
from imprint_sweep.imprinting.components import (
    AGGREGATIONS,
    GENS,
    METRICS,
    NORMS,
    WEIGHTINGS,
    Additive,
    ClassMetric,
    ClassScore,
    Position,
    QueryMap,
    Rows,
    SequentialNorm,
    Setting,
    Statistics,
)
from imprint_sweep.imprinting.generation import (
    class_proxies,
    joint_proxies,
    normalised,
    training_samples,
    without_biases,
)
from imprint_sweep.imprinting.keyed_labels import Key, key_of
from imprint_sweep.imprinting.one_core import one_core
from imprint_sweep.imprinting.sums import Sums
from imprint_sweep.imprinting.tensors import to_array

if TYPE_CHECKING:
    import torch

    from imprint_sweep.imprinting.head import Head

_OF_MAP = "query_map."
"""Before the names of a map's arrays in a file."""

_NAMES = {
    "agg.metric": "metric",
    "agg.m ": "m ",
    "agg.m=": "m=",
    "agg.weighting": "weighting",
    "model.weight_decay": "weight_decay",
    "select.rule": "select",
    "select.max_k": "max_k",
    "=null": "=None",
    **{f"norm.{position}": f"norm_{position}" for position in Position},
}
"""What the command line calls a parameter, and what it is called here."""

_OF_CLASSES = "of_classes."
"""How the names of arrays begin that hold what a metric knows of each class."""


@dataclass(frozen=True, eq=False)
class Imprinted:
    """Everything that predictions are made from.

    Args:
        scheme: what was asked for.
        readout: everything after GEN, in the normal form: it decides.
        generated: the proxies of each class before NORM_post, (k_c, d) float32; with biases d + 1 columns.
        proxies: all of them after NORM_post, (p, d) float32.
        biases: (p,) float32, of a gen whose proxies have some.
        known: what the metric knows of each class; nothing of any where it does not depend on the class.
        labels: (p,) int32 position of each proxy's class.
        query_map: of queries after NORM_inf; None where they are compared as they are.
        sums: what an additive gen needs of the samples; None for others, and where the classifier is from a file.
        decides: the comparison that decides.
        shown: the comparison in the terms of what was asked for.
    """

    scheme: Scheme
    readout: Readout
    generated: tuple[Rows, ...]
    proxies: Rows
    biases: NDArray[np.float32] | None
    known: tuple[Statistics, ...]
    labels: NDArray[np.int32]
    query_map: QueryMap | None
    sums: Sums | None
    decides: Comparison | ComparisonByClass
    shown: Comparison | ComparisonByClass

    @classmethod
    def of(
        cls,
        scheme: Scheme,
        generated: Sequence[Rows],
        known: Sequence[Statistics],
        query_map: QueryMap | None,
        sums: Sums | None = None,
    ) -> Imprinted:
        """Apply NORM_post and fit the metric."""
        zero = not all(rows.any(axis=1).all() for rows in generated)
        form = normal_form(scheme, len(generated), zero_proxies=zero)
        readout = Readout.of(form)
        # Where a choice is blind to length, the normal form normalises after it: once, as twice is rounding alone.
        post = scheme.setting("norm_post" if form.norm_pre == scheme.norm_pre else "norm_pre")
        metric = scheme.setting("metric")
        plain, of_class = zip(
            *(without_biases(rows, biased=GENS[scheme.gen].biased) for rows in generated), strict=True
        )
        biases = np.concatenate(of_class) if GENS[scheme.gen].biased else None
        sizes, proxies = [len(rows) for rows in generated], _after(post, plain)
        shown = decides = compared(metric, proxies, sizes, known, biases)
        if (readout.metric, readout.norm_post) != (metric, post):
            decides = compared(readout.metric, _after(readout.norm_post, plain), sizes, known, biases)
        labels = np.repeat(np.arange(len(generated), dtype=np.int32), sizes)
        found = tuple(generated), proxies, biases, tuple(known), labels, query_map, sums
        return cls(scheme, readout, *found, decides, shown)

    @property
    def nbytes(self) -> int:
        """Bytes of the proxies and biases, of what the metric knows of the classes, and of the map of queries."""
        of_classes = sum(array.nbytes for of_class in self.known for array in of_class.values())
        of_map = 0 if self.query_map is None else sum(array.nbytes for array in self.query_map.arrays().values())
        return self.proxies.nbytes + (0 if self.biases is None else self.biases.nbytes) + of_classes + of_map

    @property
    def chosen(self) -> dict[str, Any]:
        """What the sums were made with in the place of a rule."""
        own = () if self.sums is None else self.sums.variant.parameters
        named = {f"gen.{name}": value for name, value in own}
        return {name: value for name, value in named.items() if value != self.scheme.parameter(name)}

    @property
    def sizes(self) -> list[int]:
        """Proxies of each class."""
        return [len(rows) for rows in self.generated]

    def queries(self, x: Rows, norm_inf: Setting) -> Rows:
        """What is compared with proxies: rows after NORM_inf and the map."""
        rows = normalised(x, norm_inf, Position.INF)
        return rows if self.query_map is None else self.query_map.transform(rows)

    def distances(self, x: Rows, m: int) -> NDArray[np.float64]:
        """The distances from the m nearest proxies, (n, m), or from all, in the terms of what was asked for."""
        return self.shown.nearest(self.queries(x, self.scheme.setting("norm_inf")), m).distance

    def predict(self, x: Rows) -> NDArray[np.int32]:
        """The position of the class of each row, (n,)."""
        m, weighting = self.readout.m, self.readout.weighting
        queries = self.queries(x, self.readout.norm_inf)
        aggregation = AGGREGATIONS[self.readout.agg]
        if isinstance(aggregation, ClassScore):
            return self.decides.highest(queries, self.sizes, aggregation)
        found = self.decides.nearest(queries, m, distances=m > 1)
        ballots = [(m, WEIGHTINGS[weighting] if weighting else None)]
        predicted: NDArray[np.int32]
        (predicted,) = voting.votes(self.labels[found.position], found.distance, ballots, len(self.generated))
        return predicted

    def scores(self, x: Rows) -> NDArray[np.float64]:
        """The score of each class, (n, C); its largest, the first of equal ones, is what :meth:`predict` says."""
        scheme = self.scheme
        queries = self.queries(x, scheme.setting("norm_inf"))
        aggregation = AGGREGATIONS[scheme.setting("agg")]
        if isinstance(aggregation, ClassScore):
            scores = self.shown.scores(queries, self.sizes, aggregation)
        else:
            assert scheme.m is not None
            found = self.shown.nearest(queries, scheme.m)
            weighting = WEIGHTINGS[scheme.setting("weighting")]
            scores = voting.tally(self.labels[found.position], found.distance, weighting, len(self.generated))
        # The normal form has the same order but for rounding, and it decides.
        predicted = self.predict(x)
        other = np.flatnonzero(scores.argmax(axis=1) != predicted)
        scores[other, predicted[other]] = np.nextafter(scores[other].max(axis=1), np.inf)
        return scores


def _adds_samples(clf: Imprinter) -> bool:
    """Whether gen and metric need sums alone; unknown parameters are told by whoever uses them."""
    try:
        form = normal_form(clf._scheme(), 1)
    except (ImprinterError, TypeError):
        return False
    return isinstance(GENS[form.gen], Additive) and not isinstance(METRICS[form.metric], ClassMetric)


class Imprinter(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose weights are set from samples, without a gradient step (section 3.1 of the paper).

    GEN turns the samples of each class into proxies, NORM normalises them, AGG compares queries with them. So classes
    can be added and removed without the samples of the others.

    Args:
        gen: makes the proxies: all, mean, random, kmeans, kmedoids, cov_max, fps, least_squares, k_least_squares, lda,
            ranpac, logistic, or one of another package.
        k: proxies per class; without meaning for some gens. None where `select` chooses it. The usual LDA is gen="lda"
            with k=1, which has one weight vector per class.
        norm: l2, none or quantile, at each position where it has a meaning: for quantile that is after GEN.
        norm_pre: of the samples before GEN: none or l2. Given, it wins over `norm`, as do the next two.
        norm_post: of the proxies: none, l2 or quantile.
        norm_inf: of the queries: none or l2.
        agg: max, the class of the nearest proxy; mnn, in which the m nearest vote; or lse, the class with the largest
            log-sum-exp over its proxies.
        m: how many vote under mnn.
        metric: inner_product, cosine, euclidean, manhattan, mahalanobis or class_mahalanobis; None is euclidean under
            mnn, and inner_product otherwise.
        weighting: of the votes under mnn: inverse_distance, uniform or softmax.
        weight_decay: lambda of the two least-squares gens.
        seed: of the draws. They are keyed by class, so no draw depends on the other classes or on the global state.
        n_shot: samples drawn of each class before anything else; None takes all.
        classes: the labels in the order of imprinting, on which quantile and ties depend; None sorts them.
        parameters: a component's own parameters by their names on the command line, such as
            ``{"agg.temperature": 0.05}``, which softmax and lse have.
        select: the rule that chooses k for each class: bic, for kmeans. Among given k, scikit-learn's GridSearchCV
            chooses one for all classes.
        max_k: the largest k that the rule tries.

    Attributes:
        classes_: (C,) labels in the order of imprinting.
        proxies_: (p, d) float32 after NORM_post, class after class; d is the width of the map, if the gen has one.
        biases_: (p,) float32, what is added to the inner products with each proxy; None where the gen has no biases.
        proxy_labels_: (p,) the label of each proxy.
        keys_: for each class what its draws are keyed by: the label as a text, or the (dataset, class) parts that a
            :class:`~imprint_sweep.imprinting.keyed_labels.KeyedLabels` brought.
        chosen_: the values that held-out samples chose for parameters of a gen that needs sums alone, as in
            ``{"gen.ridge": 100.0}`` for ranpac; empty where nothing was to be chosen, and in a classifier from a file.
        query_map_: the map that queries go through after NORM_inf; None for gens without one.
        nbytes_: bytes of the proxies and biases, of what a metric knows of each class, and of the map.
        provenance_: where the samples come from, as far as it is known; see :meth:`save`.
        n_features_in_: d.
        feature_names_in_: (d,) names of the columns, if `X` had any.

    >>> X, y = [[0.0, 1.0], [0.1, 0.9], [1.0, 0.0]], ["cat", "cat", "dog"]
    >>> clf = Imprinter(gen="mean").fit(X, y).add_class([[-1.0, -1.0]], "penguin")
    >>> clf.predict([[0.2, 0.7], [-2.0, -1.0]]).tolist()
    ['cat', 'penguin']
    """

    @advising("Imprinter")
    def __init__(
        self,
        gen: str = "kmeans",
        k: int | None = 20,
        norm: str = "l2",
        norm_pre: str | None = None,
        norm_post: str | None = None,
        norm_inf: str | None = None,
        agg: str = "max",
        m: int = 5,
        metric: str | None = None,
        weighting: str = "inverse_distance",
        weight_decay: float = 0.1,
        seed: int = 0,
        n_shot: int | None = None,
        classes: Sequence[Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        select: str | None = None,
        max_k: int = MAX_K,
    ) -> None:
        self.gen = gen
        self.k = k
        self.norm = norm
        self.norm_pre = norm_pre
        self.norm_post = norm_post
        self.norm_inf = norm_inf
        self.agg = agg
        self.m = m
        self.metric = metric
        self.weighting = weighting
        self.weight_decay = weight_decay
        self.seed = seed
        self.n_shot = n_shot
        self.classes = classes
        self.parameters = parameters
        self.select = select
        self.max_k = max_k

    # --- fitting ------------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any) -> Self:
        """Imprint every class.

        Args:
            X: (n, d) numbers, finite in float32: an array, a list, a data frame, or a torch tensor on any device.
            y: (n,) labels of one kind, none of them missing: whole numbers, texts or booleans.

        Raises:
            ValueError, ImprinterError: a parameter, `X` or `y` is not what it should be.
            StageError: a stage cannot be computed on these samples.
        """
        scheme = self._scheme()
        keys: Mapping[Any, Key] = getattr(y, "imprint_keys", {})
        x, y = self._validated(X, y=read_labels(y))
        check_classification_targets(y)
        classes, positions = in_order(y, self.classes)
        of_class = [key_of(keys, label) for label in classes]
        rows = [x[positions == c] for c in range(len(classes))]
        with _one_core(scheme):
            imprinted = Imprinted.of(scheme, *_generated(scheme, rows, of_class))
        self._known_keys = dict(keys)
        self._set(classes, of_class, imprinted, {})
        return self

    def add_class(self, X: Any, label: Any, *, key: Key | None = None) -> Self:
        """Imprint one more class, after the others; no sample of theirs is needed.

        The result is that of :meth:`fit` with the same parameters and ``classes=`` in this order, bit for bit. Of gens
        that see all classes at once, those that need sums alone can do it (least_squares, k_least_squares, lda,
        ranpac): these sums are kept, though not in files. A value that :meth:`fit` chose by held-out samples is kept,
        too, and is in ``chosen_``: the result is then that of :meth:`fit` with this value.

        Args:
            X: (n, d) its samples.
            label: of the same kind as the others, and not among them.
            key: its (dataset, class) parts, if the draws are to be those of a cell and the labels of :meth:`fit` did
                not bring them.
        """
        check_is_fitted(self)
        imprinted = self._imprinted
        if imprinted.sums is None:
            self._check_separate("added")
        classes = with_label(self.classes_, label)
        x = self._validated(X, reset=False)
        of_class = key_of(self._known_keys, classes[-1]) if key is None else _given_key(key)
        with _one_core(imprinted.scheme):
            rows, known, query_map, sums = _generated(imprinted.scheme, [x], [of_class], imprinted.sums)
            if imprinted.sums is None:
                rows, sums = [*imprinted.generated, *rows], None
            changed = Imprinted.of(imprinted.scheme, rows, [*imprinted.known, *known], query_map, sums)
        self._set(classes, [*self.keys_, of_class], changed, self._changed())
        return self

    @available_if(_adds_samples)
    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """Add samples, to classes that are there and as new ones: mean, least_squares, lda and ranpac need sums alone.

        The result is that of :meth:`fit` on all samples to rounding, and bit for bit where all labels are new ones:
        those come after the others, in their own order. What the first samples have chosen is kept, as for
        :meth:`add_class`.

        Args:
            X: (n, d) samples.
            y: (n,) their labels, as for :meth:`fit`.
            classes: all labels that will ever come, as scikit-learn passes them; only checked. A class without samples
                has no proxies yet.

        Raises:
            ValueError, ImprinterError: as for :meth:`fit`; or a classifier from a file, which has no sums.
            StageError: a class cannot have more samples: gen.shrinkage=ledoit_wolf, or clusters within it.
        """
        if self.n_shot is not None:
            raise ImprinterError("partial_fit: n_shot draws from all samples of a class at once; use n_shot=None")
        keys: Mapping[Any, Key] = getattr(y, "imprint_keys", {})
        labels = read_labels(y)
        if classes is not None and (
            others := sorted(set(np.unique(labels).tolist()) - set(np.asarray(classes).tolist()))
        ):
            raise ImprinterError(f"partial_fit: y has {others[0]!r}, which is none of classes")
        if not hasattr(self, "classes_"):
            return self.fit(X, y)
        imprinted = self._imprinted
        if imprinted.sums is None:
            raise ImprinterError("partial_fit: a classifier from a file has no sums of its samples; call fit with them")
        x, labels = self._validated(X, y=labels, reset=False)
        check_classification_targets(labels)
        found, positions = in_order(labels, None)
        of_all, of_keys, known = self.classes_, list(self.keys_), {**self._known_keys, **keys}
        sums = imprinted.sums
        with _one_core(imprinted.scheme):
            for c, label in enumerate(found.tolist()):
                place = position(of_all, label)
                of_class = key_of(known, label) if place is None else of_keys[place]
                _, (given,) = _given(imprinted.scheme, [x[positions == c]], [of_class])
                if place is None:
                    of_all, sums = with_label(of_all, label), sums.with_classes([given])
                    of_keys.append(of_class)
                else:
                    sums = sums.with_samples(place, given)
            changed = Imprinted.of(imprinted.scheme, sums.proxies(), (), imprinted.query_map, sums)
        self._known_keys = known
        self._set(of_all, of_keys, changed, self._changed())
        return self

    def remove_class(self, label: Any) -> Self:
        """Forget a class: the result is that of :meth:`fit` without it, bit for bit.

        Args:
            label: one of ``classes_``, but not the only one.
        """
        check_is_fitted(self)
        self._check_separate("removed")
        gone = position(self.classes_, label)
        if gone is None:
            raise ImprinterError(
                f"there is no class {reprlib.repr(label)} to remove; the classes are {listed(self.classes_)}"
            )
        if len(self.classes_) == 1:
            raise ImprinterError(f"{label!r} is the only class: a classifier needs one")
        imprinted = self._imprinted
        rest = [c for c in range(len(self.classes_)) if c != gone]
        known = [imprinted.known[c] for c in rest if imprinted.known]
        with _one_core(imprinted.scheme):
            generated = [imprinted.generated[c] for c in rest]
            sums = None if imprinted.sums is None else imprinted.sums.of_some(rest)
            changed = Imprinted.of(imprinted.scheme, generated, known, imprinted.query_map, sums)
        self._set(without(self.classes_, gone), [self.keys_[c] for c in rest], changed, self._changed())
        return self

    # --- using --------------------------------------------------------------------------------------------------------

    def predict(self, X: Any) -> NDArray[Any]:
        """The label of each row, (n,).

        Args:
            X: (n, d) numbers, finite in float32.
        """
        check_is_fitted(self)
        labels: NDArray[Any] = self.classes_[self._imprinted.predict(self._validated(X, reset=False))]
        return labels

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """The scores of the classes; larger is better.

        Under max the best score of each class: the inner product, or minus the distance, to its nearest proxy. Under
        mnn its votes, under lse its log-sum-exp. The first of the largest is what :meth:`predict` says.

        Args:
            X: (n, d) numbers, finite in float32.

        Returns:
            (n, C) float64 in the order of ``classes_``; for two classes (n,), the second's score minus the first's.
        """
        check_is_fitted(self)
        scores = self._imprinted.scores(self._validated(X, reset=False))
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    # --- taking it elsewhere ------------------------------------------------------------------------------------------

    def to_torch(self) -> Head:
        """The classifier as a torch module: (b, d) embeddings to (b, C) scores in the order of ``classes_``.

        It computes :meth:`decision_function` (but has two columns for two classes) in float32, so a prediction may be
        another one where scores are equal to rounding. Mahalanobis distances, of which float32 can tell little apart,
        it computes and returns in float64.

        Raises:
            ImprinterError: a component of another package that has no form for tensors.
        """
        check_is_fitted(self)
        from imprint_sweep.imprinting.head import Head

        scheme, imprinted = self._imprinted.scheme, self._imprinted
        try:
            return Head(
                norm_inf=scheme.setting("norm_inf"),
                metric=scheme.setting("metric"),
                proxies=imprinted.proxies,
                biases=imprinted.biases,
                sizes=imprinted.sizes,
                of_classes=imprinted.known,
                agg=scheme.setting("agg"),
                query_map=imprinted.query_map,
                m=scheme.m,
                weighting=scheme.setting("weighting") if scheme.weighting else None,
            )
        except NotImplementedError as error:
            raise ImprinterError(str(error)) from error

    def to_linear(self) -> torch.nn.Linear:
        """The classifier as a linear layer, where each class has one proxy, compared by inner products.

        NORM_post is part of the weights, float32. Without biases, a NORM_inf that scales queries is left out: the
        layer's scores are those of the query as it is, and their largest is that of the same class.

        Raises:
            ImprinterError: it is no linear layer, with the reason.
        """
        check_is_fitted(self)
        import torch

        scheme, imprinted = self._imprinted.scheme, self._imprinted
        of_one = AGGREGATIONS[scheme.agg].with_one_proxy
        if of_one is None or scheme.metric != "inner_product":
            raise ImprinterError(
                f"agg={scheme.agg} metric={scheme.metric} is no linear layer; agg=max metric=inner_product is (with "
                "norm_post=l2 it predicts what cosines do), or use to_torch"
            )
        if most := max(imprinted.sizes) - 1:
            raise ImprinterError(
                f"a linear layer has one weight vector per class, and here a class has {most + 1}; use gen=mean, or "
                "to_torch"
            )
        if imprinted.query_map is not None:
            raise ImprinterError(f"gen={scheme.gen} maps queries before they are compared; use to_torch")
        if not NORMS[scheme.norm_inf].scales:
            raise ImprinterError(f"norm_inf={scheme.norm_inf} is no scaling of queries; use to_torch")
        if imprinted.biases is not None and scheme.norm_inf != "none":
            raise ImprinterError(
                f"norm_inf={scheme.norm_inf} scales queries, and the biases of gen={scheme.gen} do not follow; use "
                "norm_inf=none, or to_torch"
            )
        p, d = imprinted.proxies.shape
        layer = torch.nn.Linear(d, p, bias=imprinted.biases is not None)
        layer.weight.data = torch.from_numpy(imprinted.proxies.copy())
        if imprinted.biases is not None:
            layer.bias.data = torch.from_numpy(imprinted.biases.copy())
        return layer.requires_grad_(False)

    def save(self, path: str | PathLike[str], *, provenance: Mapping[str, Any] | None = None) -> None:
        """Write the fitted classifier to a safetensors file.

        The file holds ``proxies`` (p, d) float32 after NORM_post, ``labels`` (p,) int64 positions in the list of
        classes, ``biases`` (p,) float32, where there are some, ``generated`` (p, d), the proxies before NORM_post,
        where they are others, ``of_classes.NAME``, what a metric knows of each class, the arrays of the map of queries,
        where the gen has one (``query_map.projection``, float32), and as metadata the parameters, the classes, versions
        and provenance.

        Args:
            path: where; an older file there is replaced.
            provenance: what else it should say of where it comes from, as JSON has it.

        Raises:
            ImprinterError: the file cannot be written, or holds a parameter that is no JSON.
        """
        check_is_fitted(self)
        if not isinstance(provenance, Mapping | None):
            raise ImprinterError(f"provenance: expected a mapping such as {{'run': 7}}, got {provenance!r}")
        imprinted = self._imprinted
        arrays: dict[str, NDArray[Any]] = {"proxies": imprinted.proxies, "labels": imprinted.labels.astype(np.int64)}
        generated = np.concatenate(imprinted.generated)
        if imprinted.biases is not None:
            arrays["biases"] = imprinted.biases
        elif not np.array_equal(generated, imprinted.proxies):
            arrays["generated"] = generated
        for name in imprinted.known[0] if imprinted.known else ():
            arrays[f"{_OF_CLASSES}{name}"] = np.stack([of_class[name] for of_class in imprinted.known])
        if imprinted.query_map is not None:
            arrays |= {_OF_MAP + name: array for name, array in imprinted.query_map.arrays().items()}
        about = {
            "parameters": _json(self.get_params()),
            "scheme": asdict(imprinted.scheme),
            "classes": {"dtype": self.classes_.dtype.str, "values": self.classes_.tolist()},
            "keys": self.keys_,
            "known_keys": list(self._known_keys.items()),
            "features": self.n_features_in_,
            "feature_names": getattr(self, "feature_names_in_", np.array([])).tolist(),
            "versions": {"imprint_sweep": __version__, "numpy": np.__version__, "scikit-learn": sklearn.__version__},
            "component_versions": component_versions(imprinted.scheme, len(self.classes_)),
            "provenance": _json({**self.provenance_, **(provenance or {})}),
        }
        HeadFile(arrays, about).write(Path(path))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """The fitted classifier of a file that :meth:`save` wrote.

        Raises:
            ImprinterError: there is no such file, it is damaged, or it is another kind of file.
        """
        file = HeadFile.read(Path(path))
        try:
            return cls._from_file(file)
        except (LookupError, TypeError, ValueError, ImprintError) as error:
            raise ImprinterError(f"cannot load {path}: {one_line(error)}") from error

    @classmethod
    def _from_file(cls, file: HeadFile) -> Self:
        about = file.about
        scheme = Scheme.create(**about["scheme"])
        classes = np.array(about["classes"]["values"], dtype=about["classes"]["dtype"])
        keys = [key if isinstance(key, str) else _parts(key) for key in about["keys"]]
        generated = file.arrays.get("generated", file.arrays["proxies"])
        n_features = generated.shape[1]
        if "biases" in file.arrays:
            generated = np.column_stack([generated, file.arrays["biases"]])
        of_classes = {
            name.removeprefix(_OF_CLASSES): stacked
            for name, stacked in file.arrays.items()
            if name.startswith(_OF_CLASSES)
        }
        known = [{name: stacked[c] for name, stacked in of_classes.items()} for c in range(len(classes)) if of_classes]
        stops = np.cumsum(np.bincount(file.arrays["labels"], minlength=len(classes)))[:-1]
        clf = cls(**about["parameters"])
        clf.n_features_in_ = about.get("features", n_features)  # older files have no map
        if about["feature_names"]:
            clf.feature_names_in_ = np.array(about["feature_names"], dtype=object)
        of_map = {name.removeprefix(_OF_MAP): file.arrays[name] for name in file.arrays if name.startswith(_OF_MAP)}
        query_map = GENS[scheme.gen].stored_map(of_map) if of_map else None
        with _one_core(scheme):
            imprinted = Imprinted.of(scheme, np.split(generated, stops), known, query_map)
        clf._known_keys = {label: _parts(key) for label, key in about["known_keys"]}
        clf._set(classes, keys, imprinted, about["provenance"])
        return clf

    # --- within -------------------------------------------------------------------------------------------------------

    def _set(
        self,
        classes: NDArray[Any],
        keys: Sequence[Key | str],
        imprinted: Imprinted,
        provenance: Mapping[str, Any],
    ) -> None:
        self.classes_, self.keys_ = classes, tuple(keys)
        self._imprinted, self.provenance_ = imprinted, dict(provenance)
        self.proxies_, self.proxy_labels_ = imprinted.proxies, classes[imprinted.labels]
        self.biases_, self.query_map_, self.nbytes_ = imprinted.biases, imprinted.query_map, imprinted.nbytes
        self.chosen_ = imprinted.chosen

    def _holding(self, samples: Sequence[Rows]) -> Self:
        """Fitted with samples of each class, (k_c, d), in the place of proxies: what a query costs is that of proxies.

        A gen that biases them adds zeros to their products.
        """
        scheme = self._scheme()
        spec, classes = _given(scheme, samples, [str(c) for c in range(len(samples))])
        rows = [given.samples for given in classes]
        metric, query_map = METRICS[scheme.setting("metric")], GENS[spec.gen].query_map(rows[0].shape[1], spec.variant)
        known = [metric.statistics(given) for given in classes] if isinstance(metric, ClassMetric) else []
        if query_map is not None:
            rows = [query_map.transform(of_class) for of_class in rows]
        if GENS[spec.gen].biased:
            rows = [np.pad(of_class, ((0, 0), (0, 1))) for of_class in rows]
        with _one_core(scheme):
            imprinted = Imprinted.of(scheme, rows, known, query_map)
        self.n_features_in_ = samples[0].shape[1]
        self._set(np.arange(len(samples)), [str(c) for c in range(len(samples))], imprinted, {})
        return self

    def _changed(self) -> dict[str, Any]:
        """Where the classifier comes from, once its classes are others."""
        return {**self.provenance_, "classes_changed": True} if self.provenance_ else {}

    def _validated(self, X: Any, **how: Any) -> Any:
        """X as (n, d) float32, C-contiguous; `how` as for scikit-learn's ``validate_data``."""
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused for that
            return validate_data(self, to_array(X), dtype=np.float32, order="C", **how)

    def _check_separate(self, done: str) -> None:
        gen = self._imprinted.scheme.gen
        if GENS[gen].joint:
            raise ImprinterError(
                f"gen={gen} makes the proxies of a class from the samples of all classes, so no class can be {done} by "
                "itself; call fit with the samples of all of them"
            )

    def _scheme(self) -> Scheme:
        """The parameters, checked."""
        if not isinstance(self.parameters, Mapping | None):
            raise ImprinterError(f"parameters: expected a mapping such as {{'gen.trim': 0.1}}, got {self.parameters!r}")
        agg = _word("agg", self.agg)
        if self.select == CV_1SE:
            raise ImprinterError(
                f"select={CV_1SE} chooses k by cells of a sweep that are tested on held-out samples; here use "
                'GridSearchCV(Imprinter(), {"k": [1, 5, 20]}), or select=bic'
            )
        gen = _word("gen", self.gen)
        if self.k is None and self.select is None and gen in GENS and GENS[gen].takes_k:
            choosing = "".join(f", or select={rule}, which chooses it" for rule in GENS[gen].rules)
            raise ImprinterError(f"k is missing: gen={gen} needs it; write k=20{choosing}")
        try:
            metric = AGGREGATIONS[agg].usual_metric if self.metric is None else _word("metric", self.metric)
            return Scheme.create(
                gen=gen,
                k=_optional(_whole, "k", self.k),
                n_shot=_optional(_whole, "n_shot", self.n_shot),
                norm_pre=self._norm(Position.PRE),
                norm_post=self._norm(Position.POST),
                norm_inf=self._norm(Position.INF),
                agg=agg,
                metric=metric,
                m=_optional(_whole, "m", self.m),
                weighting=_optional(_word, "weighting", self.weighting),
                seed=_whole("seed", self.seed),
                weight_decay=_optional(_number, "weight_decay", self.weight_decay),
                select_rule=_optional(_word, "select", self.select),
                select_max_k=_whole("max_k", self.max_k),
                parameters=self.parameters or {},
            )
        except ConfigError as error:
            message = str(error)
            for theirs, ours in _NAMES.items():
                message = message.replace(theirs, ours)
            raise ImprinterError(message) from error

    def _norm(self, position: Position) -> str:
        own = getattr(self, f"norm_{position}")
        if own is not None:
            return _word(f"norm_{position}", own)
        norm = _word("norm", self.norm)
        return "none" if norm in NORMS and position not in NORMS[norm].positions else norm


def _given_key(key: Any) -> Key:
    try:
        if parts := _parts(key):
            return parts
    except (TypeError, ValueError):
        pass
    raise ImprinterError(f"key: expected (dataset, class) parts such as (('digits', 3),), got {key!r}")


def _parts(key: Sequence[Sequence[Any]]) -> Key:
    """The (dataset, class) parts of a label as JSON has them."""
    return tuple((str(dataset), index(number)) for dataset, number in key)


def _one_core(scheme: Scheme) -> AbstractContextManager[None]:
    return one_core([GENS[scheme.gen], METRICS[scheme.metric]])


def _given(scheme: Scheme, samples: Sequence[Rows], keys: Sequence[Key | str]) -> tuple[GenSpec, list[Alone]]:
    """What a gen is asked for, and what it is given of classes."""
    spec = GenSpec.of(normal_form(scheme, len(samples)))

    def class_of(x: Rows, key: Key | str) -> Alone:
        def rng(stage: str, seed: int) -> np.random.Generator:
            return np.random.default_rng(stage_seed(stage, seed, key))

        shots = spec.draw.n_shot
        drawn = n_shot.draw(len(x), shots, rng("n_shot", spec.draw.seed)) if shots else None
        return Alone(training_samples(x, drawn, spec.draw.norm_pre), rng)

    return spec, [class_of(x, key) for x, key in zip(samples, keys, strict=True)]


def _generated(
    scheme: Scheme, samples: Sequence[Rows], keys: Sequence[Key | str], before: Sums | None = None
) -> tuple[list[Rows], list[Statistics], QueryMap | None, Sums | None]:
    """The proxies of classes before NORM_post, what the metric knows of them, the map of queries, and the gen's sums.

    The proxies of each class are as the gen returns them. Sums are those of additive gens.

    Args:
        scheme: what is asked for.
        samples, keys: of each class.
        before: the sums of classes that come before these; then all of their proxies are returned, too.
    """
    spec, classes = _given(scheme, samples, keys)
    metric = METRICS[scheme.setting("metric")]
    known = [metric.statistics(given) for given in classes] if isinstance(metric, ClassMetric) else []
    query_map = GENS[spec.gen].query_map(samples[0].shape[1], spec.variant)
    if isinstance(GENS[spec.gen], Additive):
        first = Sums(spec.gen, spec.variant, samples[0].shape[1])
        sums = first.with_classes(classes).settled() if before is None else before.with_classes(classes)
        return sums.proxies(), known, query_map, sums
    if spec.joint:
        return joint_proxies(spec.gen, classes, classes[0], spec.variant), known, query_map, None
    return [class_proxies(spec.gen, given, spec.variant) for given in classes], known, query_map, None


def _after(norm_post: Setting, generated: Sequence[Rows]) -> Rows:
    """All proxies after NORM_post, (p, d) float32."""
    norm = NORMS[norm_post]
    if isinstance(norm, SequentialNorm):
        return np.concatenate(norm.imprint(generated))
    return normalised(np.concatenate(generated), norm_post, Position.POST)


def _json(value: Any) -> Any:
    """A parameter as JSON has it: arrays as lists, NumPy's numbers as Python's."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    return [_json(item) for item in value] if isinstance(value, list | tuple) else value


def _optional(check: Callable[[str, Any], Any], name: str, value: Any) -> Any:
    return None if value is None else check(name, value)


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ImprinterError(f"{name}: expected a whole number, got {value!r}")
    return int(value)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ImprinterError(f"{name}: expected a number, got {value!r}")
    return float(value)


def _word(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ImprinterError(f"{name}: expected a name, got {value!r}")
    return value
