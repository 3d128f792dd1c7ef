"""Which live version answers a request."""
