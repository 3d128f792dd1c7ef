"""What protections decide is passed on to all who listen, and the last of it is kept."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from gateway.records.event_bus import Decisions


@dataclass(frozen=True)
class Record:
    number: int


def test_every_record_is_told_to_all_listeners_in_the_order_it_was_made():
    decisions, one, other = Decisions(), [], []
    decisions.listen(one.append)
    decisions.listen(other.append)
    records = [Record(number) for number in range(5)]
    for record in records:
        decisions.told(record)
    assert one == other == records


def test_who_listens_later_is_told_from_there_on():
    decisions, heard = Decisions(), []
    decisions.told(Record(1))
    decisions.listen(heard.append)
    decisions.told(Record(2))
    assert heard == [Record(2)]
    assert list(decisions.last) == [Record(1), Record(2)]


def test_a_record_is_kept_before_it_is_told():
    decisions, seen = Decisions(), []
    decisions.listen(lambda _record: seen.append(list(decisions.last)))
    decisions.told(Record(1))
    assert seen == [[Record(1)]]


def test_the_record_itself_is_passed_on_and_kept():
    decisions, heard, record = Decisions(), [], Record(1)
    decisions.listen(heard.append)
    decisions.told(record)
    assert heard[0] is record
    assert decisions.last[0] is record


def test_the_last_thousand_are_kept_and_all_are_passed_on():
    decisions, heard = Decisions(), []
    decisions.listen(heard.append)
    for number in range(2500):
        decisions.told(Record(number))
    assert [record.number for record in decisions.last] == list(range(1500, 2500))
    assert len(heard) == 2500
    assert repr(decisions) == "<Decisions 1000 kept>"


@given(st.lists(st.sampled_from(["tell", "listen"]), max_size=50))
def test_a_listener_hears_what_is_told_after_it_came_and_all_of_it(steps):
    decisions, listeners, number = Decisions(), [], 0
    for step in steps:
        if step == "tell":
            decisions.told(number)
            number += 1
        else:
            listeners.append((number, []))
            decisions.listen(listeners[-1][1].append)
    for came_at, heard in listeners:
        assert heard == list(range(came_at, number))
