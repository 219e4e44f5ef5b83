import pytest

from spinaldx.batch import Shard
from spinaldx.errors import UsageError


def test_a_shard_is_read_as_it_is_written():
    assert Shard.parse(" 2/8 ") == Shard(2, 8)
    assert str(Shard(2, 8)) == "2/8"


@pytest.mark.parametrize("text", ["", "2", "2/", "a/b", "0/3", "4/3", "-1/3", "1/0"])
def test_other_texts_are_refused(text):
    with pytest.raises(UsageError, match=r"shard") as caught:
        Shard.parse(text)
    assert caught.value.exit_code == 2
    assert caught.value.hint
