"""A folder of models is scanned: a bad model hides no other, and faults are reported."""

import os
import pickle
from pathlib import Path

import pytest

from gateway.control.models.sources.folder import scan
from gateway.control.models.sources.found import FoundVersion
from gateway.control.models.sources.model_folder import reconfigured
from gateway.control.models.sources.version_policy import VersionPolicy
from gateway.protocol.generated.model_config_pb2 import ModelConfig
from tests.support.repository_models import linear_model, running_as_root, write, write_model


def numbers(model):
    return [version.version for version in model.versions]


def live(model):
    return [version.version for version in model.live]


def test_models_are_found_in_tritons_layout(tmp_path):
    write_model(tmp_path / "digits/1/model.onnx")
    write_model(tmp_path / "digits/12/model.onnx")
    write_model(tmp_path / "digits/2/model.onnx")
    write_model(tmp_path / "wine/1/model.onnx")
    found = scan(tmp_path)
    assert [model.name for model in found.models] == ["digits", "wine"]
    digits = found.find("digits")
    assert numbers(digits) == [1, 2, 12]
    assert live(digits) == [12]
    assert digits.versions[0] == FoundVersion(1, tmp_path / "digits/1/model.onnx")
    assert (digits.faults, digits.warnings, digits.skipped, found.fault, found.warnings) == (
        (),
        (),
        "",
        "",
        (),
    )
    assert repr(found) == f"<Repository {tmp_path}: 2 models, 0 of them not served>"


def test_callers_names_are_looked_up_never_joined_into_paths(tmp_path):
    write_model(tmp_path / "root/m/1/model.onnx")
    write_model(tmp_path / "other/1/model.onnx")
    found = scan(tmp_path / "root")
    assert [found.find(name) for name in ("../other", "m/1", "m/", ".", "", "/", "n")] == [None] * 7


def test_a_relative_root_gives_absolute_paths(tmp_path, monkeypatch):
    write_model(tmp_path / "models/m/1/model.onnx")
    monkeypatch.chdir(tmp_path)
    assert scan(Path("models")).models[0].versions[0].path == tmp_path / "models/m/1/model.onnx"


def test_files_and_hidden_folders_are_nobodys_model(tmp_path):
    write_model(tmp_path / "m/1/model.onnx")
    write_model(tmp_path / ".git/1/model.onnx")
    write_model(tmp_path / "..2024/m/1/model.onnx")
    for name in ("README.md", "build.py", "__pycache__/build.pyc"):
        write(tmp_path / name, "")
    assert [model.name for model in scan(tmp_path).models] == ["m"]


def test_other_folders_beside_versions_are_left_alone(tmp_path):
    write_model(tmp_path / "m/1/model.onnx")
    for name in ("labels", "configs", "warmup", "v2", "-1", "1a", "1.5", ".3", "٣"):
        write_model(tmp_path / "m" / name / "model.onnx")
    write(tmp_path / "m/7", "a file")
    model = scan(tmp_path).models[0]
    assert numbers(model) == [1]
    assert model.warnings == ()


def test_version_0_and_leading_zeros_are_refused_and_said(tmp_path):
    for name in ("0", "01", "2", "99999999999999999999"):
        write_model(tmp_path / "m" / name / "model.onnx")
    model = scan(tmp_path).models[0]
    assert numbers(model) == [2]
    assert len(model.warnings) == 3
    assert (
        "the version folder '0' is ignored: versions are whole numbers "
        "above 0 without leading zeros"
    ) in model.warnings


def test_a_bad_model_hides_no_other_and_says_all_that_is_wrong(tmp_path):
    write_model(tmp_path / "good/1/model.onnx")
    write_model(tmp_path / "bad/1/model.onnx")
    write(tmp_path / "bad/model.yaml", "batching: {max_batch: 3, pad_to: [0]}\ninstances: 0")
    write(tmp_path / "bad/config.pbtxt", 'name: "bad"\nmax_batch_size: "x"')
    found = scan(tmp_path)
    assert live(found.find("good")) == [1]
    bad = found.find("bad")
    assert live(bad) == []
    assert len(bad.faults) == 4
    assert (
        "model.yaml: unknown key 'max_batch' in batching; did you mean 'max_batch_size'?"
        in bad.faults
    )
    assert any("config.pbtxt: line 2" in fault for fault in bad.faults)
    assert bad.fault == "; ".join(bad.faults)


def test_a_version_without_a_model_file_is_at_fault_and_the_others_are_not(tmp_path):
    write_model(tmp_path / "m/1/model.onnx")
    write(tmp_path / "m/2/model.plan", b"")
    (tmp_path / "m/3").mkdir()
    write(tmp_path / "m/model.yaml", "versions: all")
    model = scan(tmp_path).models[0]
    assert [version.fault for version in model.live] == [
        "",
        "version 2 has no model.onnx (its folder holds model.plan)",
        "version 3 has no model.onnx (its folder holds nothing)",
    ]


@pytest.mark.parametrize(
    ("policy", "expected"), [("latest 2", [2, 5]), ("all", [1, 2, 5]), ("[1, 5]", [1, 5])]
)
def test_the_version_policy_says_what_is_live(tmp_path, policy, expected):
    for number in (1, 2, 5):
        write_model(tmp_path / f"m/{number}/model.onnx")
    write(tmp_path / "m/model.yaml", f"versions: {policy}")
    assert live(scan(tmp_path).models[0]) == expected


def test_versions_that_are_named_and_not_there_are_said(tmp_path):
    write_model(tmp_path / "m/1/model.onnx")
    write(tmp_path / "m/model.yaml", "versions: [1, 3]")
    model = scan(tmp_path).models[0]
    assert model.policy == VersionPolicy("specific", versions=(1, 3))
    assert live(model) == [1]
    assert model.warnings == ("version 3 is named by `versions` and is not there",)
    write(tmp_path / "m/model.yaml", "versions: [3]")
    assert (
        "at least one version must be available under the version policy of model 'm'"
        in scan(tmp_path).models[0].fault
    )


def test_a_model_file_outside_a_version_folder_is_told_where_it_belongs(tmp_path):
    write_model(tmp_path / "a/model.onnx")
    write_model(tmp_path / "b/1/model.onnx")
    (tmp_path / "c").mkdir()
    found = scan(tmp_path)
    assert (
        found.find("a").fault
        == "model 'a' has no version folder: move model.onnx to a/1/model.onnx"
    )
    assert found.find("c").fault == (
        "model 'c' has no version folder: expected NAME/VERSION/model.onnx "
        "(VERSION a whole number above 0)"
    )


def test_an_empty_folder_says_what_was_expected(tmp_path):
    write(tmp_path / "README.md", "")
    found = scan(tmp_path)
    assert found.models == ()
    assert f"there is no model in {tmp_path}: expected NAME/VERSION/model.onnx" in found.fault


def test_a_folder_that_is_not_there_says_so(tmp_path):
    assert (
        scan(tmp_path / "nowhere").fault
        == f"the model folder {tmp_path / 'nowhere'} cannot be read: No such file or directory"
    )


@pytest.mark.parametrize("layout", ["model.onnx", "1/model.onnx"])
def test_a_folder_may_be_one_model(tmp_path, layout):
    write_model(tmp_path / "models" / layout)
    (model,) = scan(tmp_path / "models").models
    assert (model.name, numbers(model), live(model), model.faults) == ("models", [1], [1], ())
    assert (
        scan(tmp_path / "models", "flowers").find("flowers").versions[0].path
        == tmp_path / "models" / layout
    )


def test_one_model_is_configured_as_any_other_under_any_name(tmp_path):
    write_model(tmp_path / "2/net.onnx")
    write_model(tmp_path / "3/net.onnx")
    write(
        tmp_path / "config.pbtxt",
        'name: "other" backend: "onnxruntime" default_model_filename: '
        '"net.onnx" version_policy { all {} }',
    )
    (model,) = scan(tmp_path, "flowers").models
    assert (model.name, live(model), model.faults) == ("flowers", [2, 3], ())


def test_one_model_at_the_top_beside_version_folders_is_ignored_and_said(tmp_path):
    write_model(tmp_path / "model.onnx")
    write_model(tmp_path / "4/model.onnx")
    (model,) = scan(tmp_path).models
    assert numbers(model) == [4]
    assert model.warnings == (
        "model.onnx at the top is ignored, because there are version folders",
    )


@pytest.mark.parametrize("stray", ["model.onnx", "2/model.onnx", "model.yaml"])
def test_models_hidden_by_what_stands_at_the_top_are_said(tmp_path, stray):
    write_model(tmp_path / "first/1/model.onnx")
    write_model(tmp_path / "second/model.onnx")
    write(tmp_path / "notes/readme", "")
    write(tmp_path / stray, "") if stray.endswith("yaml") else write_model(tmp_path / stray)
    (warning,) = scan(tmp_path).warnings
    assert warning.endswith("what looks like models in it is not served (first, second)")


def test_a_repository_of_models_with_numbers_for_names_is_a_repository(tmp_path):
    write_model(tmp_path / "7/1/model.onnx")
    assert [model.name for model in scan(tmp_path).models] == ["7"]


def test_a_name_that_is_not_used_is_said(tmp_path):
    write_model(tmp_path / "m/1/model.onnx")
    assert "the name 'x' is not used" in scan(tmp_path, "x").warnings[0]


def test_kubernetes_mounts_are_followed(tmp_path):
    write_model(tmp_path / "mount/..2024/m/1/model.onnx")
    (tmp_path / "mount/..data").symlink_to("..2024")
    (tmp_path / "mount/m").symlink_to("..data/m")
    assert live(scan(tmp_path / "mount").find("m")) == [1]


def test_links_that_leave_the_root_are_the_operators_business(tmp_path):
    write_model(tmp_path / "elsewhere/1/model.onnx")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/m").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "models/broken").symlink_to("nothing")
    found = scan(tmp_path / "models")
    assert [model.name for model in found.models] == ["m"]
    assert live(found.find("m")) == [1]


@pytest.mark.parametrize("filename", ["../2/model.onnx", "/etc/passwd", "a/../../x.onnx", "."])
@pytest.mark.parametrize("file", ["model.yaml", "config.pbtxt"])
def test_the_model_file_name_never_leaves_the_version_folder(tmp_path, filename, file):
    write_model(tmp_path / "m/1/model.onnx")
    text = (
        f"model_filename: {filename}"
        if file == "model.yaml"
        else f'backend: "onnxruntime" default_model_filename: "{filename}"'
    )
    write(tmp_path / "m" / file, text)
    assert scan(tmp_path).models[0].faults == (
        f"the model file name '{filename}' must be a path inside the version's folder",
    )


def test_a_model_saved_as_a_folder_is_found_in_it(tmp_path):
    write_model(tmp_path / "m/1/model.onnx/model.onnx")
    assert scan(tmp_path).models[0].versions[0].path == tmp_path / "m/1/model.onnx/model.onnx"


def test_a_folder_whose_name_is_no_text_is_not_served_and_said(tmp_path):
    write_model(tmp_path / "m/1/model.onnx")
    (tmp_path / os.fsdecode(b"\xff")).mkdir()
    (tmp_path / "two\nlines").mkdir()
    found = scan(tmp_path)
    assert [model.name for model in found.models] == ["m"]
    assert len(found.warnings) == 2


@pytest.mark.skipif(running_as_root(), reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_a_fault_of_its_model(tmp_path):
    write_model(tmp_path / "m/1/model.onnx")
    write_model(tmp_path / "n/1/model.onnx")
    (tmp_path / "m").chmod(0)
    found = scan(tmp_path)
    assert "cannot be read" in found.find("m").fault
    assert live(found.find("n")) == [1]
    (tmp_path / "m").chmod(0o700)


def test_misnamed_configuration_files_are_pointed_out(tmp_path):
    write_model(tmp_path / "m/1/model.onnx")
    write(tmp_path / "m/model.yml", "instances: 2")
    assert scan(tmp_path).models[0].warnings == (
        "model.yml is not read; is it meant to be model.yaml?",
    )


def test_a_skipped_model_says_why_and_is_not_live(tmp_path):
    write(tmp_path / "m/1/model.py", "")
    write(tmp_path / "m/config.pbtxt", 'backend: "python"')
    model = scan(tmp_path).models[0]
    assert model.skipped == "config.pbtxt: backend 'python' is not served, only onnxruntime is"
    assert (model.faults, model.live) == ((), ())


def test_both_files_make_one_configuration_and_differences_are_faults(tmp_path):
    write_model(tmp_path / "m/1/model.onnx")
    write(
        tmp_path / "m/config.pbtxt",
        'backend: "onnxruntime" max_batch_size: 8 instance_group { count: 2 }',
    )
    write(tmp_path / "m/model.yaml", "batching: {max_batch_size: 8, max_queue_delay: 1ms}")
    model = scan(tmp_path).models[0]
    assert model.faults == ()
    assert (model.configuration.instances, model.configuration.batching.max_queue_delay_s) == (
        2,
        0.001,
    )
    write(tmp_path / "m/model.yaml", "instances: 3")
    assert (
        scan(tmp_path).models[0].fault
        == "instances is 3 in model.yaml and 2 in config.pbtxt: set it in one of them"
    )


def test_labels_and_reference_samples_are_found(tmp_path):
    write_model(tmp_path / "m/1/model.onnx")
    write(tmp_path / "m/labels.txt", "zero\r\none\n\ntwo\n\n")
    write(tmp_path / "m/reference.npz", b"npz")
    model = scan(tmp_path).models[0]
    assert model.sidecars.labels == {"labels.txt": ("zero", "one", "", "two")}
    assert model.sidecars.reference == str(tmp_path / "m/reference.npz")
    write(tmp_path / "m/names.txt", "a\nb")
    write(tmp_path / "m/rows.npz", b"npz")
    write(tmp_path / "m/model.yaml", "outputs: [{name: y, labels: names.txt}]\nreference: rows.npz")
    model = scan(tmp_path).models[0]
    assert model.sidecars.labels == {"names.txt": ("a", "b")}
    assert model.sidecars.reference == str(tmp_path / "m/rows.npz")


@pytest.mark.parametrize(
    "text",
    [
        "outputs: [{name: y, labels: FILE}]",
        "reference: FILE",
        "warmup: [{inputs: {x: {file: FILE}}}]",
    ],
)
@pytest.mark.parametrize("file", ["../secret", "/etc/hostname", "link", "missing", "folder"])
def test_no_file_beside_a_model_is_taken_from_elsewhere(tmp_path, text, file):
    write_model(tmp_path / "m/1/model.onnx")
    write(tmp_path / "secret", "x")
    for folder in ("m", "m/warmup"):
        (tmp_path / folder / "folder").mkdir(parents=True)
        (tmp_path / folder / "link").symlink_to(tmp_path / "secret")
    write(tmp_path / "m/model.yaml", text.replace("FILE", file))
    (fault,) = scan(tmp_path).models[0].faults
    assert file in fault


def test_labels_that_are_no_text_are_a_fault(tmp_path):
    write_model(tmp_path / "m/1/model.onnx")
    write(tmp_path / "m/labels.txt", b"\xff\xfe")
    assert "labels.txt' cannot be read" in scan(tmp_path).models[0].fault


def test_warmup_data_is_found_in_its_folder(tmp_path):
    write_model(tmp_path / "m/1/model.onnx")
    write(tmp_path / "m/warmup/x.bin", b"1234")
    write(tmp_path / "m/model.yaml", "warmup: [{inputs: {x: {file: x.bin}}}]")
    assert scan(tmp_path).models[0].sidecars.warmup_files == {
        "x.bin": str(tmp_path / "m/warmup/x.bin")
    }


def test_unknown_execution_providers_are_said(tmp_path):
    write_model(tmp_path / "m/1/model.onnx")
    write(tmp_path / "m/model.yaml", "session: {providers: [CPUExecutionProvidr]}")
    (warning,) = scan(tmp_path, available_providers=("CPUExecutionProvider",)).models[0].warnings
    assert warning == (
        "the installed ONNX Runtime has no execution provider 'CPUExecutionProvidr'; did you "
        "mean 'CPUExecutionProvider'?"
    )


def test_a_scan_travels_pickled_and_equal_folders_scan_equal(tmp_path):
    write_model(tmp_path / "m/1/model.onnx", linear_model())
    write(tmp_path / "m/model.yaml", "batching: {max_queue_delay: 500us}\nversions: all")
    assert pickle.loads(pickle.dumps(scan(tmp_path))) == scan(tmp_path)


def test_a_configuration_sent_with_a_load_takes_the_place_of_the_files(tmp_path):
    write_model(tmp_path / "m/1/model.onnx")
    write_model(tmp_path / "m/2/model.onnx")
    write(tmp_path / "m/model.yaml", "instances: 5")
    (model,) = scan(tmp_path).models
    sent = ModelConfig(backend="onnxruntime", max_batch_size=4)
    sent.version_policy.all.SetInParent()
    changed = reconfigured(model, sent)
    assert (
        live(changed),
        changed.configuration.instances,
        changed.configuration.batching.max_batch_size,
    ) == ([1, 2], None, 4)
    assert changed.faults == ()
    assert (
        "backend 'python' is not served"
        in reconfigured(model, ModelConfig(backend="python")).skipped
    )
    assert (
        "max_batch_size must not be negative"
        in reconfigured(model, ModelConfig(max_batch_size=-1)).fault
    )
