"""Made-up figures of every kind that the paper has, and harder ones, to draw and to look at."""

from __future__ import annotations

import numpy as np

from imprint_sweep.analysis.artefact import Chart, Figure, Floats, Panel, RankDiagram, Series

MODELS = ("resnet18", "resnet50", "vit_b_16", "swin_b")
DATASETS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "cifar10": "CIFAR-10", "combi_digits": "CombiDigits"}
LONG = "k_least_squares k=20, none/quantile/none, mnn m=20 mahalanobis inverse_distance"


def fig2() -> RankDiagram:
    """The five methods with the published ranks."""
    labels = ("Qi et al. 2018", "Hosoda et al. 2024", "Janson et al. 2022", "Ours (the paper's)", "Oracle")
    return RankDiagram("fig2", "Five methods", labels, np.array([3.667, 4.271, 3.917, 2.0, 1.0]), ())


def fig5() -> RankDiagram:
    gens = ("kmeans", "kmedoids", "mean", "cov_max", "random", "fps")
    labels = tuple(gen if gen == "mean" else f"{gen} (k = 20)" for gen in gens)
    ranks = np.array([1.05, 2.9, 2.95, 3.9, 4.4, 5.8])
    return RankDiagram("fig5", "GEN", labels, ranks, ((1, 2),), tuple(f"gen:{gen}" for gen in gens))


def fig8() -> RankDiagram:
    """Two bars, with the published ranks."""
    ranks = np.array([4.354, 3.958, 2.479, 2.313, 1.542])
    return RankDiagram("fig8", "AGG", ("50-nn", "max = 1-nn", "20-nn", "3-nn", "5-nn"), ranks, ((0, 1), (2, 3)))


def ranks_of(k: int, label: str = "configuration {}", tied: bool = False, name: str = "ranks") -> RankDiagram:
    """k configurations with a clique of every four neighbours; tied: all ranks equal."""
    rng = np.random.default_rng(k)
    ranks = np.full(k, (k + 1) / 2) if tied else np.sort(rng.uniform(1, k, k))
    cliques = tuple(tuple(range(i, min(i + 4, k))) for i in range(0, k - 1, 2))
    return RankDiagram(name, "A title", tuple(label.format(i) for i in range(k)), ranks, cliques)


def scattered_cliques() -> RankDiagram:
    """B is between A and C in rank, and not in their clique."""
    ranks = np.array([1.3, 2.2, 2.7, 3.8])
    return RankDiagram("scattered", "A title", ("A", "B", "C", "D"), ranks, ((0, 2), (1, 2), (2, 3)))


def saturating(x: Floats, low: float, high: float, pace: float = 0.3) -> Floats:
    return high - (high - low) * x**-pace


def fig6() -> Chart:
    k = np.array([1.0, 2, 3, 5, 10, 20, 50, 100])
    ends = {"kmeans": (75.2, 82), "kmedoids": (60, 75), "cov_max": (45, 72), "random": (38, 73), "fps": (38, 39)}
    series = [Series(gen, k, saturating(k, *of), colour=f"gen:{gen}") for gen, of in ends.items()]
    series.append(Series("mean", np.array([1.0]), np.array([75.2]), style="hollow", colour="gen:mean"))
    series.append(Series("all", np.zeros(1), np.array([80.7]), style="level", colour="gen:all"))
    return Chart("fig6", "Accuracy over k", (Panel("", tuple(series)),), "proxies per class k", "accuracy in %")


def fig10(panels: int = 1, columns: int = 1, title: str = "") -> Chart:
    """Lines with intervals over the number of samples."""
    n = np.array(
        [1.0, 2, 5, 10, 20, 50, 100, 200, 400, 600, 800, 1000] if panels == 1 else [10.0, 20, 50, 100, 200, 400]
    )
    made = []
    for i in range(panels):
        series = []
        for j, (label, colour) in enumerate(
            {"k = n": "gen:all", "k = 1": "order:1/3", "k = 5": "order:2/3", "k = 20": "order:3/3"}.items()
        ):
            y = saturating(n, 45 + 10 * (i // 4), 92 - 3 * j + 2 * (i % 4), 0.3 + 0.05 * j)
            half = 6 / np.sqrt(n)
            series.append(Series(label, n, y, y - half, y + half, colour=colour))
        names = list(DATASETS.values())
        made.append(Panel(title.format(MODELS[i % 4], names[i // 4 % 4]), tuple(series)))
    return Chart(
        "fig10" if panels == 1 else "figA4",
        "Accuracy over n",
        tuple(made),
        "training samples per class n",
        "accuracy in %",
        x_scale="log",
        columns=columns,
        share_y="row",
    )


def fig_a4(panels: int = 12) -> Chart:
    return fig10(panels, 4, "{}, {}")


def fig11a() -> list[Chart]:
    d = np.arange(1.0, 11)
    slopes = {"resnet18": 0.42, "resnet50": 0.3, "vit_b_16": 0.055, "swin_b": 0.05}
    series = tuple(
        Series(model, d, slope * d, slope * d * 0.93, slope * d * 1.07, colour=f"model:{model}")
        for model, slope in slopes.items()
    )
    top = Chart("fig11a", "NC1 over d", (Panel("", series),), "labels per class d (ImageNet)", "NC1")
    values = {"resnet18": [1.9, 4.6, 2.3, 14.0], "resnet50": [5.4, 2.9, 1.6, 27.1]}
    values |= {"vit_b_16": [2.8, 1.95, 0.43, 10.7], "swin_b": [7.5, 2.04, 0.43, 37.0]}
    points = tuple(
        Series(model, np.arange(4.0), np.array(of), style="points", colour=f"model:{model}")
        for model, of in values.items()
    )
    bottom = Chart(
        "fig11a_datasets",
        "NC1 per dataset",
        (Panel("", points, reference=1.0),),
        "",
        "NC1",
        y_scale="symlog",
        x_names=tuple(DATASETS.values()),
    )
    return [top, bottom]


def fig11b() -> Chart:
    k = np.arange(1.0, 16)
    panels = []
    for model in MODELS:
        series = [
            Series(f"d = {d}", k, 95 - 2.2 * d + 1.4 * np.minimum(k, d) - 0.05 * k, colour=f"order:{d}/10")
            for d in range(1, 11)
        ]
        series += [
            Series(label, k, saturating(k, low, low + 8), style="dashed", colour=f"dataset:{name}")
            for (name, label), low in zip(DATASETS.items(), (86, 78, 73, 60), strict=True)
        ]
        panels.append(Panel(model, tuple(series)))
    return Chart("fig11b", "Accuracy over k", tuple(panels), "proxies per class k", "accuracy in %", columns=2)


def fig12() -> Chart:
    """56 points: four models, ten d and four datasets each."""
    rng = np.random.default_rng(0)
    series = []
    for model in MODELS:
        x = 10 ** rng.uniform(-1, 0.6, 10)
        y = 6.8 * np.log10(x) + 5 + rng.normal(0, 1.5, 10)
        series.append(Series(model, x, y, style="points", colour=f"model:{model}", marker="ImageNet, d = 1 … 10"))
        for label in DATASETS.values():
            x = 10 ** rng.uniform(0, 1.5, 1)
            y = 6.8 * np.log10(x) + 3 + rng.normal(0, 2, 1)
            series.append(Series(model, x, y, style="points", colour=f"model:{model}", marker=label))
    return Chart(
        "fig12",
        "Gain over NC1",
        (Panel("", tuple(series)),),
        "NC1",
        "accuracy at k = 5 minus accuracy at k = 1,\nin percentage points",
        x_scale="log",
        note="56 points. Spearman 0.818 (p = 1.4e-14). Least squares on log₁₀ NC1: slope 6.82, R² 0.356.",
        fit=(6.82, 4.2),
    )


def fig_a7() -> Chart:
    d = np.arange(1.0, 11)
    lines = {"mean": 5.0, "best-k kmeans": 3.6, "least_squares": 2.6, "best-k k_least_squares": 2.2}
    panels = tuple(
        Panel(
            model,
            tuple(
                Series(label, d, 98 - (i + 1) * 0.4 - slope * d**0.9, colour=f"gen:{label.split()[-1]}")
                for label, slope in lines.items()
            ),
        )
        for i, model in enumerate(MODELS)
    )
    return Chart("figA7", "Accuracy over d", panels, "labels per class d", "accuracy in %", columns=4)


def many_panels(panels: int = 16) -> Chart:
    """Titles that do not fit into a line, and a panel without results."""
    k = np.arange(1.0, 16)
    made = [
        Panel(
            f"efficientnet_lite{i}, fashion_mnist at {i} px",
            (Series("kmeans", k, 90 + i - 9 / k, colour="gen:kmeans"),),
        )
        for i in range(panels - 1)
    ]
    made.append(Panel("nothing", ()))
    return Chart(f"panels{panels}", "Many panels", tuple(made), "proxies per class k", "accuracy in %", columns=4)


def narrow() -> Chart:
    """Everything that is hard in one column: long names of places, fourteen long labels, a long note."""
    names = ("fashion_mnist", "efficientnet_lite0 digits", "combi_digits", "mnist_m", "svhn", "usps")
    places = np.arange(6.0)
    models = [f"timm/vit_small_patch16_224.augreg_in1k at {i} px{' and more' * (i // 3)}" for i in range(14)]
    series = tuple(
        Series(model, places, places + i, style="points", colour=f"model:{model}") for i, model in enumerate(models)
    )
    label = "a quantity whose name is longer than its axis, with its unit, whatever that may be"
    note = "A note that is much longer than a line of this figure, so that it has to go on in a second one, or a third."
    return Chart("narrow", "t", (Panel("A title of one panel", series),), label, label, note=note, x_names=names)


def long_names_first() -> Chart:
    """Slanted names, the first of which is longer than the place to the left of the axis."""
    names = ("efficientnet_lite0_of_a_very_long_name", *(f"dataset_number_{i}" for i in range(9)))
    places = np.arange(10.0)
    series = (Series("a", places, places, style="points"),)
    return Chart("long_names_first", "t", (Panel("", series),) * 2, "", "y", x_names=names, columns=2)


def everything() -> list[Figure]:
    """One of each."""
    diagrams = [fig2(), fig5(), fig8(), ranks_of(20, name="ranks20"), ranks_of(20, LONG + " {}", name="ranks20long")]
    charts = [fig6(), fig10(), fig_a4(), *fig11a(), fig11b(), fig12(), fig_a7(), many_panels(), narrow()]
    charts.append(long_names_first())
    return [*diagrams, scattered_cliques(), *charts]
