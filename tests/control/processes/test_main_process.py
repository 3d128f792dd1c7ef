"""Whole gateways: real processes, real signals, real deaths."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.running_gateway import until


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


class TestStart:
    def test_every_process_serves_the_same_on_one_port(self, start):
        gateway = start()

        first, second = gateway.states()

        assert first["live"] == second["live"] == ["m/1/ok"]
        assert first["pid"] != second["pid"]
        assert first["ready"]
        assert second["ready"]
        assert gateway.index() == {"m/1": ("READY", "")}

    def test_a_bad_model_never_keeps_the_others_from_being_served(self, start, models):
        (models / "broken").write_text("1 fail\n")
        (models / "half").write_text("1 ok\n2 fail in 1\n3 unplannable\n")
        (models / "empty").write_text("")
        gateway = start()

        assert gateway.live() == [["half/1/ok", "m/1/ok"]] * 2
        assert gateway.ask("state")["ready"]
        assert gateway.index() == {
            "broken/1": ("UNAVAILABLE", "it is broken"),
            "empty/": ("UNAVAILABLE", "no version is there"),
            "half/1": ("READY", ""),
            "half/2": ("UNAVAILABLE", "it is broken"),
            "half/3": ("UNAVAILABLE", "its graph makes no sense"),
            "m/1": ("READY", ""),
        }

    def test_a_model_that_kills_serving_processes_fails_alone_and_they_come_back(
        self, start, models
    ):
        (models / "killer").write_text("1 crash\n")
        for number in range(6):
            (models / f"n{number}").write_text("1 ok\n")
        gateway = start()

        assert "ended while it opened" in gateway.index()["killer/1"][1]
        everything = sorted(["m/1/ok", *(f"n{number}/1/ok" for number in range(6))])
        until(lambda: gateway.live() == [everything] * 2)

    def test_until_the_pass_is_over_the_port_answers_not_ready_and_says_loading(
        self, start, models
    ):
        (models / "s").write_text("1 slow\n")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        gateway = start(wait=False, port=port)
        gateway.port = port

        early = until(lambda: (state := gateway.ask("state")) and state["index"] and state)

        assert not early["ready"]
        assert ["s", "1", "LOADING", ""] in early["index"]
        gateway.wait_started()
        assert gateway.ask("state")["ready"]

    def test_long_loading_is_reported(self, start, models):
        for number in range(8):
            (models / f"s{number}").write_text("1 slow\n")
        gateway = start()

        assert "of 9 models (" in gateway.log
        assert "loaded 9 of 9 models in" in gateway.log

    def test_exit_on_error_ends_with_the_names_of_what_failed(self, start, models):
        (models / "broken").write_text("1 fail\n")
        gateway = start(wait=False, model_control={"exit_on_error": True})

        assert gateway.wait() == 1
        assert "1 of 2 models cannot be served (--exit-on-error): broken" in gateway.log

    def test_strict_readiness_waits_for_every_model(self, start, models):
        (models / "broken").write_text("1 fail\n")
        gateway = start(model_control={"strict_readiness": True})
        assert not gateway.ask("state")["ready"]

        (models / "broken").write_text("1 ok\n")
        assert gateway.ask("load", "broken") is None

        assert gateway.ask("state")["ready"]

    def test_processes_that_never_listen_end_the_gateway_with_a_clear_text(self, start):
        gateway = start(wait=False, settings={"crash at start": True})

        assert gateway.wait() == 1
        assert re.search(
            r"failed 5 times in a row before it could listen: it ended with exit status "
            r"3 \(pid \d+\); what it wrote",
            gateway.log,
        )

    def test_what_no_restart_mends_ends_the_gateway_at_once_with_the_process_own_words(self, start):
        gateway = start(
            wait=False, settings={"refuse": "the certificate cannot be read: give --tls-cert"}
        )

        assert gateway.wait() == 1
        assert "the certificate cannot be read: give --tls-cert" in gateway.log
        assert "another takes its place" not in gateway.log

    @pytest.mark.parametrize("option", ["port", "http_port"])
    def test_a_port_that_another_gateway_has_is_an_error(self, start, option):
        first = start(http_port=0)
        taken = first.port if option == "port" else int(first.http.rpartition(":")[2])

        second = start(wait=False, **{option: taken})

        assert second.wait() == 1
        assert f"port {taken} on 127.0.0.1 is taken" in second.log
        assert ("--port" if option == "port" else "--http-port") in second.log


class TestDeaths:
    def test_a_killed_process_is_replaced_and_serves_what_the_others_serve(self, start):
        gateway = start()
        assert gateway.ask("load", "m") is None
        victim = gateway.pid_of(0)

        os.kill(victim, signal.SIGKILL)

        until(lambda: gateway.pid_of(0) not in (0, victim))
        assert gateway.live() == [["m/1/ok"]] * 2
        assert f"died with SIGKILL (pid {victim}); another takes its place in" in gateway.log

    def test_only_calls_on_the_dead_process_fail_and_counts_never_go_back(self, start):
        gateway = start()
        connections = {}
        while len(connections) < 2:
            connection = gateway.connect()
            connections.setdefault(connection.ask("state")["slot"], connection)
        for connection in connections.values():
            assert connection.ask("infer", "m") == "answered"
        victim = connections[0]
        survivor = connections[1]
        pid = victim.ask("state")["pid"]
        assert survivor.ask("count", "m") == 2

        os.kill(pid, signal.SIGKILL)

        counts = []
        for _ in range(50):
            assert survivor.ask("infer", "m") == "answered"
            counts.append(survivor.ask("count", "m"))
        with pytest.raises(OSError):
            victim.ask("infer", "m")
        assert counts == list(range(3, 53))
        until(lambda: gateway.pid_of(0) not in (0, pid))
        for _ in range(10):
            assert gateway.ask("infer", "m") == "answered"
        assert survivor.ask("count", "m") == 62

    def test_all_processes_may_die_and_the_gateway_goes_on(self, start):
        gateway = start()
        pids = {state["pid"] for state in gateway.states()}
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

        until(
            lambda: (
                len(gateway.states()) == 2
                and not pids & {state["pid"] for state in gateway.states()}
            )
        )

        until(lambda: gateway.live() == [["m/1/ok"]] * 2)

    def test_a_killed_supervisor_leaves_no_process_behind_and_the_port_free(self, start):
        gateway = start()
        pids = [state["pid"] for state in gateway.states()]
        connection = gateway.begin_call(0.5)

        gateway.process.kill()

        assert connection.receive() == "answered"  # what was accepted is answered all the same
        until(lambda: not any(map(alive, pids)))
        start(port=gateway.port)

    def test_a_killed_supervisor_leaves_no_process_behind_that_hangs(self, start):
        gateway = start(settings={"hang on stop": True}, stop={"grace_s": 0.1, "kill_after_s": 0.2})
        pids = [state["pid"] for state in gateway.states()]

        gateway.process.kill()

        until(lambda: not any(map(alive, pids)))


class TestLacking:
    """A restarted process cannot open again what is live."""

    def lose(self, gateway, *slots):
        pids = {state["pid"] for state in gateway.states() if state["slot"] in slots}
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        until(
            lambda: (
                len(states := gateway.states()) == 2
                and not pids & {state["pid"] for state in states}
            )
        )

    @pytest.fixture
    def file(self, models, tmp_path):
        file = tmp_path / "opens"
        file.touch()
        (models / "m").write_text(f"1 while {file}\n")
        return file

    def test_what_one_process_lacks_is_said_and_opened_again_by_itself(self, start, file):
        gateway = start(http_port=0, mode="none", model_control={"strict_readiness": True})
        before = gateway.live()
        file.unlink()
        self.lose(gateway, 1)

        reason = "serving process 1 could not open it again after a restart: its file is gone"
        until(lambda: gateway.index() == {"m/1": ("READY", reason)})
        assert not gateway.ask("state")["ready"]
        assert _http(gateway, "/v2/models/m/ready")[0] == 200
        assert gateway.live() == [before[0], []]
        # the restarted process tries again, in vain
        until(lambda: "m: version 1 stays live as it was loaded: its file is gone" in gateway.log)
        file.touch()

        until(lambda: gateway.index() == {"m/1": ("READY", "")})
        until(lambda: gateway.ask("state")["ready"])
        assert gateway.live() == before

    def test_what_no_process_has_is_not_ready_and_a_look_at_the_repository_tries_at_once(
        self, start, file
    ):
        gateway = start(http_port=0)
        before = gateway.live()
        file.unlink()
        self.lose(gateway, 0, 1)

        until(lambda: gateway.index()["m/1"][0] == "UNAVAILABLE")
        until(
            lambda: (
                gateway.index()["m/1"][1].count(
                    "could not open it again after a restart: its file is gone"
                )
                == 2
            )
        )
        assert _http(gateway, "/v2/models/m/ready")[0] == 400
        assert _http(gateway, "/v2/models/m/versions/1/ready")[0] == 400
        file.touch()
        gateway.signal(signal.SIGHUP)

        until(lambda: gateway.index() == {"m/1": ("READY", "")})
        assert _http(gateway, "/v2/models/m/ready")[0] == 200
        assert gateway.live() == before

    def test_a_callers_load_opens_what_a_process_lacks(self, start, file):
        gateway = start()
        before = gateway.live()
        file.unlink()
        self.lose(gateway, 0)
        until(lambda: "could not open it again" in gateway.index()["m/1"][1])
        file.touch()

        assert gateway.ask("load", "m") is None

        assert gateway.live() == before
        assert gateway.index() == {"m/1": ("READY", "")}


class TestSkipped:
    def test_a_model_of_a_kind_that_is_not_served_is_no_failure(self, start, models):
        (models / "ens").write_text("1 unserved\n")
        gateway = start(model_control={"exit_on_error": True, "strict_readiness": True})

        assert gateway.ask("state")["ready"]
        assert gateway.index() == {
            "ens/": ("UNAVAILABLE", "backend 'python' is not served"),
            "m/1": ("READY", ""),
        }
        (models / "n").write_text("1 ok\n")
        gateway.signal(signal.SIGHUP)
        until(lambda: gateway.live() == [["m/1/ok", "n/1/ok"]] * 2)
        assert (
            gateway.log.count(
                "INFO model ens is not served: backend 'python' is not served; skipped"
            )
            == 1
        )
        assert "cannot be served" not in gateway.log
        assert "ERROR" not in gateway.log

    def test_a_load_of_it_fails_with_the_reason(self, start, models):
        (models / "ens").write_text("1 unserved\n")
        gateway = start()

        assert (
            gateway.ask("load", "ens")
            == "ModelFailed: failed to load 'ens', backend 'python' is not served"
        )


@pytest.mark.alone
class TestStopping:
    def test_sigterm_drains_serving_everything_and_then_exits_with_zero(self, start):
        gateway = start(http_port=0, stop={"drain_delay_s": 1.0})
        connection = gateway.connect()
        _http(gateway, "/v2/health/live")  # waits until the telemetry process is up

        gateway.signal(signal.SIGTERM)

        draining = until(lambda: (state := connection.ask("state"))["draining"] and state)
        until(lambda: not connection.ask("state")["ready"])
        assert draining["live"] == ["m/1/ok"]
        assert gateway.ask("infer", "m") == "answered"  # on a new connection, too
        assert _http(gateway, "/v2/health/ready")[0] == 400
        assert _http(gateway, "/v2/health/live")[0] == 200
        connection.send("infer", "m", "1.5")  # longer than the drain delay
        assert connection.receive() == "answered"
        assert gateway.wait() == 0

    def test_a_call_in_flight_is_answered_within_the_grace(self, start):
        gateway = start(stop={"drain_delay_s": 0})
        connection = gateway.begin_call(0.5)

        gateway.signal(signal.SIGTERM)

        assert connection.receive() == "answered"
        assert gateway.wait() == 0

    def test_ctrl_c_skips_the_drain_delay(self, start):
        gateway = start(stop={"drain_delay_s": 3600})

        gateway.signal(signal.SIGINT)

        assert gateway.wait() == 0

    def test_ctrl_c_after_sigterm_skips_what_is_left_of_the_drain_delay(self, start):
        gateway = start(stop={"drain_delay_s": 3600})
        gateway.signal(signal.SIGTERM)
        until(lambda: "draining" in gateway.log)

        gateway.signal(signal.SIGINT)

        assert gateway.wait() == 0

    def test_a_second_ctrl_c_ends_at_once(self, start):
        gateway = start(stop={"grace_s": 3600})
        pids = [state["pid"] for state in gateway.states()]
        gateway.begin_call(3600)
        gateway.signal(signal.SIGINT)
        until(lambda: "stopping" in gateway.log)

        gateway.signal(signal.SIGINT)

        assert gateway.wait() == 130
        until(lambda: not any(map(alive, pids)))

    def test_a_signal_to_the_whole_process_group_is_the_supervisors_alone(self, start):
        gateway = start()
        connection = gateway.begin_call(0.5)

        os.killpg(gateway.process.pid, signal.SIGINT)

        assert connection.receive() == "answered"
        assert gateway.wait() == 0

    def test_a_process_that_does_not_stop_is_killed_and_the_exit_status_says_so(self, start):
        gateway = start(
            settings={"hang on stop": True},
            stop={"drain_delay_s": 0, "grace_s": 0.1, "kill_after_s": 0.2},
        )

        gateway.signal(signal.SIGTERM)

        assert gateway.wait() == 1
        assert "killing 2 serving processes that did not stop within 0.3 s" in gateway.log

    def test_a_gateway_that_is_still_starting_stops_at_once(self, start, models):
        for number in range(100):
            (models / f"s{number}").write_text("1 slow\n")
        gateway = start(wait=False, stop={"drain_delay_s": 0})
        until(lambda: "models (" in gateway.log)

        gateway.signal(signal.SIGTERM)

        assert gateway.wait() == 0

    def test_the_main_process_imports_neither_grpc_nor_numpy_nor_onnxruntime(self, start):
        gateway = start(http_port=0)
        assert _http(gateway, "/v2/health/ready")[0] == 200

        gateway.signal(signal.SIGINT)

        assert gateway.wait() == 0, gateway.log  # 99 if it did


class TestModelControl:
    def test_a_load_takes_what_is_new_and_retires_the_old(self, start, models):
        gateway = start()
        (models / "m").write_text("2 ok\n")

        assert gateway.ask("load", "m") is None

        assert gateway.live() == [["m/2/ok"]] * 2
        until(lambda: gateway.index() == {"m/1": ("UNAVAILABLE", "unloaded"), "m/2": ("READY", "")})

    def test_a_load_that_fails_in_one_process_changes_none(self, start, models):
        gateway = start()
        (models / "m").write_text("2 ok\n3 fail in 1\n")

        answer = gateway.ask("load", "m")

        assert answer == (
            "ModelFailed: failed to load 'm', version 3 is at UNAVAILABLE state: it is "
            "broken; what served before goes on"
        )
        states = gateway.states()
        assert [state["live"] for state in states] == [["m/1/ok"]] * 2
        assert [state["prepared"] for state in states] == [0, 0]

    def test_what_a_load_cannot_do_is_said(self, start):
        gateway = start()

        assert gateway.ask("load", "nobody").startswith(
            "ModelNotFound: failed to load 'nobody', failed to poll from model repository"
        )
        assert gateway.ask("load", "m", "file:1/model.onnx=x").startswith(
            "Unsupported: failed to load 'm', files are not taken"
        )
        assert "unrecognized load parameter 'x'" in gateway.ask("load", "m", "x=y")
        assert (
            gateway.ask("load", "m", "config={")
            == "ModelFailed: failed to load 'm', '{' is not JSON; what served before goes on"
        )
        assert gateway.live() == [["m/1/ok"]] * 2

    def test_a_configuration_sent_with_a_load_holds_until_the_next_load(self, start, models):
        gateway = start()
        assert gateway.ask("load", "m", 'config={"8":"ok"}') is None
        assert gateway.live() == [["m/8/ok"]] * 2
        (models / "n").write_text("1 ok\n")
        gateway.signal(signal.SIGHUP)
        until(lambda: gateway.live() == [["m/8/ok", "n/1/ok"]] * 2)

        assert gateway.ask("load", "m") is None

        assert gateway.live() == [["m/1/ok", "n/1/ok"]] * 2

    def test_an_unload_holds_in_every_process_and_stays_until_a_load(self, start, models):
        gateway = start()

        assert gateway.ask("unload", "m") is None
        assert gateway.live() == [[], []]
        until(lambda: gateway.index() == {"m/1": ("UNAVAILABLE", "unloaded")})
        assert gateway.ask("unload", "nobody") is None
        gateway.signal(signal.SIGHUP)
        (models / "n").write_text("1 ok\n")
        gateway.signal(signal.SIGHUP)
        until(lambda: gateway.live() == [["n/1/ok"]] * 2)

        assert gateway.ask("load", "m") is None

        assert gateway.live() == [["m/1/ok", "n/1/ok"]] * 2

    @pytest.mark.parametrize("mode", ["none", "poll"])
    def test_some_modes_let_callers_change_nothing(self, start, mode):
        gateway = start(mode=mode)

        for what in ("load", "unload"):
            answer = gateway.ask(what, "m")
            assert answer.startswith(
                "Unavailable: explicit model load / unload is not allowed if polling is enabled"
            )
            assert f"--model-control {mode}" in answer

    def test_explicit_loads_what_is_named_and_what_callers_ask_for(self, start, models):
        (models / "n").write_text("1 ok\n")
        gateway = start(mode="explicit", model_control={"load_models": ["n"]})
        assert gateway.live() == [["n/1/ok"]] * 2
        assert gateway.index() == {"m/": (None, ""), "n/1": ("READY", "")}

        assert gateway.ask("load", "m") is None

        assert gateway.live() == [["m/1/ok", "n/1/ok"]] * 2

    def test_explicit_names_a_model_that_is_not_there(self, start):
        gateway = start(mode="explicit", model_control={"load_models": ["nobody"]})

        assert gateway.index()["nobody/"] == (
            "UNAVAILABLE",
            "failed to poll from model repository: it has no model 'nobody'",
        )

    def test_explicit_with_a_star_loads_all(self, start):
        assert (
            start(mode="explicit", model_control={"load_models": ["*"]}).live() == [["m/1/ok"]] * 2
        )

    def test_poll_follows_the_repository(self, start, models):
        gateway = start(mode="poll", model_control={"poll_interval_s": 0.05})
        (models / "n").write_text("1 ok\n")
        until(lambda: gateway.live() == [["m/1/ok", "n/1/ok"]] * 2)

        (models / "n").write_text("1 ok\n2 ok\n")
        until(lambda: gateway.live() == [["m/1/ok", "n/1/ok", "n/2/ok"]] * 2)
        (models / "n").write_text("2 fail\n")
        until(lambda: "the last load failed: it is broken" in gateway.index()["n/2"][1])
        assert gateway.live() == [["m/1/ok", "n/1/ok", "n/2/ok"]] * 2
        (models / "n").unlink()
        until(lambda: gateway.live() == [["m/1/ok"]] * 2)

    def test_a_repository_that_is_suddenly_empty_is_taken_for_a_mount_that_is_gone(
        self, start, models
    ):
        gateway = start(mode="poll", model_control={"poll_interval_s": 0.05})

        (models / "m").rename(models.parent / "m")

        until(lambda: "it holds no model any more" in gateway.log)
        assert gateway.live() == [["m/1/ok"]] * 2

    def test_sighup_takes_up_what_changed_and_tries_again_what_failed(self, start, models):
        (models / "n").write_text("1 fail in 1\n")
        gateway = start()
        (models / "m").write_text("7 ok\n")

        gateway.signal(signal.SIGHUP)

        until(lambda: gateway.live() == [["m/7/ok"]] * 2)
        assert gateway.log.count("model n version 1 is not served") == 2

    def test_a_load_while_a_process_is_away_reaches_it_too(self, start, models):
        gateway = start(restart={"first_delay_s": 0.3, "longest_delay_s": 0.3})
        victim = gateway.pid_of(0)
        os.kill(victim, signal.SIGKILL)
        until(lambda: len({gateway.ask("state")["slot"] for _ in range(20)}) == 1)
        (models / "m").write_text("2 ok\n")
        assert gateway.ask("load", "m") is None

        until(lambda: len(gateway.states()) == 2)

        assert gateway.live() == [["m/2/ok"]] * 2

    def test_settings_are_agreed_by_all(self, start):
        gateway = start()
        assert gateway.ask("log_settings") == {"log_verbose_level": 0}

        assert gateway.ask("log_settings", json.dumps({"log_verbose_level": 3})) == {
            "log_verbose_level": 3
        }

        assert [state["log_settings"] for state in gateway.states()] == [
            {"log_verbose_level": 3}
        ] * 2
        assert "unknown setting 'x'" in gateway.ask("log_settings", json.dumps({"x": 1}))

    def test_trace_settings_hold_in_all_processes_also_in_later_ones_until_they_are_cleared(
        self, start
    ):
        gateway = start()
        begun = gateway.ask("trace_settings")
        assert begun == {
            "trace_mode": "opentelemetry",
            "trace_level": ["TIMESTAMPS"],
            "trace_rate": 3,
        }
        assert gateway.ask(
            "trace_settings", json.dumps({"trace_level": ["OFF"], "trace_rate": 7})
        ) == {
            "trace_mode": "opentelemetry",
            "trace_level": ["OFF"],
            "trace_rate": 7,
        }

        victim = gateway.pid_of(1)
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(gateway.states()) == 2 and gateway.pid_of(1) != victim)
        assert [state["trace_changes"] for state in gateway.states()] == [
            {"trace_level": ["OFF"], "trace_rate": 7}
        ] * 2

        assert "'trace_rate' must be a whole number" in gateway.ask(
            "trace_settings", json.dumps({"trace_rate": 0})
        )
        assert (
            gateway.ask("trace_settings", json.dumps({"trace_level": [], "trace_rate": []}))
            == begun
        )
        assert [
            (state["trace_settings"], state["trace_changes"]) for state in gateway.states()
        ] == [(begun, {})] * 2


def _http(gateway, path):
    try:
        with urllib.request.urlopen(f"http://{gateway.http}{path}", timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


class TestHttp:
    def test_probes_are_answered_by_the_state_of_all_models(self, start, models):
        (models / "broken").write_text("1 fail\n")
        gateway = start(http_port=0)

        assert _http(gateway, "/v2/health/live") == (200, {"live": True})
        assert _http(gateway, "/v2/health/ready") == (200, {"ready": True})
        assert _http(gateway, "/v2/models/m/ready") == (200, {"name": "m", "ready": True})
        assert _http(gateway, "/v2/models/m/versions/1/ready") == (
            200,
            {"name": "m", "version": "1", "ready": True},
        )
        assert _http(gateway, "/v2/models/m/versions/2/ready")[0] == 400
        assert _http(gateway, "/v2/models/broken/ready") == (
            400,
            {"name": "broken", "ready": False},
        )
        assert _http(gateway, "/v2/models/nobody/ready") == (
            404,
            {"error": "Request for unknown model: 'nobody' is not found"},
        )

    def test_a_probe_during_a_long_start_is_answered_not_ready(self, start, models):
        for number in range(30):
            (models / f"s{number}").write_text("1 slow\n")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        gateway = start(wait=False, http_port=port)
        gateway.http = f"127.0.0.1:{port}"
        # from the very start
        until(lambda: socket.create_connection(("127.0.0.1", port)).close() is None)

        assert _http(gateway, "/v2/health/live")[0] == 200
        assert _http(gateway, "/v2/health/ready") == (400, {"ready": False})
