"""Worker processes: sessions of one version in child processes of a serving process.

A model that crashes, hangs or grows there takes nothing else with it. Nothing is imported here: a
worker process imports this package first, and only what it needs of it.
"""
