"""Several files and folders of models, scanned as one repository by the control process."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.config.control import ModelPath
from gateway.control.models.sources.folder import scan
from gateway.control.models.sources.found import FoundModel, Repository


def scan_paths(
    paths: Sequence[ModelPath], available_providers: Sequence[str]
) -> tuple[Repository, ...]:
    """What each of the paths holds, in their order."""
    return tuple(
        scan(path.path, path.name or None, available_providers=available_providers)
        for path in paths
    )


def merged(repositories: Sequence[Repository]) -> Repository:
    """All as one; of two models with the same name the first is kept, which is a warning."""
    if len(repositories) == 1:
        return repositories[0]
    models: dict[str, FoundModel] = {}
    warnings: list[str] = []
    for repository in repositories:
        warnings += filter(None, (repository.fault, *repository.warnings))
        for model in repository.models:
            if (first := models.setdefault(model.name, model)) is not model:
                warnings.append(
                    f"the model in {model.folder} is not served: {first.folder} has one that is "
                    f"called '{model.name}' too; give one another name, NAME=PATH"
                )
    ascending = tuple(models[name] for name in sorted(models))
    fault = "" if ascending else "; ".join(found.fault for found in repositories)
    return Repository(repositories[0].root, ascending, fault, tuple(warnings))
