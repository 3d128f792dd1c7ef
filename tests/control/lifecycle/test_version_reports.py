"""Since when versions stand as they do, and what a look at the repository changed."""

from gateway.control.lifecycle.fleet import Fleet
from gateway.control.lifecycle.model_record import ModelRecord
from gateway.control.lifecycle.version_reports import VersionReports, changed
from gateway.control.models.sources.source import SourceModel
from gateway.core.plan import VersionPlan
from gateway.ipc.repository_index import IndexEntry, VersionReport, VersionState


class World:
    """A clock that the test moves, and a fleet in which plans are live."""

    def __init__(self):
        self.now_s = 100.0
        self.fleet = Fleet(concurrent_loads=1)
        self.reports = VersionReports(self.fleet, lambda: self.now_s)

    def make_live(self, version, digest):
        plan = VersionPlan("m", version, "", digest, (), (), digest=digest)
        self.fleet._two_phase_commit.committed[plan.key] = plan


def record(**fields):
    return ModelRecord("m", SourceModel("m", (1,)), wanted=True, fingerprint="f", **fields)


def facts(reports):
    return [(each.entry.version, each.entry.state, each.since_s, each.digest) for each in reports]


def test_a_version_stands_so_since_its_state_changed_and_not_since_it_was_looked_at():
    world = World()
    world.make_live(1, "one")
    one = record(live={1})
    world.reports.note(one)
    world.now_s = 200.0
    assert facts(world.reports.all([one])) == [("1", VersionState.READY, 100.0, "one")]
    one.live = set()
    one.gone = {1}
    world.fleet._two_phase_commit.committed.clear()
    world.reports.note(one)
    world.now_s = 300.0
    assert facts(world.reports.all([one])) == [("1", VersionState.UNAVAILABLE, 200.0, "")]


def test_other_files_under_the_same_version_are_another_version():
    world = World()
    world.make_live(1, "one")
    one = record(live={1})
    before = world.reports.all([one])
    world.now_s = 200.0
    world.make_live(1, "two")
    after = world.reports.all([one])
    assert facts(after) == [("1", VersionState.READY, 200.0, "two")]
    assert changed(before, after) == after
    assert changed(after, world.reports.all([one])) == ()


def test_versions_of_a_model_that_was_removed_are_told_without_a_state():
    before = (VersionReport(IndexEntry("m", "2", VersionState.READY), 1.0, "two", 2),)
    (gone,) = changed(before, ())
    assert gone.entry == IndexEntry("m", "2", None, "removed from the repository")


def test_a_model_that_is_forgotten_and_comes_again_stands_so_since_it_came_again():
    world = World()
    one = record(live={1})
    world.reports.note(one)
    world.reports.forget("m")
    assert repr(world.reports) == "<VersionReports of 0 versions>"
    world.now_s = 200.0
    assert facts(world.reports.all([one])) == [("1", VersionState.READY, 200.0, "")]


def test_versions_are_in_the_order_of_their_numbers():
    after = [VersionReport(IndexEntry("m", n, VersionState.READY), 1.0) for n in ("9", "10")]
    assert [each.entry.version for each in changed((), after)] == ["9", "10"]
