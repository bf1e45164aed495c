"""What an export is asked for is checked before anything is computed."""

from ensemble.options import Options, option_faults


def test_a_file_that_is_named_twice_is_refused() -> None:
    wrong = Options(top=0, imports=("a", "b", "a"), unjudged=("c", "c", "c"))
    assert option_faults(wrong, n_folds=4, split="groups") == [
        "top must be 1 or more, got 0; give --top K",
        "--imports names a 2 times; name it once",
        "--unjudged names c 3 times; name it once",
    ]
    assert option_faults(Options(imports=("a", "b"), unjudged=("c",)), n_folds=4, split="groups") == []
