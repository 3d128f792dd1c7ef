"""The architecture: what stands around what, and why.

`stack` is what one version's requests go through, `serving` is one serving process around many of
them, `gateway` is the main process around all serving processes. Each is plain construction, with
the reason for the order beside the line.
"""
