"""The plan of a real file, opened by ONNX Runtime, fits that file."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from gateway.control.models.planning.version_plan import PlanDefaults, plan_session, plan_version
from gateway.control.models.sources.fingerprint import fingerprint
from gateway.control.models.sources.folder import scan
from gateway.core.plan import Findings
from gateway.onnx.file import FileHashes
from gateway.onnx.session import Session
from tests.support.repository_models import linear_model, write, write_model


def planned(root, **findings):
    (model,) = scan(root).models
    (version,) = model.live
    defaults = PlanDefaults(cores=2)
    session = Session(str(version.path), plan_session(model.configuration, defaults.cores))
    found = Findings(inputs=session.inputs, outputs=session.outputs, **findings)
    print_ = fingerprint(model, version, FileHashes().of(version.path), defaults)
    return session, plan_version(model, version, found, fingerprint=print_, defaults=defaults)


def test_a_model_without_configuration(tmp_path):
    write_model(tmp_path / "m/1/model.onnx", linear_model("batch"))
    session, plan = planned(tmp_path, batchable=True, cost_us={1: 10.0, 2: 10.0})
    assert [(spec.name, spec.datatype, spec.shape) for spec in (*plan.inputs, *plan.outputs)] == [
        ("x", "FP32", (-1, 4)),
        ("y", "FP32", (-1, 3)),
    ]
    (answer,) = session.run({"x": np.ones((2, 4), np.float32)}, ["y"])
    assert answer.shape == (2, 3)
    assert (plan.batching.useful_batch_size, plan.instances, plan.session.intra_op_threads) == (
        2,
        2,
        1,
    )


def test_a_triton_configuration_with_reshape(tmp_path):
    write_model(tmp_path / "m/3/model.onnx", linear_model("batch"))
    write(
        tmp_path / "m/config.pbtxt",
        """platform: "onnxruntime_onnx" max_batch_size: 16 instance_group { count: 1 } \
dynamic_batching { }
        input { name: "x" data_type: TYPE_FP32 dims: [ 2, 2 ] reshape { shape: [ 4 ] } } output { \
name: "y" data_type: TYPE_FP32 dims: [ 3 ] }""",
    )
    _, plan = planned(tmp_path, batchable=True, cost_us={1: 10.0})
    assert (plan.version, plan.inputs[0].shape, plan.inputs[0].model_shape) == (
        3,
        (-1, 2, 2),
        (-1, 4),
    )
    assert (plan.batching.max_batch_size, plan.instances, plan.session.intra_op_threads) == (
        16,
        1,
        2,
    )
    assert plan.warnings == ()


def test_optional_inputs_of_a_real_graph(tmp_path):
    model = linear_model("batch")
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3]))
    onnx.checker.check_model(model)
    write_model(tmp_path / "m/1/model.onnx", model)
    _, plan = planned(tmp_path, batchable=True)
    assert [(spec.name, spec.optional, spec.shape) for spec in plan.inputs] == [
        ("x", False, (-1, 4)),
        ("w", True, (4, 3)),
    ]
    assert plan.batching.max_batch_size == 0
