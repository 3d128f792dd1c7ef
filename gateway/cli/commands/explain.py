"""`gateway explain`: the command line shows what the requests of each model go through."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any, NoReturn

from gateway.assembly.predictor_stack import ProcessContext, VersionInstances, build_stack
from gateway.cli.command_errors import FAILED, CommandError
from gateway.cli.options.arguments import add_option
from gateway.cli.parser import nearest
from gateway.cli.reports.protection_report import local_text, remote_texts
from gateway.cli.reports.repository_check import ExaminedModel, examine
from gateway.core.plan import VersionPlan
from gateway.core.predictor import Description
from gateway.serving.policies.admission.admission import Room
from gateway.serving.policies.breaker.circuit_breaker import CircuitBreaker

DESCRIPTION = """\
Shows what the requests of each model go through: the tree of predictors that its configuration \
builds, outermost first, and what runs it."""

EXAMPLES = """\
examples:
  gateway explain models
  gateway explain models digits
  gateway explain models digits --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "folder",
        metavar="PATH",
        help="a model file, a model's folder, or a folder of models",
    )
    parser.add_argument("models", metavar="MODEL", nargs="*", help="only these [default: all]")
    parser.add_argument("--json", action="store_true", help="the trees, as JSON")
    add_option(parser, "name")
    add_option(parser, "cache_dir", "where findings are kept")


def run(arguments: argparse.Namespace) -> int:
    """Prints a tree for each version that would be live.

    Raises `CommandError` where a model asked for has none.
    """
    examined = examine([arguments.folder], arguments.name, arguments.cache_dir)
    names = [model.found.name for model in examined.models]
    if unknown := [name for name in arguments.models if name not in names]:
        raise CommandError(
            [
                f"there is no model '{name}' in {arguments.folder}{nearest(name, names)}"
                for name in unknown
            ]
        )
    wanted = [model for model in examined.models if model.found.name in (arguments.models or names)]
    show = _json if arguments.json else _text
    print(asyncio.run(show(wanted)), flush=True)
    if faults := (
        tuple(fault for model in wanted for fault in model.faults)
        if arguments.models
        else examined.faults
    ):
        raise CommandError(faults, FAILED)
    return 0


async def _json(models: list[ExaminedModel]) -> str:
    """The tree of each version that would be live, or why there is none."""
    versions = []
    for plan in (one.plan for model in models for one in model.versions if one.plan is not None):
        node = described(plan)
        shown = {"fault": node} if isinstance(node, str) else {"tree": _node(node)}
        versions.append({"model": plan.model, "version": plan.version, **shown})
    return json.dumps({"versions": versions}, indent=2)


def _node(node: Description) -> dict[str, Any]:
    inner = [_node(each) for each in node.inner]
    return {"name": node.name, "detail": node.detail, "inner": inner}


async def _text(models: list[ExaminedModel]) -> str:
    """A text for each version that would be live, and for each model that is skipped."""
    blocks: list[str] = []
    for model in models:
        if model.found.skipped:
            blocks.append(f"{model.found.name} is skipped: {model.found.skipped}")
        blocks += [
            "\n".join(tree(version.plan)) for version in model.versions if version.plan is not None
        ]
    return "\n\n".join(blocks)


def tree(plan: VersionPlan) -> list[str]:
    """The predictors of a version, one a line, outermost first, and below them what runs it."""
    name = f"{plan.model} version {plan.version}"
    node = described(plan)
    if isinstance(node, str):
        return [f"{name}  cannot be served: {node}"]
    return Description(name, "", node).lines()


def described(plan: VersionPlan) -> Description | str:
    """The predictors of a version, outermost first, and what runs it; or why it cannot be served.

    Needs a running event loop.
    """
    unused: Any = _Unused()
    in_threads = (
        plan.protection.local and plan.protection.workers is None and not plan.protection.remotes
    )
    instances = VersionInstances(unused, unused if in_threads else None)
    breaker = CircuitBreaker(plan.model, plan.protection.breaker, time.monotonic, unused)
    context = ProcessContext(
        processes=1, global_limit=Room("the gateway", 0, 0), targets=unused, on_event=unused
    )
    try:
        stack = build_stack(plan, instances, breaker, unused, context).outermost
    except ValueError as error:  # a fallback that cannot be made
        return str(error)
    node = stack.describe()
    _innermost(node).inner = tuple(_runners(plan))
    return node


def _innermost(node: Description) -> Description:
    while node.inner:
        node = node.inner[-1]
    return node


def _runners(plan: VersionPlan) -> Iterator[Description]:
    """All that may run a batch of the version."""
    if plan.protection.local:
        yield Description("Workers" if plan.protection.workers else "Session", local_text(plan))
    yield from (Description("Remote", text) for text in remote_texts(plan))


class _Unused:
    """Stands where a served version has its session, threads and counters.

    They are not needed, because nothing is predicted here.
    """

    max_concurrency = 1
    unreachable = None

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{name}: nothing runs where a stack is only shown. This is a bug.")
