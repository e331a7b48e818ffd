"""Places for work: the largest that waits goes next."""

from __future__ import annotations

import threading
import time

from runtime.images.places import Places

SECONDS = 10.0


def test_when_a_place_is_free_the_largest_that_waits_gets_it() -> None:
    places, order, threads = Places(1), list[int](), list[threading.Thread]()

    def work(size: int) -> None:
        with places.held(size):
            order.append(size)

    with places.held(1):
        for count, size in enumerate((3, 9, 5, 9, 1), 1):
            threads.append(threading.Thread(target=work, args=(size,)))
            threads[-1].start()
            wait_for_waiting(places, count)
        assert order == []
    for thread in threads:
        thread.join(SECONDS)
    assert order == [9, 9, 5, 3, 1]


def test_there_are_no_more_than_the_places() -> None:
    places, inside, most, lock, two = Places(2), 0, 0, threading.Lock(), threading.Barrier(2, timeout=SECONDS)

    def work() -> None:
        nonlocal inside, most
        with places.held(1):
            with lock:
                inside += 1
                most = max(most, inside)
            two.wait()
            with lock:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert most == 2 and inside == 0


def test_a_place_is_given_back_after_a_failure() -> None:
    places = Places(1)
    try:
        with places.held(1):
            raise ValueError
    except ValueError:
        pass
    with places.held(1):
        pass


def wait_for_waiting(places: Places, count: int) -> None:
    deadline = time.monotonic() + SECONDS
    while len(places._waiting) < count:
        assert time.monotonic() < deadline
        time.sleep(0.002)
