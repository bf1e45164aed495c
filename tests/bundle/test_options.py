"""What an export is asked for is checked before anything is computed."""

import pytest

from bundle.options import Options, check
from competitions.prepare import Prepared
from system.errors import UserError


def test_a_file_that_is_named_twice_is_refused(tiny: Prepared) -> None:
    with pytest.raises(UserError) as wrong:
        check(Options(top=0, imports=("a", "b", "a"), unjudged=("c", "c", "c")), tiny)
    assert wrong.value.faults == (
        "top must be 1 or more, got 0; give --top K",
        "--imports names a 2 times; name it once",
        "--unjudged names c 3 times; name it once",
    )
    check(Options(imports=("a", "b"), unjudged=("c",)), tiny)
