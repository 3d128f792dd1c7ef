"""What can be wrong with a model before it serves; raised in the control process.

The texts are for people who keep the repository::

    RepositoryFault
    ├── OnnxFileFault   the model file, or the files it refers to
    └── PlanFault       configuration and graph disagree, or the graph cannot be served
"""

from __future__ import annotations


class RepositoryFault(ValueError):
    """A model cannot be served as it stands in the repository."""


class OnnxFileFault(RepositoryFault):
    """The model file, or a file that it refers to, is missing, broken, or out of bounds."""


class PlanFault(RepositoryFault):
    """The graph cannot be served, or not as it is configured."""
