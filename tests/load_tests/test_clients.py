"""How what a client told is judged."""

import base64
import json
import re
import struct

import numpy as np
import pytest

from load_tests.clients.__main__ import has_failed, table
from load_tests.clients.catalogue import CLIENTS
from load_tests.clients.task import (
    NAMES,
    NOT_OFFERED,
    RIGHT,
    STEPS,
    UNKNOWN,
    WRONG,
    Outcome,
    Task,
    decode,
)
from tests.support.checkout import ROOT


@pytest.fixture(scope="module")
def task():
    return Task()


def mark(task, step, **told):
    return task.judge(json.dumps({"step": step, **told}))[step].mark


def raw(values):
    """An answer in protobuf's JSON."""
    if isinstance(values[0], str):
        packed = b"".join(struct.pack("<I", len(each)) + each.encode() for each in values)
        datatype = "BYTES"
    else:
        packed = np.array(values, "<i8").tobytes()
        datatype = "INT64"
    return {
        "outputs": [{"name": "y", "datatype": datatype, "shape": [str(len(values))]}],
        "rawOutputContents": [base64.b64encode(packed).decode()],
    }


@pytest.mark.parametrize("values", [[1, -2, 3], ["male", "", "female"]])
def test_raw_contents_are_decoded(values):
    assert decode(raw(values)) == values


@pytest.mark.parametrize("step", ["numbers", "strings"])
def test_only_the_right_values_are_right(task, step):
    right = task.expected[step]
    assert mark(task, step, values=right) == RIGHT
    assert mark(task, step, response=raw(right)) == RIGHT
    assert mark(task, step, values=right[:-1]) == WRONG
    assert mark(task, step, response=raw(right[::-1])) == (RIGHT if right == right[::-1] else WRONG)


def test_an_answer_that_cannot_be_read_is_wrong(task):
    assert mark(task, "numbers", response={}) == WRONG


def test_an_output_that_is_missing_from_the_metadata_is_wrong(task):
    assert mark(task, "metadata", names=NAMES) == RIGHT
    assert mark(task, "metadata", names={**NAMES, "outputs": NAMES["outputs"][:1]}) == WRONG


@pytest.mark.parametrize("code", ["NOT_FOUND", "NotFound", "NOT_FOUND: it"[:9]])
def test_an_error_has_its_status_however_a_client_spells_it(task, code):
    assert mark(task, "error", code=code, text=f"no model {UNKNOWN}") == RIGHT


@pytest.mark.parametrize(
    "told",
    [
        {"code": "UNKNOWN", "text": UNKNOWN},
        {"code": "NOT_FOUND", "text": "no such model"},
        {"failed": "there was none"},
    ],
)
def test_another_error_is_wrong(task, told):
    assert mark(task, "error", **told) == WRONG


def test_one_call_that_failed_is_enough_to_be_wrong(task):
    assert mark(task, "numbers", statuses={"OK": 50}) == RIGHT
    assert mark(task, "numbers", statuses={"OK": 49, "Unavailable": 1}) == WRONG


def test_a_step_that_was_not_told_is_wrong_and_one_without_a_call_is_not(task):
    outcomes = task.judge('{"step": "config", "none": "no such call"}')
    assert {step: outcome.mark for step, outcome in outcomes.items()} == {
        **dict.fromkeys(STEPS, WRONG),
        "config": NOT_OFFERED,
    }


def test_a_client_that_cannot_be_had_fails_only_where_all_must_be():
    right = dict.fromkeys(STEPS, Outcome(RIGHT))
    found = {CLIENTS[0]: right, CLIENTS[1]: "there is no cargo"}
    assert not has_failed(found, strict=False)
    assert has_failed(found, strict=True)
    assert has_failed({CLIENTS[0]: {**right, "error": Outcome(WRONG)}}, strict=False)
    assert any(line.endswith("there is no cargo") for line in table(found))


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_the_docs_name_the_version_that_is_tried(client):
    page = ROOT / "gateway" / "serving" / "wire" / "README.md"
    if not page.exists():
        pytest.skip("an installed gateway is tried, beside the tests alone")
    row = rf"^\| .*\| {re.escape(client.version.strip('v'))} \|"
    assert re.search(row, page.read_text(), re.MULTILINE)


def test_every_client_has_its_own_name():
    assert len({client.name for client in CLIENTS}) == len(CLIENTS)
