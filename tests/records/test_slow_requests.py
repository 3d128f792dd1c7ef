"""The limit over which a request counts as slow."""

import math
import random

from gateway.records.slow_requests import SlowRequests


def share_over(draw, samples=60, each=500):
    slowest = SlowRequests()
    answered = 0
    sum_s = 0.0
    over = 0
    for refresh in range(samples):
        for _ in range(each):
            elapsed_s = draw()
            answered = answered + 1
            sum_s = sum_s + elapsed_s
            if elapsed_s > slowest.limit_s:
                slowest.over += 1
                over += refresh >= samples // 2
        slowest.refresh(answered, sum_s)
    return over / (each * samples // 2)


def test_about_one_in_a_hundred_is_over():
    drawn = random.Random(1)
    assert 0.004 < share_over(lambda: drawn.expovariate(1000)) < 0.025


def test_nothing_is_slow_until_enough_was_seen():
    slowest = SlowRequests()
    slowest.refresh(99, 1.0)
    assert slowest.limit_s == math.inf
    slowest.refresh(100, 1.0)
    assert slowest.limit_s == 0.03


def test_where_all_take_the_same_time_none_is_slow_for_long():
    assert share_over(lambda: 0.001) < 0.2
