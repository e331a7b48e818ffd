"""What stands in the way of a process is told with the remedy for it."""

from __future__ import annotations

import errno

import pytest

from reconciler.perform.limits import told
from runtime.process.failure import ProcessFailed
from schemas.errors import Refused
from tests.reconciler.worlds import SHOP, container, desired


def test_a_refused_clone_names_the_chroot_that_may_be_the_cause() -> None:
    want = next(item for key, item in desired(SHOP).items() if key == container(key.name))
    with pytest.raises(Refused) as refused, told(want):
        raise ProcessFailed("Operation not permitted", step="clone", errno=errno.EPERM)
    assert "chroot" in refused.value.hint and refused.value.object == str(want.key)
