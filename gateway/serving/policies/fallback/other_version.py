"""The link of a fallback chain that asks another version, live in the same serving process.

It is one of the same model, or of another model with the same interface.
"""

from __future__ import annotations

from typing import Final, Protocol

from gateway.core.plan import TensorSpec, VersionPlan
from gateway.core.protection import FallbackLink
from gateway.core.request import InferenceRequest, Prediction, RequestForm
from gateway.protocol.signature import fits, shape_text
from gateway.serving.policies.fallback.fallback import LinkFailed
from gateway.serving.policies.fallback.output_tensors import check_shape

_MAX_FORMS: Final = 128  # translations remembered of one pair of versions


class Target(Protocol):
    """A live version, asked without its own fallback.

    A chain that led into another could lead back.
    """

    @property
    def plan(self) -> VersionPlan:
        """The version's plan; the same object as long as it is live."""
        ...

    async def predict(self, request: InferenceRequest) -> Prediction:
        """The version's answer; it is not closed while somebody is inside."""
        ...


class Resolver(Protocol):
    """Knows the live versions."""

    def resolve(self, model: str, version: int, besides: tuple[str, int]) -> Target:
        """The version, or where that is 0 the model's newest live one that is not `besides`.

        A GatewayError where there is none.
        """
        ...


class OtherVersion:
    """Passes a request on to another version, if that accepts it and answers in the same form."""

    def __init__(self, plan: VersionPlan, link: FallbackLink, resolver: Resolver) -> None:
        self.plan = link
        self._asked = plan
        self._resolver = resolver
        self._translation: Translation | None = None

    async def answer(self, request: InferenceRequest) -> Prediction:
        """The other version's answer.

        Raises what it raises, and LinkFailed where it is not live or its interface is another.
        """
        asked = self._asked
        translation = self._translation
        target = self._resolver.resolve(
            self.plan.model or asked.model, max(self.plan.version, 0), asked.key
        )
        other = target.plan
        if other.key == asked.key:
            raise LinkFailed("it is the version that failed")
        if translation is None or translation.other is not other:
            translation = Translation(asked, other)
            self._translation = translation
        prediction = await target.predict(translation.request(request))
        translation.check(request, prediction)
        served_by = (
            f"version {other.version}"
            if other.model == asked.model
            else f"model {other.model} version {other.version}"
        )
        return Prediction(
            prediction.outputs, {**(prediction.parameters or {}), "served_by": served_by}
        )

    def __repr__(self) -> str:
        return f"<OtherVersion {self.plan.name}>"


class Translation:
    """Turns requests to one version into requests to another."""

    def __init__(self, asked: VersionPlan, other: VersionPlan) -> None:
        self._asked = asked
        self.other = other
        self.fault = interface_fault(asked, other)
        self._inputs = {spec.name: (place, spec) for place, spec in enumerate(other.inputs)}
        self._outputs = {spec.name: place for place, spec in enumerate(other.outputs)}
        self._batched = other.batching.max_batch_size > 0
        # By identity, which holds as long as the form is kept: requests of one layout share theirs.
        self._forms: dict[int, tuple[RequestForm, RequestForm, tuple[int, ...]]] = {}

    def request(self, request: InferenceRequest) -> InferenceRequest:
        """The same request to the other version; raises LinkFailed where that does not take it."""
        known = self._forms.get(id(request.form))
        if known is None:
            known = self._learn(request)
        _, form, order = known
        return InferenceRequest(
            form,
            tuple([request.inputs[i] for i in order]),
            request.arrived,
            request.deadline,
            request.id,
            request.parent or request,
        )

    def check(self, request: InferenceRequest, prediction: Prediction) -> None:
        """Raises LinkFailed where the other version's answer does not fit.

        It must be one that the asked version could have given.
        """
        rows = request.form.rows if self._asked.batching.max_batch_size > 0 else -1
        try:
            for index, array in zip(request.form.outputs, prediction.outputs, strict=True):
                check_shape(array.shape, self._asked.outputs[index], rows)
        except ValueError as error:
            raise LinkFailed(str(error)) from None

    def _learn(self, request: InferenceRequest) -> tuple[RequestForm, RequestForm, tuple[int, ...]]:
        if self.fault:
            raise LinkFailed(f"its interface is another: {self.fault}")
        known = request.form, *self._translate(request)
        if len(self._forms) >= _MAX_FORMS:
            self._forms.clear()
        self._forms[id(request.form)] = known
        return known

    def _translate(self, request: InferenceRequest) -> tuple[RequestForm, tuple[int, ...]]:
        """The form, and the places of its inputs among the request's.

        Like those of the other's own requests, so that they share batches.
        """
        form = request.form
        self._check_inputs(request)
        order = tuple(sorted(range(len(form.names)), key=lambda i: self._inputs[form.names[i]][0]))
        shapes = [(form.names[i], request.inputs[i].shape) for i in order]
        translated = RequestForm(
            names=tuple(name for name, _ in shapes),
            key=tuple((name, shape[1:] if self._batched else shape) for name, shape in shapes),
            rows=self._rows([shape for _, shape in shapes]),
            input_bytes=form.input_bytes,
            outputs=self._wanted(form),
            parameters=form.parameters,
            priority=form.priority,
            timeout_s=form.timeout_s,
        )
        return translated, order

    def _check_inputs(self, request: InferenceRequest) -> None:
        names = request.form.names
        for name, array in zip(names, request.inputs, strict=True):
            if name not in self._inputs:
                raise LinkFailed(f"it has no input '{name}'")
            if not fits(array.shape, self._inputs[name][1].shape):
                raise LinkFailed(
                    f"it takes input '{name}' as {shape_text(self._inputs[name][1].shape)}, not as "
                    f"{shape_text(array.shape)}"
                )
        if missing := [
            spec.name for spec in self.other.inputs if not spec.optional and spec.name not in names
        ]:
            raise LinkFailed(f"it wants input '{missing[0]}', which the request has not")

    def _rows(self, shapes: list[tuple[int, ...]]) -> int:
        if not self._batched or not shapes:
            return 1
        batching = self.other.batching
        sizes = {shape[:1] for shape in shapes}
        if len(sizes) > 1 or () in sizes:
            raise LinkFailed("its inputs share a batch axis, and the request's do not")
        rows = shapes[0][0]
        if rows > batching.max_batch_size and not batching.splits:
            raise LinkFailed(
                f"it takes at most {batching.max_batch_size} rows, the request has {rows}"
            )
        return rows

    def _wanted(self, form: RequestForm) -> tuple[int, ...]:
        names = [self._asked.outputs[index].name for index in form.outputs]
        if missing := [name for name in names if name not in self._outputs]:
            raise LinkFailed(f"it has no output '{missing[0]}'")
        return tuple(self._outputs[name] for name in names)

    def __repr__(self) -> str:
        return (
            f"<Translation to {self.other.model} {self.other.version}: "
            f"{self.fault or f'{len(self._forms)} forms'}>"
        )


def interface_fault(asked: VersionPlan, other: VersionPlan) -> str:
    """Why no request to one version can be answered by another.

    Empty where some can (sizes that are free are seen in the request).
    """
    theirs = {spec.name: spec for spec in other.inputs}
    ours = {spec.name for spec in asked.inputs}
    for spec in asked.inputs:
        if spec.name in theirs:
            if fault := _tensor_fault("input", spec, theirs[spec.name]):
                return fault
        elif not spec.optional:
            return f"it has no input '{spec.name}'"
    if missing := [
        spec.name for spec in other.inputs if not spec.optional and spec.name not in ours
    ]:
        return f"it wants input '{missing[0]}'"
    outputs = {spec.name: spec for spec in other.outputs}
    common = [spec for spec in asked.outputs if spec.name in outputs]
    if not common:
        return f"it has no output '{asked.outputs[0].name}'" if asked.outputs else ""
    return next(
        filter(None, (_tensor_fault("output", spec, outputs[spec.name]) for spec in common)), ""
    )


def _tensor_fault(what: str, asked: TensorSpec, other: TensorSpec) -> str:
    if asked.datatype != other.datatype:
        return f"{what} '{asked.name}' is {other.datatype} there, not {asked.datatype}"
    a = asked.shape
    b = other.shape
    if (
        a
        and b
        and (
            len(a) != len(b) or any(x != y and -1 not in (x, y) for x, y in zip(a, b, strict=True))
        )
    ):
        return f"{what} '{asked.name}' is {shape_text(b)} there, not {shape_text(a)}"
    return ""
