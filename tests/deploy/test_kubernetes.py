"""What the manifests say is what the gateway does."""

import os
import re
import subprocess

import pytest
import yaml

from gateway.config.quantities import parse_duration_s
from load_tests.kubernetes_schemas import FOLDER as SCHEMAS
from load_tests.kubernetes_schemas import VERSIONS
from load_tests.tools import GO_TOOLS
from tests.support.checkout import ROOT
from tests.support.running import RunningGateway

DEPLOY = ROOT / "gateway" / "deploy"
FOLDER = DEPLOY / "kubernetes"
if not FOLDER.is_dir():
    pytest.skip("an installed gateway is tried, beside the tests alone", allow_module_level=True)
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OBJECTS = {
    each["kind"]: each
    for name in KUSTOMIZATION["resources"]
    for each in yaml.safe_load_all((FOLDER / name).read_text())
}
POD = OBJECTS["Deployment"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
PROBES = {kind: CONTAINER[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")}
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}


def seconds(option):
    (value,) = (
        argument.partition("=")[2]
        for argument in CONTAINER["args"]
        if argument.startswith(f"{option}=")
    )
    return parse_duration_s(value)


def test_every_file_is_applied():
    files = {path.name for path in FOLDER.glob("*.yaml")}
    assert files == {*KUSTOMIZATION["resources"], "kustomization.yaml"}


@pytest.fixture
def kubeconform():
    """Checks a text of objects against a version's schemas; returns exit status and output."""
    program = GO_TOOLS["kubeconform"].path
    if not program.exists() or not SCHEMAS.is_dir():
        assert os.environ.get("CI") != "true", "make tools"
        pytest.skip("kubeconform is not installed: make tools TOOLS=kubeconform")

    def check(text, version):
        done = subprocess.run(
            [program, "-strict", "-kubernetes-version", version, "-schema-location", SCHEMAS, "-"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return check


@pytest.mark.parametrize("version", VERSIONS)
def test_the_objects_are_what_kubernetes_takes(kubeconform, version):
    assert kubeconform(yaml.safe_dump_all(OBJECTS.values()), version) == (0, "")


def test_a_key_that_kubernetes_does_not_know_would_be_found(kubeconform):
    text = (FOLDER / "deployment.yaml").read_text().replace("failureThreshold", "failureTreshold")
    status, output = kubeconform(text, VERSIONS[-1])
    assert (status, "'failureTreshold' not allowed" in output) == (1, True)


def test_every_selector_chooses_the_pods_of_the_deployment():
    labels = POD["metadata"]["labels"]
    (spread,) = POD["spec"]["topologySpreadConstraints"]
    assert OBJECTS["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert OBJECTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert OBJECTS["Service"]["spec"]["selector"] == labels
    assert spread["labelSelector"]["matchLabels"] == labels


def test_a_gateway_starts_with_the_arguments_of_the_container(tmp_path):
    command, *arguments = CONTAINER["args"]
    options = [argument for argument in arguments if not argument.startswith("--models=")]
    assert command == "serve"
    with RunningGateway(ROOT / "models", tmp_path / "log", *options) as running:
        running.wait_text("(gateway is serving)")


def test_the_ports_are_those_the_gateway_has_where_none_are_named():
    table = (ROOT / "gateway/config/README.md").read_text()
    wanted = {"grpc": "--port", "http": "--http-port"}
    assert {
        name: int(re.search(rf"`{option}` .*\| (\d+) \|$", table, re.MULTILINE)[1])
        for name, option in wanted.items()
    } == PORTS
    assert not any("port=" in argument for argument in CONTAINER["args"])
    targets = {port["targetPort"]: port["port"] for port in OBJECTS["Service"]["spec"]["ports"]}
    assert targets == PORTS


@pytest.mark.parametrize("kind", PROBES)
def test_probes_ask_by_grpc(kind):
    assert PROBES[kind]["grpc"] == {"port": PORTS["grpc"]}


def test_a_stop_may_take_all_the_time_that_the_gateway_takes():
    needed = seconds("--drain-delay") + seconds("--grace")
    assert POD["spec"]["terminationGracePeriodSeconds"] >= needed + 5


def test_who_drains_is_seen_to_leave_before_it_stops_serving():
    readiness = PROBES["readiness"]
    seen = readiness["periodSeconds"] * readiness["failureThreshold"]
    assert seen < seconds("--drain-delay")


def test_who_drains_is_not_taken_for_dead():
    liveness = PROBES["liveness"]
    patience = liveness["periodSeconds"] * liveness["failureThreshold"]
    assert patience > seconds("--drain-delay") + seconds("--grace")


def test_the_container_may_do_nothing_that_it_need_not():
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert POD["spec"]["securityContext"]["runAsNonRoot"] is True
    assert POD["spec"]["automountServiceAccountToken"] is False


def test_the_user_and_the_writable_folder_are_those_of_the_image():
    image = (ROOT / "Dockerfile").read_text()
    security = POD["spec"]["securityContext"]
    assert f"USER {security['runAsUser']}:{security['runAsGroup']}\n" in image
    (writable,) = (each for each in CONTAINER["volumeMounts"] if not each.get("readOnly"))
    assert f"XDG_CACHE_HOME={writable['mountPath']}\n" in image


def test_mounts_and_volumes_are_the_same():
    assert {each["name"] for each in CONTAINER["volumeMounts"]} == {
        each["name"] for each in POD["spec"]["volumes"]
    }


def test_cores_are_limited_so_that_processes_are():
    assert CONTAINER["resources"]["limits"]["cpu"] == CONTAINER["resources"]["requests"]["cpu"]


def test_a_disruption_leaves_a_pod():
    least = OBJECTS["HorizontalPodAutoscaler"]["spec"]["minReplicas"]
    assert least > OBJECTS["PodDisruptionBudget"]["spec"]["maxUnavailable"]


def test_the_number_of_pods_is_the_autoscalers_alone():
    target = OBJECTS["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert target["name"] == OBJECTS["Deployment"]["metadata"]["name"]
    assert "replicas" not in OBJECTS["Deployment"]["spec"]


def test_the_autoscalers_metric_is_the_one_that_the_adapter_makes():
    (rule,) = yaml.safe_load((DEPLOY / "prometheus_adapter.yaml").read_text())["rules"]["custom"]
    (metric,) = OBJECTS["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
