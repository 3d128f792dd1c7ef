"""How far loading is, as the log tells it."""

from gateway.control.lifecycle.progress import Progress


def finished(*outcomes):
    progress = Progress(1.0)
    progress.total = len(outcomes)
    for failed, live in outcomes:
        progress.model_finished(failed=failed, live=live)
    return progress.text


def test_a_model_that_cannot_be_served_is_not_counted_as_loaded():
    assert finished((True, False)) == "loaded 0 of 1 model, 1 cannot be served"


def test_a_model_whose_newest_version_was_refused_is_loaded_in_part():
    outcomes = [(False, True), (True, True), (True, False)]
    assert finished(*outcomes) == "loaded 2 of 3 models, 1 cannot be served, 1 only in part"


def test_where_all_is_well_nothing_else_is_said():
    assert finished((False, True), (False, True)) == "loaded 2 of 2 models"
