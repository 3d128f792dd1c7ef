"""`gateway infer`, as a process, against a gateway that serves models/."""

import io
import json
import re
import shlex
import socket
import subprocess
import sys
import threading

import grpc
import numpy as np
import onnxruntime
import pytest

from gateway.cli.commands.check import EXAMPLES as CHECK_EXAMPLES
from gateway.cli.commands.explain import EXAMPLES as EXPLAIN_EXAMPLES
from gateway.cli.commands.infer import EXAMPLES as INFER_EXAMPLES
from tests.support.checkout import ROOT
from tests.support.serving_command import MODELS, serve

CODES = grpc.StatusCode


@pytest.fixture
def infer(gateway, served):
    """Runs `gateway infer` against the served gateway."""
    return lambda *arguments, stdin=b"": gateway(
        "infer", *arguments, "--address", served.address, stdin=stdin
    )


def expected(model, version, inputs):
    """What ONNX Runtime answers to these inputs."""
    session = onnxruntime.InferenceSession(
        MODELS / model / str(version) / "model.onnx", providers=["CPUExecutionProvider"]
    )
    return dict(
        zip(
            [output.name for output in session.get_outputs()],
            session.run(None, inputs),
            strict=True,
        )
    )


def answer(done):
    """The outputs of a JSON answer by name."""
    assert (done.status, done.err) == (0, "")
    return {output["name"]: output for output in json.loads(done.out)["outputs"]}


@pytest.mark.parametrize(("version", "asked"), [("2", ""), ("1", "1"), ("2", "2")])
def test_a_models_samples_are_answered_as_onnx_runtime_answers_them(infer, version, asked):
    images = np.array(
        json.loads((MODELS / "digits/samples.json").read_text())["inputs"]["image"], "f4"
    )
    outputs = answer(
        infer(
            "digits",
            "--input",
            "models/digits/samples.json",
            "--output-format",
            "json",
            *(["--version", asked] if asked else []),
        )
    )
    right = expected("digits", version, {"image": images})
    assert outputs["digit"]["data"] == right["digit"].tolist()
    np.testing.assert_allclose(
        outputs["probabilities"]["data"], right["probabilities"], rtol=1e-5, atol=1e-7
    )


def test_json_npz_and_csv_of_the_same_rows_are_answered_alike(infer, tmp_path):
    inputs = json.loads((MODELS / "penguins/samples.json").read_text())["inputs"]
    np.savez(tmp_path / "rows.npz", **{name: np.array(values) for name, values in inputs.items()})
    from_json = answer(
        infer("penguins", "--input", "models/penguins/samples.json", "--output-format", "json")
    )
    from_npz = answer(
        infer("penguins", "--input", tmp_path / "rows.npz", "--output-format", "json")
    )
    from_csv = infer(
        "penguins", "--input", "models/penguins/samples.csv", "--output-format", "json"
    )
    assert from_csv.faults == [
        "note: 'label' in models/penguins/samples.csv is not an input of the model and is not sent"
    ]
    assert (
        from_json["sex"]["data"]
        == from_npz["sex"]["data"]
        == json.loads(from_csv.out)["outputs"][1]["data"]
    )
    assert set(from_json["sex"]["data"]) == {"male", "female"}
    assert from_json["sex"]["shape"] == [12]


def test_all_that_is_not_sent_is_noted_in_one_line(infer):
    inputs = {
        **json.loads((MODELS / "penguins/samples.json").read_text())["inputs"],
        "when": ["now"],
        "who": ["me"],
    }
    done = infer("penguins", "--input", "-", stdin=json.dumps({"inputs": inputs}).encode())
    assert (done.status, done.faults) == (
        0,
        ["note: 'when', 'who' in standard input are not inputs of the model and are not sent"],
    )


def test_rows_limits_what_is_sent_and_made_up_inputs_have_so_many(infer):
    assert answer(
        infer(
            "digits",
            "--input",
            "models/digits/reference.npz",
            "--rows",
            "3",
            "--output-format",
            "json",
        )
    )["digit"]["shape"] == [3]
    assert answer(infer("breast_cancer", "--zeros", "--rows", "4", "--output-format", "json"))[
        "diagnosis"
    ]["shape"] == [4]
    assert answer(infer("penguins", "--zeros", "--output-format", "json"))["sex"]["shape"] == [1]


def test_a_table_shows_a_row_a_line_below_who_answered(infer):
    done = infer("digits", "--input", "models/digits/samples.json", "--rows", "2")
    lines = done.out.splitlines()
    assert re.fullmatch(r"digits version 2 answered in \d+\.\d ms", lines[0])
    assert lines[2].split() == ["row", "probabilities", "FP32", "digit", "INT64"]
    assert [line.split()[-1] for line in lines[3:]] == ["2", "0"]


def test_standard_input_is_read_and_arrays_are_written(infer, tmp_path):
    row = np.linspace(0.1, 3, 30, dtype="f4")
    done = infer(
        "breast_cancer",
        "--input",
        "-",
        "--output-format",
        "npz",
        stdin=json.dumps({"features": row.tolist()}).encode(),
    )
    with np.load(io.BytesIO(done.bytes)) as file:
        assert (
            file["diagnosis"].tolist()
            == expected("breast_cancer", 1, {"features": row[None]})["diagnosis"].tolist()
        )
    done = infer(
        "breast_cancer", "--zeros", "--output", tmp_path / "out.json", "--output-format", "json"
    )
    assert (done.status, done.out) == (0, "")
    assert json.loads((tmp_path / "out.json").read_text())["model_name"] == "breast_cancer"
    done = infer("breast_cancer", "--zeros", "--output", tmp_path / "no" / "out.json")
    assert (done.status, done.faults) == (
        2,
        [f"--output: {tmp_path}/no/out.json cannot be written: No such file or directory"],
    )


def test_a_model_that_is_not_there_is_told_with_those_that_are(infer):
    done = infer("digit")
    assert (done.status, done.out) == (5, "")
    assert done.faults[0].startswith("NOT_FOUND: Request for unknown model: 'digit' is not found")
    assert done.faults[1] == "the server has breast_cancer, digits, penguins; did you mean digits?"


def test_what_the_server_refuses_is_told_with_its_status(infer):
    done = infer("digits", "--version", "one")
    assert done.status == 1
    assert done.faults[0].startswith(
        "INVALID_ARGUMENT: failed to get model version from specified version string 'one'"
    )
    assert (
        infer("digits", "--version", "9")
        .faults[0]
        .startswith("NOT_FOUND: Request for unknown model: 'digits' version 9 is not found")
    )


def test_inputs_that_do_not_fit_are_refused_before_they_are_sent(infer, tmp_path):
    (tmp_path / "a.json").write_text('{"imag": [[1]]}')
    done = infer("digits", "--input", tmp_path / "a.json")
    assert (done.status, done.faults) == (
        2,
        [f"{tmp_path}/a.json: 'imag' is no input of the model; did you mean image?"],
    )
    (tmp_path / "a.json").write_text('{"image": [[1, 2]]}')
    assert infer("digits", "--input", tmp_path / "a.json").faults == [
        (
            f"{tmp_path}/a.json: input 'image': has the shape [1,2], the model "
            "takes [-1,8,8] (-1: any size)"
        )
    ]


def test_a_missing_input_is_for_the_server_to_refuse_because_it_may_be_optional(infer, tmp_path):
    (tmp_path / "a.json").write_text('{"species": ["Gentoo"], "island": ["Biscoe"]}')
    done = infer("penguins", "--input", tmp_path / "a.json")
    assert done.status == 1
    assert "missing required input(s) ['bill_length_mm'" in done.faults[0]


def test_all_faults_of_the_arguments_are_told_together(gateway):
    done = gateway(
        "infer",
        "m",
        "--address",
        "here",
        "--rows",
        "0",
        "--timeout",
        "5",
        "--output-format",
        "yaml",
    )
    assert done.status == 2
    assert [fault.partition(":")[0] for fault in done.faults] == [
        "--output-format",
        "--rows",
        "--address",
        "--timeout",
    ]
    assert "the bare number '5'" in done.faults[3]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_where_nothing_listens_it_says_what_to_do(gateway):
    address = f"127.0.0.1:{free_port()}"
    done = gateway("infer", "m", "--address", address)
    assert (done.status, done.out) == (3, "")
    assert done.faults[0].startswith("UNAVAILABLE: ")
    assert done.faults[1] == (
        f"nothing answers at {address}: start a server there with `gateway serve --models "
        "DIR`, or say where it is with --address"
    )


def test_a_server_that_says_nothing_is_not_waited_for_longer_than_the_timeout(gateway):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        done = gateway("infer", "m", "--address", address, "--timeout", "300ms")
    assert done.status == 3
    assert done.faults[0].startswith("DEADLINE_EXCEEDED: ")
    assert done.faults[1] == f"{address} did not answer within 300ms: give it longer with --timeout"


def test_a_server_that_is_no_grpc_server_is_told_apart(gateway):
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_speak_http, args=(server,), daemon=True).start()
        done = gateway("infer", "m", "--address", f"127.0.0.1:{server.getsockname()[1]}")
    assert done.status == 3
    assert done.faults[1].endswith("is no gRPC server: is it the right port?")


def _speak_http(server):
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A root, and certificates under it for localhost, as server and as client, with their keys."""
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for line in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=root",
        "req -newkey rsa:2048 -nodes -keyout own.key -out own.csr -subj /CN=localhost",
        (
            "x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out "
            "own.pem -days 2 -extfile names"
        ),
    ):
        subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True)
    return folder


def test_tls_both_ways_and_what_is_said_where_it_fails(
    gateway, cache, certificates, served, tmp_path
):
    root = ["--tls-ca", certificates / "ca.pem"]
    own = ["--tls-cert", certificates / "own.pem", "--tls-key", certificates / "own.key"]
    running = serve(
        tmp_path,
        cache,
        "--models",
        "models",
        *map(str, own),
        "--tls-client-ca",
        str(certificates / "ca.pem"),
    )
    try:
        arguments = ["infer", "digits", "--zeros", "--address", running.address]
        ask = lambda *options: gateway(*arguments, *options)  # noqa: E731
        assert ask(*root, *own).status == 0
        assert ask(*root, *own, "--tls-server-name", "localhost").status == 0
        assert "does it want TLS (--tls-ca FILE)" in ask().faults[-1]
        assert (
            "TLS failed: give the roots of the server's certificate with --tls-ca"
            in ask("--tls").faults[-1]
        )
        assert "TLS failed: " in ask(*root, *own, "--tls-server-name", "elsewhere").faults[-1]
        assert "does it want a certificate of its clients" in ask(*root).faults[-1]
        assert ask(*root, *own[:2]).faults == [
            "--tls-cert and --tls-key, the client's own, come together"
        ]
        assert ask("--tls-ca", "nowhere.pem").faults == [
            "--tls-ca: nowhere.pem cannot be read: No such file or directory"
        ]
        assert "(TLS)" in running.banner
    finally:
        assert running.stop() == 0
    assert (
        gateway("infer", "digits", "--address", served.address, "--tls").faults[-1]
        == f"{served.address} does not speak TLS: leave out --tls and its like"
    )


def test_the_calls_that_the_banner_pastes_run_as_written(served):
    lines = [line.strip() for line in served.banner.splitlines() if " infer " in line]
    heads = []
    for line in lines:
        assert f"--address {served.address} " in line
        done = subprocess.run(
            line, shell=True, capture_output=True, text=True, check=False, cwd=ROOT
        )
        assert done.returncode == 0, done.stderr
        heads.append(done.stdout.splitlines()[0])
    assert [head.partition(" answered in ")[0] for head in heads] == [
        "breast_cancer version 1", "digits version 2"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        *CHECK_EXAMPLES.splitlines()[1:],
        *EXPLAIN_EXAMPLES.splitlines()[1:],
        *INFER_EXAMPLES.splitlines()[1:],
    ],
)
def test_the_examples_of_the_help_run_as_written(served, line, tmp_path, cache, monkeypatch):
    """The examples run in the folder of the checkout.

    Only the address is the test's, and one example leaves a name to fill in.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    line = (
        line.strip()
        .replace("127.0.0.1:8001", served.address)
        .replace("report.json", str(tmp_path / "report.json"))
    )
    if " infer " in line and "--address" not in line:
        line = line.replace("gateway infer", f"gateway infer --address {served.address}")
    if " NAME " in line:
        line = line.replace("NAME", "breast_cancer").replace("[[0.5, 1.5]]", str([[0.5] * 30]))
    done = subprocess.run(
        as_installed(line), shell=True, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


def as_installed(line):
    """The command line with this environment's `gateway`."""
    return re.sub(
        r"(^|\| )gateway ",
        lambda match: f"{match[1]}{shlex.quote(sys.executable)} -m gateway ",
        line,
    )
