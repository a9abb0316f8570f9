"""`side_by_side` yields results in order, gives each item one thread, and raises what an item raises."""

import threading
import time

import pytest
import torch

from benchmark.parallel import side_by_side

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    assert torch.get_num_threads() == 4
    torch.set_num_threads(before)


def test_results_come_in_order_from_items_that_run_at_once():
    gate = threading.Barrier(4, timeout=10)  # opens only if four items are at it together

    def work(k):
        gate.wait()
        time.sleep(0.02 * (4 - k))
        return k, torch.get_num_threads()

    assert list(side_by_side(work, range(4), CPU)) == [(k, 1) for k in range(4)]


def test_exception_is_raised_and_no_further_item_starts():
    begun = []

    def work(k):
        begun.append(k)
        if k == 1:
            raise KeyboardInterrupt("stopped")
        time.sleep(0.05)

    with pytest.raises(KeyboardInterrupt, match="stopped"):
        list(side_by_side(work, range(100), CPU))
    assert len(begun) < 20


def test_empty_input_is_empty_and_other_devices_use_the_main_thread():
    assert list(side_by_side(abs, [], CPU)) == []
    main = threading.current_thread()
    assert list(side_by_side(lambda k: threading.current_thread() is main, [1, 2], torch.device("meta"))) == [True] * 2
