"""Circuit breakers: a version or instance that fails is left alone for a while."""
