"""The words that everything else speaks: requests, predictions, predictors, plans, errors."""
