"""The gRPC side: transports and services."""
