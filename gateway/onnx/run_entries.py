"""Which configuration entries ONNX Runtime takes with each run, and not when it opens a model.

Asked in every process; nothing here imports ONNX Runtime, which would ignore such an entry among
those of a session without a word.
"""

from __future__ import annotations

from typing import Final

_RUN_ENTRIES: Final = frozenset({
    "memory.enable_memory_arena_shrinkage",
    "disable_synchronize_execution_providers",
    "gpu_graph_id",
})  # fmt: skip
"""The names in onnxruntime_run_options_config_keys.h, but for those of one provider."""
_QNN: Final = "qnn."


def is_run_entry(key: str) -> bool:
    """Whether the entry is one of a run's."""
    return key in _RUN_ENTRIES or key.startswith(_QNN)
