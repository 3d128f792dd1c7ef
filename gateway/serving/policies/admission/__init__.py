"""Who is let in: limits on requests in flight and on their bytes, and quotas by caller."""
