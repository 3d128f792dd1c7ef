"""Equal fingerprints mean that there is nothing to do."""

from msgspec.structs import replace

from gateway.control.models.planning.version_plan import PlanDefaults
from gateway.control.models.sources.fingerprint import fingerprint
from gateway.control.models.sources.folder import scan
from gateway.core.plan import QueuePlan
from gateway.onnx.file import file_hash
from tests.support.repository_models import write, write_model

DEFAULTS = PlanDefaults(cores=2)


def taken(root, defaults=DEFAULTS):
    (model,) = scan(root).models
    (version,) = model.live
    return fingerprint(model, version, file_hash(version.path), defaults)


def test_whatever_a_plan_depends_on_changes_the_fingerprint(tmp_path):
    path = write_model(tmp_path / "m/1/model.onnx")
    seen = [taken(tmp_path)]
    assert taken(tmp_path) == seen[0]
    for file, content in [
        ("1/model.onnx", path.read_bytes() + b"\x10\x01"),
        ("model.yaml", "metadata: {a: b}"),
        ("labels.txt", "a\nb\nc"),
        ("labels.txt", "a\nb\nd"),
        ("reference.npz", "1"),
        ("reference.npz", "2"),
    ]:
        write(tmp_path / "m" / file, content)
        seen.append(taken(tmp_path))
    seen += [
        taken(tmp_path, replace(DEFAULTS, cores=4)),
        taken(tmp_path, replace(DEFAULTS, queue=QueuePlan(max_requests=1))),
    ]
    (tmp_path / "m").rename(tmp_path / "n")
    seen.append(taken(tmp_path))
    assert len(set(seen)) == len(seen)


def test_comments_and_unused_files_change_nothing(tmp_path):
    write_model(tmp_path / "m/1/model.onnx")
    write(tmp_path / "m/model.yaml", "instances: 1")
    before = taken(tmp_path)
    write(tmp_path / "m/model.yaml", "# as before\ninstances:   1\n")
    write(tmp_path / "m/README.md", "hello")
    assert taken(tmp_path) == before
