"""Gateways of real processes, with a stand-in for the serving processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.running_gateway import Gateway


@pytest.fixture
def models(tmp_path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "m").write_text("1 ok\n")
    return folder


@pytest.fixture
def start(models):
    """Starts a gateway on the folder `models`; `wait=False` does not wait for it."""
    gateways = []

    def start_gateway(*, wait: bool = True, **options) -> Gateway:
        gateway = Gateway(models, **options)
        gateways.append(gateway)
        if wait:
            gateway.wait_started()
        return gateway

    yield start_gateway
    for gateway in gateways:
        gateway.close()
