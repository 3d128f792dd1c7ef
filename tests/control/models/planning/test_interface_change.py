"""What callers of one version would notice of another."""

import pytest

from gateway.control.models.planning.interface_change import interface_change
from gateway.core.plan import TensorSpec, VersionPlan

X = TensorSpec("x", "FP32", (-1, 4))
FIXED = TensorSpec("x", "FP32", (1, 4))
Y = TensorSpec("y", "INT64", (-1,))
FEW = TensorSpec("y", "INT64", (-1, 3))
ANY = TensorSpec("x", "FP32", ())


def version(*inputs, outputs=(Y,)):
    return VersionPlan("m", 1, "", "", inputs, outputs)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (version(X), version(X)),
        (version(X), version(X, outputs=(TensorSpec("z", "FP32", (-1, 2)), Y))),
        (version(X), version(X, TensorSpec("t", "FP32", (-1, 1), optional=True))),
        (version(FIXED), version(X)),
        (version(X), version(ANY)),
        (version(X), version(TensorSpec("x", "FP32", (-1, -1)))),
        (version(X, outputs=(TensorSpec("y", "INT64", (-1, -1)),)), version(X, outputs=(FEW,))),
        (version(X, outputs=(FEW,)), version(X, outputs=(TensorSpec("y", "INT64", (-1, -1)),))),
        (version(X), version(TensorSpec("x", "FP32", (-1, 4), optional=True))),
    ],
)
def test_additions_leave_callers_alone(old, new):
    assert interface_change(old, new) == ""


@pytest.mark.parametrize(
    ("new", "says"),
    [
        (version(), "input 'x' is gone"),
        (
            version(TensorSpec("x", "FP64", (-1, 4))),
            "input 'x' was FP32 [-1,4] and is FP64 [-1,4]",
        ),
        (
            version(TensorSpec("x", "FP32", (-1, 5))),
            "input 'x' was FP32 [-1,4] and is FP32 [-1,5]",
        ),
        (version(FIXED), "input 'x' was FP32 [-1,4] and is FP32 [1,4]"),
        (
            version(TensorSpec("x", "FP32", (-1, 4, 1))),
            "input 'x' was FP32 [-1,4] and is FP32 [-1,4,1]",
        ),
        (
            version(X, TensorSpec("t", "FP32", (-1, 1))),
            "input 't' FP32 [-1,1] is new and not optional",
        ),
        (version(X, outputs=()), "output 'y' is gone"),
        (
            version(X, outputs=(TensorSpec("y", "BYTES", (-1,)),)),
            "output 'y' was INT64 [-1] and is BYTES [-1]",
        ),
        (version(X, outputs=(FEW,)), "output 'y' was INT64 [-1] and is INT64 [-1,3]"),
    ],
)
def test_what_callers_would_notice_is_said(new, says):
    assert interface_change(version(X), new) == says


def test_an_input_that_was_optional_may_not_be_wanted_of_everybody():
    old = version(TensorSpec("x", "FP32", (-1, 4), optional=True))
    assert interface_change(old, version(X)) == "input 'x' is not optional any more"


def test_all_differences_are_told_together():
    assert interface_change(version(X), version(outputs=())) == (
        "input 'x' is gone; output 'y' is gone"
    )
