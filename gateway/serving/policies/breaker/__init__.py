"""Circuit breakers: a version or instance that fails is not used for a while."""
