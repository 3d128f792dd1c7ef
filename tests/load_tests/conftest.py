import pytest


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    from load_tests.benchmark_models import build

    folder = tmp_path_factory.mktemp("models")
    build(folder, copies=2)
    return folder


@pytest.fixture(scope="session")
def payload(models):
    from load_tests.payloads import make_payload

    return make_payload(models, "small")


@pytest.fixture(scope="session")
def yardstick(models, payload, tmp_path_factory):
    """A running yardstick server on the benchmark models."""
    from load_tests.servers import YARDSTICK, serving

    with serving(
        YARDSTICK, models, payload, tmp_path_factory.mktemp("log") / "yardstick.log"
    ) as server:
        yield server
