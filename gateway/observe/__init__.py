"""What is seen of the running gateway: names, statistics, logs."""
