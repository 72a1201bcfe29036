"""Seeds by name: stable, distinct, without ambiguity of the parts."""

from harness.core.seeds import derive


def test_is_the_same_for_ever():
    assert derive(0, "crop", "aachen_000000_000019", 26001) == 5212544988551408295


def test_depends_on_every_part_and_on_where_one_ends():
    seeds = {derive(0), derive(1), derive(0, 1), derive(0, "a", "bc"), derive(0, "ab", "c"), derive(0, "abc")}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)
