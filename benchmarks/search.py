"""Prints the cost of exact and approximate search on made clusters: `python benchmarks/search.py --items 10000`."""

import argparse

import torch
import torch.nn.functional as F

from bench_evaluators.search_cost.indexes import KINDS, KNOB, approximate_cost, exact_cost, num_lists


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("items", 10_000), ("dims", 128), ("queries", 500), ("clusters", 100), ("k", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    rng = torch.Generator().manual_seed(0)
    centres = torch.randn(asked.clusters, asked.dims, generator=rng)
    queries, database = (
        F.normalize(
            centres[torch.randint(asked.clusters, (count,), generator=rng)]
            + torch.randn(count, asked.dims, generator=rng)
        )
        for count in (asked.queries, asked.items)
    )
    print("| index | setting | recall | distances | ms a query | build s | bytes an item |")
    print("|:--|--:|--:|--:|--:|--:|--:|")
    costs = {"exact": exact_cost(queries, database, asked.k)}
    for kind in KINDS:
        settings = [16, 64, 256] if kind == "hnsw" else [p for p in (1, 8, 32) if p <= num_lists(asked.items)]
        costs[kind] = approximate_cost(kind, queries, database, asked.k, settings)
    for name, cost in costs.items():
        for s in cost.searches:
            setting = f"{KNOB[name]} {s.setting}" if name in KNOB else ""
            print(
                f"| {name} | {setting} | {s.recall:.3f} | {s.distances:.0f} | {s.ms:.3f} | {cost.build_s:.2f} "
                f"| {cost.bytes_per_item:.0f} |"
            )


if __name__ == "__main__":
    main()
