"""What is said about finding devices checks itself before it is said."""

from __future__ import annotations

import pytest

from springline.actors.finding import Discovery
from springline.errors import Misuse


@pytest.mark.parametrize("wrong", ["", "example.org", "::1:7400", "example.org:many"])
def test_what_is_to_be_begun_with_is_an_address(wrong: str) -> None:
    with pytest.raises(Misuse):
        Discovery(bootstrap=("example.org:7400", wrong))
