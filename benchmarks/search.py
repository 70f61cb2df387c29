"""Print the cost of exact and approximate search in toy clusters: `python -m benchmarks.search --items 10000`."""

import argparse

import torch
import torch.nn.functional as F

from bench_evaluators.search_cost.indexes import KINDS, KNOB, approximate_cost, exact_cost, num_lists


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default, meaning in (
        ("items", 10_000, "items that are searched"),
        ("dims", 128, "dimensions of an item"),
        ("queries", 500, "queries"),
        ("clusters", 100, "clusters of the items"),
        ("k", 10, "neighbours to find for each query"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{meaning} (default {default})")
    options = parser.parse_args()
    rng = torch.Generator().manual_seed(0)
    centres = torch.randn(options.clusters, options.dims, generator=rng)
    queries, database = (
        F.normalize(
            centres[torch.randint(options.clusters, (count,), generator=rng)]
            + torch.randn(count, options.dims, generator=rng)
        )
        for count in (options.queries, options.items)
    )
    print("| index | setting | recall | distances | ms a query | build s | bytes an item |")
    print("|:--|--:|--:|--:|--:|--:|--:|")
    costs = {"exact": exact_cost(queries, database, options.k)}
    for kind in KINDS:
        settings = [16, 64, 256] if kind == "hnsw" else [p for p in (1, 8, 32) if p <= num_lists(options.items)]
        costs[kind] = approximate_cost(kind, queries, database, options.k, settings)
    for name, cost in costs.items():
        for search in cost.searches:
            setting = f"{KNOB[name]} {search.setting}" if name in KNOB else ""
            print(
                f"| {name} | {setting} | {search.recall:.3f} | {search.distances:.0f} | {search.ms:.3f} "
                f"| {cost.build_s:.2f} | {cost.bytes_per_item:.0f} |"
            )


if __name__ == "__main__":
    main()
