"""ONNX Runtime's own refusals of float64 graphs name the cure, and others do not."""

import onnx
import pytest

from gateway.core.plan import SessionPlan
from gateway.onnx.session import Session, SessionNotOpened
from tests.support import exports

CURE = "`gateway convert IN.onnx OUT.onnx` rewrites it"


def refusal(tmp_path, content: bytes) -> str:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(SessionNotOpened) as refused:
        Session(str(tmp_path / "model.onnx"), SessionPlan())
    return str(refused.value)


@pytest.mark.parametrize("make", [exports.tree, exports.mixed, exports.mixed_inputs])
def test_a_graph_that_is_at_odds_about_float64_names_the_cure(tmp_path, make):
    assert CURE in refusal(tmp_path, make().SerializeToString())


def test_other_refusals_do_not(tmp_path):
    nodes = [onnx.helper.make_node("NoSuchOperator", ["x"], ["y"])]
    model = exports.model_of(nodes, [("x", exports.DOUBLE, ["N"])], [("y", exports.DOUBLE, ["N"])])
    assert CURE not in refusal(tmp_path, model.SerializeToString())
    assert CURE not in refusal(tmp_path, b"no model")
