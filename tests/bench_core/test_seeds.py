import torch

from bench_core.seeds import stream, stream_seed


def test_stream_depends_on_its_seed_and_on_each_of_its_names() -> None:
    seeds = {stream_seed(0, "views"), stream_seed(1, "views"), stream_seed(0, "init"), stream_seed(0, "init", "nac")}
    assert len(seeds) == 4
    assert stream_seed(0, "ab", "c") != stream_seed(0, "a", "bc")


def test_seed_of_a_known_stream_never_changes() -> None:
    assert stream_seed(0, "shuffle") == 5916430798423653208


def test_stream_starts_again_each_time_and_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    first = torch.rand(3, generator=stream(0, "views"))
    assert torch.equal(first, torch.rand(3, generator=stream(0, "views")))
    assert torch.equal(state, torch.get_rng_state())
