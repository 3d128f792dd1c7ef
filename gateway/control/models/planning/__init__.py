"""What the control process decides about a version before it is built."""
