"""`gateway dashboards` writes what monitors a gateway."""

import json

import yaml


def test_it_writes_a_dashboard_and_rules_and_names_them(gateway, tmp_path):
    out = tmp_path / "new" / "monitoring"
    done = gateway("dashboards", "--out", out)

    assert done.status == 0
    assert done.out.splitlines() == [
        str(out / "gateway-dashboard.json"),
        str(out / "gateway-alerts.yaml"),
    ]
    assert json.loads((out / "gateway-dashboard.json").read_text())["title"] == "ONNX gateway"
    assert (
        yaml.safe_load((out / "gateway-alerts.yaml").read_text())["groups"][0]["name"] == "gateway"
    )


def test_a_file_that_was_changed_is_left_alone_unless_forced(gateway, tmp_path):
    gateway("dashboards", "--out", tmp_path)
    rules = tmp_path / "gateway-alerts.yaml"
    shipped = rules.read_bytes()
    rules.write_text("mine")

    done = gateway("dashboards", "--out", tmp_path)
    assert done.status == 1
    assert done.faults == [f"{rules} is there and says something else (--force writes over it)"]
    assert rules.read_text() == "mine"

    assert gateway("dashboards", "--out", tmp_path, "--force").status == 0
    assert rules.read_bytes() == shipped
    assert gateway("dashboards", "--out", tmp_path).status == 0


def test_a_folder_that_cannot_be_made_is_a_fault(gateway, tmp_path):
    (tmp_path / "file").write_text("")

    done = gateway("dashboards", "--out", tmp_path / "file" / "folder")

    assert done.status == 1
    assert len(done.faults) == 1
    assert done.faults[0].startswith("--out: ")
