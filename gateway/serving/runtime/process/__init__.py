"""Worker processes.

Sessions of one version in child processes, so that a model that crashes, hangs or
grows takes nothing else with it.

Nothing is imported here: a worker process imports this package first, and only what it needs of it.
"""
