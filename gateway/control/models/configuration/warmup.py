"""What runs before a version is live, planned in the main process from the configuration.

Serving processes, worker processes and the inspection process then run it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.config.typed_yaml import did_you_mean
from gateway.control.models.configuration.configuration import ModelConfiguration
from gateway.control.models.configuration.tensor_configuration import WarmupRequest, WarmupTensor
from gateway.core.plan import BatchingPlan, Findings, TensorSpec, WarmupInput
from gateway.onnx.model_faults import PlanFault


def trial_inputs(
    configuration: ModelConfiguration, files: Mapping[str, str]
) -> tuple[WarmupInput, ...]:
    """The first configured request, as far as it says datatypes and shapes by itself.

    For trial inputs made before the graph is known.
    """
    request = next(iter(configuration.warmup or ()), WarmupRequest())
    return tuple(
        WarmupInput(
            name, given.datatype, given.shape, _source(given, files), rows=request.batch_size
        )
        for name, given in request.inputs.items()
        if given.datatype is not None and given.shape is not None
    )


def warmup_batch_sizes(batching: BatchingPlan, findings: Findings) -> tuple[int, ...]:
    """The sizes that batches will have: powers of two up to what is useful, and the padded ones.

    Empty where no trial run succeeded.
    """
    if not findings.cost_us:
        return ()
    if batching.max_batch_size == 0:
        return (1,)
    useful = batching.useful_batch_size
    sizes = {1 << power for power in range(useful.bit_length())} | {useful, *batching.pad_to}
    if batching.pad_to:
        sizes = {size for size in sizes if size in batching.pad_to or size > batching.pad_to[-1]}
    return tuple(sorted(sizes))


def warmup_inputs(
    requests: Sequence[WarmupRequest],
    inputs: Sequence[TensorSpec],
    files: Mapping[str, str],
    *,
    batched: bool,
) -> tuple[tuple[WarmupInput, ...], ...]:
    """The configured requests, each as often as it is to run.

    `files`: paths by the names that the configuration has for them. Raises `PlanFault`.
    """
    planned: list[tuple[WarmupInput, ...]] = []
    for index, request in enumerate(requests):
        what = f"warmup '{request.name}'" if request.name else f"warmup[{index}]"
        names = [spec.name for spec in inputs]
        for name in request.inputs:
            if name not in names:
                raise PlanFault(
                    f"{what} gives the input '{name}', which the model does not "
                    f"have{did_you_mean(name, names)}"
                )
        wanted = [spec for spec in inputs if spec.name in request.inputs or not spec.optional]
        planned += [
            tuple(_warmup_input(request, spec, what, files, batched=batched) for spec in wanted)
        ] * request.count
    return tuple(planned)


def _warmup_input(
    request: WarmupRequest, spec: TensorSpec, what: str, files: Mapping[str, str], *, batched: bool
) -> WarmupInput:
    given = request.inputs.get(spec.name)
    if given is None:
        raise PlanFault(f"{what} lacks the input '{spec.name}'")
    if given.datatype not in (None, spec.datatype):
        raise PlanFault(
            f"{what} gives '{spec.name}' as {given.datatype}, but the model has {spec.datatype}"
        )
    shape = _warmup_shape(given, spec, what, batched=batched)
    return WarmupInput(
        spec.name, spec.datatype, shape, _source(given, files), rows=request.batch_size
    )


def _warmup_shape(
    given: WarmupTensor, spec: TensorSpec, what: str, *, batched: bool
) -> tuple[int, ...]:
    """The shape of a row that is given, else the model's own; raises `PlanFault`."""
    expected = spec.shape[1:] if batched else spec.shape
    shape = expected if given.shape is None else given.shape
    if -1 in shape:
        raise PlanFault(
            f"{what} must give a shape for '{spec.name}', whose own, "
            f"{list(expected)}, has free sizes"
        )
    if len(shape) != len(expected) or any(
        want not in (-1, got) for got, want in zip(shape, expected, strict=True)
    ):
        raise PlanFault(
            f"{what} gives '{spec.name}' the shape {list(shape)}, but "
            f"the model has {list(expected)}"
        )
    return shape


def _source(given: WarmupTensor, files: Mapping[str, str]) -> str:
    return files[given.file] if given.file else given.data or "zero"
