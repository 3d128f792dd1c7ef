"""The architecture: what stands around what, and why.

`predictor_stack` is what the requests of one version go through; `serving_process`,
`telemetry_process` and `control_process` put one process each together. All of it is plain
construction, with the reason for the order beside the line.
"""
