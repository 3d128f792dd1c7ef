"""What the HTTP port answers to unknown paths and to methods that would change something."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.telemetry.http import application


class Up:
    """A gateway that serves one model."""

    ready = True

    def model_ready(self, model, version=None):
        return True if model == "digits" and version in (None, 1) else None


async def metrics(_):
    return web.Response(text="# metrics\n")


def asked(method, path):
    """Status, headers and body of an answer; a JSON body is parsed."""

    async def main():
        async with (
            TestClient(TestServer(application(Up(), [web.get("/metrics", metrics)]))) as client,
            client.request(method, path) as answer,
        ):
            return (
                answer.status,
                answer.headers,
                await answer.json()
                if answer.content_type == "application/json" and method != "HEAD"
                else None,
            )

    return asyncio.run(asyncio.wait_for(main(), 30))


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT"])
@pytest.mark.parametrize(
    "path", ["/elsewhere", "/v2/models/digits/infer", "/v2/models/digits/versions/x/ready", "/v2"]
)
def test_what_is_not_there_is_answered_with_all_that_is(method, path):
    status, _, answer = asked(method, path)
    assert status == 404
    assert answer["error"].startswith(f"there is no {path} here: ")
    for there in (
        "(/)",
        "/metrics",
        "/v2/gateway/state",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/NAME/ready",
        "inference is gRPC",
    ):
        assert there in answer["error"]


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/metrics", "/v2/health/live", "/v2/models/digits/ready"])
def test_what_is_only_read_refuses_everything_else_with_405_and_says_what_is_allowed(method, path):
    status, headers, answer = asked(method, path)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert answer == {
        "error": (
            f"{method} is not for {path}: this port is for reading (GET, HEAD); inference is gRPC"
        )
    }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/metrics", 200), ("HEAD", "/metrics", 200), ("GET", "/v2/models/nobody/ready", 404)],
)
def test_what_is_there_is_answered_by_its_own_words(method, path, status):
    found, _, answer = asked(method, path)
    assert found == status
    assert answer in (None, {"error": "Request for unknown model: 'nobody' is not found"})
