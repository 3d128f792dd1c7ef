"""One protection a file, each a Predictor around a Predictor."""
