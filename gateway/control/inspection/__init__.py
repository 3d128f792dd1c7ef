"""Inspection of model versions, asked for by the control process.

Each version is opened, tried and measured once in an inspection process, before any serving process
opens it.
"""
