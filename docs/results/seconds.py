"""Print the table of seconds on the whole of FashionMNIST, tables/seconds.md, from the results table."""

from imprint_sweep.store import load_results

METHODS = {
    "mean": "gen == 'mean' and metric == 'inner_product'",
    "k-means, k = 20": "gen == 'kmeans' and k == 20 and agg == 'max' and metric == 'inner_product'",
    "k-means, k chosen by BIC": "select_rule == 'bic'",
    "linear discriminant": "gen == 'lda'",
    "least squares": "gen == 'k_least_squares' and k == 1 and metric == 'inner_product'",
    "RanPAC": "gen == 'ranpac'",
    "logistic regression": "gen == 'logistic'",
    "mean, metric of FeCAM": "metric == 'class_mahalanobis'",
    "k-NN, softmax votes": "gen == 'all' and weighting == 'softmax'",
}

rows = load_results("outputs/results")
rows = rows[(rows["task"] == "fashion_mnist") & (rows["image_size"] == 96) & (rows["classes"] == "all")]
rows = rows[rows["n_shot"].isna() & (rows["split"] == "test")]
print("**Seconds on FashionMNIST**: 60,000 samples of 1280 features; 10,000 queries; medians\n")
print("| method | GEN, s | evaluation, s |")
print("|---|--:|--:|")
for method, which in METHODS.items():
    of = rows.query(which)[["gen_seconds", "eval_seconds"]].median()
    print(f"| {method} | {of['gen_seconds']:.2g} | {of['eval_seconds']:.2g} |")
