"""What a setting that can be changed while the gateway runs may be; every process knows it."""

Setting = bool | int | str | tuple[str, ...]
"""The value of a trace or log setting; trace settings may have several.

None, `()`, asks for that of the start.
"""
