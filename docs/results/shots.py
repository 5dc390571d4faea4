"""Print the table of methods over samples of a class, tables/shots.md, from the results table."""

import pandas as pd

from imprint_sweep.store import load_results

METHODS = {
    "mean": "gen == 'mean' and norm_pre == 'l2' and norm_post == 'l2' and agg == 'max' and metric == 'inner_product'",
    "k-means, k = 20": "gen == 'kmeans' and k == 20 and norm_pre == 'l2' and norm_post == 'l2' and agg == 'max' and "
    "metric == 'inner_product'",
    "k-NN, softmax votes": "gen == 'all' and weighting == 'softmax'",
    "mean, metric of FeCAM": "gen == 'mean' and metric == 'class_mahalanobis'",
    "least squares": "gen == 'k_least_squares' and k == 1 and norm_post == 'none' and agg == 'max' and "
    "metric == 'inner_product'",
    "linear discriminant": "gen == 'lda'",
    "logistic regression": "gen == 'logistic'",
    "RanPAC": "gen == 'ranpac'",
}
PLACES = {"digits": 96, "mnist_5k": 96, "fashion_mnist": 96, "reuters_r8": None}
SEEDS = [17121997, 123987, 12412312]

rows = load_results("outputs/results")
rows = rows[rows["merge"].isna() & (rows["seed"].isin(SEEDS) | rows["seed"].isna())]
parts = []
for dataset, size in PLACES.items():
    at_size = rows["image_size"].isna() if size is None else rows["image_size"] == size
    here = rows[(rows["task"] == dataset) & at_size & (rows["classes"] == "all") & (rows["status"] == "ok")]
    for method, which in METHODS.items():
        accuracy = 100.0 * here.query(which).groupby("n_shot", dropna=False)["accuracy"].median()
        accuracy.index = ["all" if pd.isna(n) else str(int(n)) for n in accuracy.index]
        parts.append(accuracy.rename((dataset, method)))
table = pd.DataFrame(parts).reindex(columns=["1", "2", "5", "10", "20", "50", "100", "all"])
print("**Accuracy (%) over the training samples of a class**: all classes, the median over seeds\n")
print("| dataset | method | " + " | ".join(f"n = {n}" for n in table.columns) + " |")
print("|---|---" + "|--:" * len(table.columns) + "|")
for (dataset, method), values in table.iterrows():
    best = table.loc[[(d, m) for d, m in table.index if d == dataset]].max().round(1)
    shown = ["–" if pd.isna(v) else f"{v:.1f}" for v in values]
    marked = [f"**{s}**" if s != "–" and float(s) == best[n] else s for s, n in zip(shown, table.columns, strict=True)]
    print(f"| {dataset} | {method} | " + " | ".join(marked) + " |")
