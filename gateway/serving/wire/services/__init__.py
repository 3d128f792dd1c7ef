"""What each RPC does: bytes in, bytes out, over the parts that assembly hands in."""
