"""Changes over all processes: they take effect in all or in none, whichever process dies."""

from __future__ import annotations

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.control.lifecycle.changes import Change, Drained, Joined, Lacking, Send, Settled
from gateway.control.lifecycle.two_phase_commit import TwoPhaseCommit
from gateway.core.plan import VersionPlan
from gateway.ipc.messages import Abort, Commit, Committed, Prepare, Prepared, Retired


def plan(model: str, version: int, content: str = "a") -> VersionPlan:
    return VersionPlan(
        model=model,
        version=version,
        path="",
        fingerprint=f"{model}-{version}-{content}",
        inputs=(),
        outputs=(),
    )


class Process:
    """A serving process as `TwoPhaseCommit` sees it.

    It prepares in its own time, commits at once and drains later.
    """

    def __init__(self) -> None:
        self.inbox: deque[Prepare | Commit | Abort] = deque()
        self.preparing: dict[int, Prepare] = {}
        self.prepared: dict[int, dict[tuple[str, int], VersionPlan]] = {}
        self.aborted: set[int] = set()
        self.live: dict[tuple[str, int], VersionPlan] = {}
        self.answers: deque[Prepared | Committed | Retired] = deque()
        self.draining: list[int] = []

    def receive(self) -> None:
        message = self.inbox.popleft()
        if isinstance(message, Prepare):
            models = {p.model for p in message.plans}
            busy = {
                p.model
                for number, other in self.preparing.items()
                if number not in self.aborted
                for p in other.plans
            }
            assert not models & busy, "two changes of one model are prepared at the same time"
            self.preparing[message.change_id] = message
        elif isinstance(message, Abort):
            assert message.change_id in self.preparing or message.change_id in self.prepared
            self.aborted.add(message.change_id)
            self.prepared.pop(message.change_id, None)
        else:
            opened = self.prepared.pop(message.change_id, {})
            for key in message.retire:
                del self.live[key]  # KeyError: it does not have what it must retire
            for key in message.live:
                self.live[key] = opened[key]  # KeyError: it has not prepared what it must commit
            self.answers.append(Committed(message.change_id))
            self.draining.append(message.change_id)

    def finish_preparing(self, change_id: int, failing: bool) -> None:
        message = self.preparing.pop(change_id)
        failed = message.plans[:1] if failing else ()
        if change_id not in self.aborted:
            self.prepared[change_id] = {p.key: p for p in message.plans if p not in failed}
        self.answers.append(Prepared(change_id, tuple((p.key, "broken") for p in failed)))

    def idle(self) -> bool:
        return not (self.inbox or self.preparing or self.answers or self.draining)


class World:
    """`TwoPhaseCommit` and the processes that carry out its actions."""

    def __init__(self, concurrent: int = 2) -> None:
        self.two_phase_commit = TwoPhaseCommit(concurrent)
        self.processes: dict[int, Process] = {}
        self.joined: set[int] = set()
        self.lacking: dict[int, set[tuple[str, int]]] = {}
        self.begun: dict[int, Change] = {}
        self.before: dict[int, dict[tuple[str, int], VersionPlan]] = {}
        self.settled: dict[int, Settled] = {}
        self.drained: set[int] = set()

    def do(self, actions) -> None:
        for action in actions:
            match action:
                case Send(slot, message):
                    self.processes[slot].inbox.append(message)
                    if isinstance(message, Commit):
                        self.lacking.get(slot, set()).difference_update(message.live)
                case Joined(slot):
                    self.joined.add(slot)
                case Lacking(slot, errors):
                    self.lacking[slot] = self.lacking.get(slot, set()) | {key for key, _ in errors}
                case Settled(change):
                    self.check_settled(action, change)
                case Drained(change):
                    assert change.id in self.settled
                    assert change.id not in self.drained
                    self.drained.add(change.id)

    def check_settled(self, settled: Settled, change: Change) -> None:
        assert change.id not in self.settled, "settled twice"
        self.settled[change.id] = settled
        mine = {
            key: p for key, p in self.two_phase_commit.committed.items() if key[0] == change.model
        }
        if settled.errors and (change.together or len(settled.errors) == len(change.plans)):
            assert settled.live == ()
            assert mine == self.before[change.id], "a failed change changed something"
        if settled.errors:
            assert settled.retired == (), "what served was taken away for something that failed"
        else:
            wanted = {p.key: p.fingerprint for p in change.plans}
            assert wanted.items() <= {key: p.fingerprint for key, p in mine.items()}.items()
            if change.replaces:
                assert mine.keys() == wanted.keys()
        if not settled.errors or settled.live:
            for slot in self.joined:
                live = {
                    key: p for key, p in self.processes[slot].live.items() if key[0] == change.model
                }
                lacking = self.lacking.get(slot, set())
                assert {k: p for k, p in mine.items() if k not in lacking} == {
                    k: p for k, p in live.items() if k not in lacking
                }

    def begin(self, change: Change) -> None:
        self.begun[change.id] = change
        self.before[change.id] = {
            key: p for key, p in self.two_phase_commit.committed.items() if key[0] == change.model
        }
        self.do(self.two_phase_commit.begin(change))

    def start(self, slot: int) -> None:
        self.processes[slot] = Process()
        self.lacking.pop(slot, None)
        self.do(self.two_phase_commit.add(slot))

    def kill(self, slot: int) -> None:
        del self.processes[slot]
        self.joined.discard(slot)
        self.do(self.two_phase_commit.remove(slot))

    def answer(self, slot: int) -> None:
        message = self.processes[slot].answers.popleft()
        tell = {
            Prepared: self.two_phase_commit.prepared,
            Committed: self.two_phase_commit.was_committed,
            Retired: self.two_phase_commit.retired,
        }[type(message)]
        self.do(tell(slot, message))

    def step(self, slot: int, failing: bool = False) -> bool:
        """Lets one thing happen in the process, if anything can."""
        process = self.processes[slot]
        if process.inbox:
            process.receive()
        elif process.preparing:
            process.finish_preparing(next(iter(process.preparing)), failing)
        elif process.draining:
            process.answers.append(Retired(process.draining.pop(0)))
        elif process.answers:
            self.answer(slot)
        else:
            return False
        return True

    def run(self) -> None:
        while sum(self.step(slot) for slot in sorted(self.processes)):
            pass


def start_world(processes: int = 2) -> World:
    world = World()
    for slot in range(processes):
        world.start(slot)
    return world


def test_a_load_is_live_in_every_process_when_it_settles():
    world = start_world()
    world.begin(Change(1, "m", (plan("m", 1),), together=True))
    world.run()

    assert world.settled[1].live == (("m", 1),)
    assert [list(p.live) for p in world.processes.values()] == [[("m", 1)]] * 2
    assert 1 in world.drained


def test_nothing_is_committed_before_the_last_process_is_ready():
    world = start_world()
    world.begin(Change(1, "m", (plan("m", 1),), together=True))
    while world.step(0):
        pass

    assert world.two_phase_commit.committed == {}
    assert not world.processes[0].live


def test_a_failure_in_one_process_aborts_all_and_what_served_goes_on():
    world = start_world()
    world.begin(Change(1, "m", (plan("m", 1, "old"),), together=True))
    world.run()
    world.begin(Change(2, "m", (plan("m", 1, "new"),), together=True))
    for slot in (0, 1):
        world.processes[slot].receive()
        world.processes[slot].finish_preparing(
            next(iter(world.processes[slot].preparing)), failing=slot == 1
        )
    world.run()

    assert world.settled[2].errors == ((("m", 1), "broken"),)
    for process in world.processes.values():
        assert process.live == {("m", 1): plan("m", 1, "old")}
        assert not process.prepared


def test_a_death_while_preparing_aborts_a_callers_load():
    world = start_world()
    world.begin(Change(1, "m", (plan("m", 1),), together=True))
    world.kill(1)
    world.run()

    assert "ended while it opened" in world.settled[1].errors[0][1]
    assert not world.processes[0].live
    assert not world.processes[0].prepared


def test_a_death_while_preparing_is_tried_again_alone_where_nobody_waits():
    world = start_world()
    world.begin(Change(1, "m", (plan("m", 1),), retries=1))
    world.begin(Change(2, "n", (plan("n", 1),), retries=1))
    world.kill(1)
    world.run()

    assert world.settled[1].live == (("m", 1),)
    assert world.settled[2].live == (("n", 1),)
    assert world.processes[0].live.keys() == {("m", 1), ("n", 1)}


def test_a_model_that_kills_again_when_alone_is_the_one_that_fails():
    world = start_world()
    world.begin(Change(1, "m", (plan("m", 1),), retries=1))
    world.begin(Change(2, "n", (plan("n", 1),), retries=1))
    world.kill(1)
    world.start(1)
    while world.step(0):
        pass
    prepared_alone = world.processes[1].inbox[-1].plans[0].model
    world.kill(1)
    world.run()

    failed = {c for c, settled in world.settled.items() if settled.errors}
    assert {world.begun[c].model for c in failed} == {prepared_alone}


def test_a_model_is_not_tried_alone_while_a_process_may_still_die_of_another():
    world = start_world()
    world.begin(Change(1, "killer", (plan("killer", 1),), retries=1))
    world.begin(Change(2, "m", (plan("m", 1),), retries=1))
    world.kill(1)
    world.kill(0)  # it was opening the killer as well
    world.start(0)
    alone = world.processes[0].inbox[-1].plans[0].model
    world.run()

    assert {c for c, settled in world.settled.items() if settled.errors} == set()
    assert alone in ("killer", "m")


def test_a_restarted_process_is_brought_to_what_is_committed_before_it_joins():
    world = start_world()
    for number, model in enumerate("mno"):
        world.begin(Change(number, model, (plan(model, 1),)))
    world.run()
    world.kill(0)
    world.start(0)
    assert 0 not in world.joined

    world.run()

    assert 0 in world.joined
    assert world.processes[0].live == world.processes[1].live == world.two_phase_commit.committed


def test_a_change_during_a_restart_reaches_the_process_that_restarts():
    world = start_world()
    world.begin(Change(1, "m", (plan("m", 1),)))
    world.run()
    world.kill(0)
    world.start(0)
    world.begin(Change(2, "m", (plan("m", 2),), together=True))
    while world.step(1):
        pass
    assert world.settled[2].live == (("m", 2),)

    world.run()

    assert world.processes[0].live == world.two_phase_commit.committed == {("m", 2): plan("m", 2)}


def test_a_process_that_cannot_open_what_is_being_committed_joins_without_it():
    world = start_world()
    world.begin(Change(1, "m", (plan("m", 1),)))
    for slot in (0, 1):
        world.step(slot)
        world.step(slot)
        world.answer(slot)
    world.start(2)  # the versions are committed, but no process has answered to that yet
    world.step(2)
    world.step(2, failing=True)
    while world.step(2):
        pass
    assert 2 in world.joined

    world.run()

    assert world.settled[1].live == (("m", 1),)
    assert world.two_phase_commit.lacking == {("m", 1): {2: "broken"}}
    assert not world.processes[2].live


def test_what_is_unloaded_during_a_restart_is_not_brought_back():
    world = start_world()
    for number, model in enumerate("mn"):
        world.begin(Change(number, model, (plan(model, 1),)))
    world.run()
    world.kill(0)
    world.start(0)
    world.begin(Change(7, "m"))
    world.run()

    assert world.processes[0].live.keys() == {("n", 1)}


def test_what_is_unloaded_late_in_a_restart_is_taken_away_again():
    world = start_world()
    world.begin(Change(1, "m", (plan("m", 1),)))
    world.run()
    world.kill(0)
    world.start(0)
    world.begin(Change(2, "n", (plan("n", 1),)))
    while world.step(1):
        pass
    first = world.processes[0].inbox[0]
    while ("m", 1) not in world.processes[0].live:
        world.step(0)
    assert isinstance(first, Prepare)
    assert 0 not in world.joined  # it still lacks the version that came meanwhile
    world.begin(Change(3, "m"))
    world.run()

    assert world.processes[0].live.keys() == {("n", 1)}


def test_a_process_in_a_restart_never_serves_what_was_replaced_meanwhile():
    world = start_world()
    world.begin(Change(1, "m", (plan("m", 1, "old"),)))
    world.run()
    world.kill(0)
    world.start(0)
    world.begin(Change(2, "m", (plan("m", 1, "new"),)))
    while world.step(1):
        pass
    seen = set()
    while world.step(0):
        seen |= {p.fingerprint for p in world.processes[0].live.values()}

    assert seen == {"m-1-new"}


def test_a_process_that_cannot_open_again_what_is_live_serves_without_it_until_the_next_load():
    world = start_world()
    world.begin(Change(1, "m", (plan("m", 1),)))
    world.run()
    world.kill(0)
    world.start(0)
    world.processes[0].receive()
    world.processes[0].finish_preparing(next(iter(world.processes[0].preparing)), failing=True)
    world.run()
    assert world.lacking[0] == {("m", 1)}
    assert world.two_phase_commit.lacking == {("m", 1): {0: "broken"}}
    assert world.two_phase_commit.holders(("m", 1)) == 1
    assert 0 in world.joined

    world.begin(Change(2, "m", (plan("m", 1),), together=True))
    world.run()

    assert world.processes[0].live == {("m", 1): plan("m", 1)}
    assert world.two_phase_commit.lacking == {}
    assert isinstance(
        world.two_phase_commit.begin(Change(3, "m", (plan("m", 1),), together=True))[0], Settled
    )


def test_loading_what_is_live_already_does_nothing():
    world = start_world()
    world.begin(Change(1, "m", (plan("m", 1),)))
    world.run()

    actions = world.two_phase_commit.begin(change := Change(2, "m", (plan("m", 1),), together=True))

    assert actions == [Settled(change), Drained(change, ())]


def test_old_versions_stay_while_a_new_one_fails_and_go_when_it_works():
    world = start_world(1)
    world.begin(Change(1, "m", (plan("m", 1),)))
    world.run()
    world.begin(Change(2, "m", (plan("m", 2),)))
    world.processes[0].receive()
    world.processes[0].finish_preparing(next(iter(world.processes[0].preparing)), failing=True)
    world.run()
    assert world.processes[0].live.keys() == {("m", 1)}

    world.begin(Change(3, "m", (plan("m", 2),)))
    world.run()

    assert world.processes[0].live.keys() == {("m", 2)}
    assert world.settled[3].retired == (("m", 1),)


def test_an_old_version_stays_while_one_of_its_two_successors_fails():
    world = start_world(1)
    world.begin(Change(1, "m", (plan("m", 1),)))
    world.run()
    world.begin(Change(2, "m", (plan("m", 2), plan("m", 3))))
    world.processes[0].receive()
    world.processes[0].finish_preparing(next(iter(world.processes[0].preparing)), failing=True)
    world.run()

    assert world.processes[0].live.keys() == {("m", 1), ("m", 3)}


def test_where_versions_stand_alone_the_good_ones_go_live():
    world = start_world(1)
    world.begin(Change(1, "m", (plan("m", 1), plan("m", 2))))
    world.processes[0].receive()
    world.processes[0].finish_preparing(next(iter(world.processes[0].preparing)), failing=True)
    world.run()

    assert world.settled[1] == Settled(world.begun[1], (("m", 2),), (), ((("m", 1), "broken"),))


def test_an_unload_takes_every_version_and_drains():
    world = start_world()
    world.begin(Change(1, "m", (plan("m", 1), plan("m", 2))))
    world.run()
    world.begin(Change(2, "m"))
    world.run()

    assert set(world.settled[2].retired) == {("m", 1), ("m", 2)}
    assert all(not p.live for p in world.processes.values())
    assert 2 in world.drained


def test_a_callers_load_goes_before_the_start_up_pass():
    world = start_world(1)
    for number in range(5):
        world.begin(Change(number, f"m{number}", (plan(f"m{number}", 1),)))
    world.begin(Change(9, "urgent", (plan("urgent", 1),), together=True))
    order = [message.plans[0].model for message in world.processes[0].inbox]
    world.run()

    assert order == ["m0", "m1"]  # two at a time
    assert list(world.settled).index(9) < 4


def test_without_a_process_a_load_waits_and_an_unload_does_not():
    world = World()
    world.begin(Change(1, "m", (plan("m", 1),)))
    assert 1 not in world.settled
    world.begin(Change(2, "n"))
    assert 2 in world.settled

    world.start(0)
    world.run()

    assert world.settled[1].live == (("m", 1),)


class AnythingHappens(RuleBasedStateMachine):
    """Loads, unloads, failures, deaths and restarts come in any order.

    Every message may be delivered at any moment.
    """

    def __init__(self) -> None:
        super().__init__()
        self.world = start_world()
        self.next_id = 0

    @rule(
        model=st.sampled_from("mno"),
        versions=st.sets(st.integers(1, 3), max_size=2),
        content=st.sampled_from("ab"),
        together=st.booleans(),
        replaces=st.booleans(),
        retries=st.integers(0, 1),
    )
    def begin(self, model, versions, content, together, replaces, retries):
        if any(
            c.model == model and c.id not in self.world.settled for c in self.world.begun.values()
        ):
            return  # the caller begins one change of a model at a time
        self.next_id += 1
        plans = tuple(plan(model, version, content) for version in sorted(versions))
        self.world.begin(
            Change(self.next_id, model, plans, together, replaces or not plans, retries)
        )

    @rule(slot=st.integers(0, 2))
    def start(self, slot):
        if slot not in self.world.processes:
            self.world.start(slot)

    @precondition(lambda self: self.world.processes)
    @rule(slot=st.integers(0, 2))
    def kill(self, slot):
        if slot in self.world.processes:
            self.world.kill(slot)

    @precondition(lambda self: self.world.processes)
    @rule(slot=st.integers(0, 2), failing=st.booleans(), what=st.integers(0, 3))
    def happen(self, slot, failing, what):
        process = self.world.processes.get(slot)
        if process is None:
            return
        if what == 0 and process.inbox:
            process.receive()
        elif what == 1 and process.preparing:
            process.finish_preparing(max(process.preparing), failing)
        elif what == 2 and process.answers:
            self.world.answer(slot)
        else:
            self.world.step(slot, failing)

    @invariant()
    def no_process_serves_what_was_never_committed(self):
        assert len(self.world.settled) <= len(self.world.begun)
        for slot, process in self.world.processes.items():
            if process.idle() and slot in self.world.joined:
                lacking = self.world.lacking.get(slot, set())
                committed = self.world.two_phase_commit.committed
                assert {k: p for k, p in committed.items() if k not in lacking} == {
                    k: p for k, p in process.live.items() if k not in lacking
                }

    def teardown(self):
        """Checks that each change is over once, processes agree and nothing is left prepared."""
        for slot in range(2):
            self.start(slot)
        self.world.run()
        assert self.world.settled.keys() == self.world.begun.keys()
        assert self.world.drained >= {
            c for c, settled in self.world.settled.items() if settled.live or settled.retired
        }
        for slot, process in self.world.processes.items():
            assert process.idle()
            assert not process.prepared, "prepared and forgotten"
            assert slot in self.world.joined
        self.no_process_serves_what_was_never_committed()


TestAnythingHappens = AnythingHappens.TestCase
TestAnythingHappens.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)
