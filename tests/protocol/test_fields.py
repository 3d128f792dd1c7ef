"""What is read of protobuf messages by hand."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.fields import leading_texts
from gateway.protocol.generated.inference_pb2 import ModelInferRequest

TEXT = st.text(max_size=200)


@given(model=TEXT, version=TEXT, request_id=TEXT, room=st.integers(0, 800))
def test_the_texts_that_a_message_begins_with_are_read_as_far_as_they_are_there(
    model, version, request_id, room
):
    message = ModelInferRequest(model_name=model, model_version=version, id=request_id)
    message.inputs.add(name="x", datatype="FP32", shape=[1])
    whole = message.SerializeToString()
    texts = {1: model, 2: version, 3: request_id}
    wanted = {field: text for field, text in texts.items() if text}
    assert leading_texts(whole, last=3) == wanted
    head = leading_texts(whole[:room], last=3)
    assert head.items() <= wanted.items()
    assert list(head) == list(wanted)[: len(head)]


@given(st.binary(max_size=64))
def test_bytes_that_are_no_message_have_no_or_other_texts_and_end_nothing(message):
    assert all(field <= 3 for field in leading_texts(message, last=3))
