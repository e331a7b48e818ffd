"""libnftables in this process: text in, text out, in the network namespace of the calling thread."""

from __future__ import annotations

import errno
import json
import threading
from collections.abc import Callable

import pytest

from runtime.kernel import namespaces, nftables

pytestmark = [pytest.mark.kernel, pytest.mark.vm]

TABLE = "table inet trimtab-test { chain forward { type filter hook forward priority 0; tcp dport 80 accept; }; }"


def in_new_network(function: Callable[[], object]) -> object:
    """The function's result in a thread with a network namespace of its own, which ends with the thread."""
    results: list[object] = []

    def run() -> None:
        namespaces.unshare(namespaces.CLONE_NEWNET)
        try:
            results.append(function())
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(results[0], BaseException):
        raise results[0]
    return results[0]


def test_what_was_added_is_listed() -> None:
    def listed() -> str:
        nftables.run(f"add {TABLE}")
        return nftables.run("list ruleset")

    assert "tcp dport 80 accept" in str(in_new_network(listed))


def test_json_is_given_where_asked_for() -> None:
    def listed() -> str:
        nftables.run("add table inet trimtab-test")
        return nftables.run("list tables", json=True)

    tables = [
        entry["table"]["name"] for entry in json.loads(str(in_new_network(listed)))["nftables"] if "table" in entry
    ]
    assert tables == ["trimtab-test"]


def test_each_thread_works_in_its_own_network_namespace() -> None:
    assert in_new_network(lambda: nftables.run(f"add {TABLE}")) == ""
    assert in_new_network(lambda: nftables.run("list ruleset")) == ""


def test_a_transaction_is_done_whole_or_not_at_all() -> None:
    def half() -> str:
        with pytest.raises(OSError, match="No such file or directory"):
            nftables.run("add table inet trimtab-test\nadd rule inet trimtab-test nochain accept")
        return nftables.run("list ruleset")

    assert in_new_network(half) == ""


def test_a_mistake_is_told_in_nfts_own_words() -> None:
    def mistake() -> str:
        with pytest.raises(OSError, match="syntax error, unexpected") as caught:
            nftables.run("add table inet\nthis is no rule")
        assert caught.value.errno == errno.EINVAL
        with pytest.raises(OSError, match="No such file or directory") as caught:
            nftables.run("delete table inet none")
        assert caught.value.errno == errno.ENOENT
        return "told"

    assert in_new_network(mistake) == "told"


def test_threads_do_not_disturb_each_other() -> None:
    def many() -> int:
        for round_ in range(30):
            nftables.run(f"add table inet t{round_}")
        return nftables.run("list tables").count("table")

    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(in_new_network(many))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [30] * 4
