"""Who answers when a version cannot: links of a chain, tried in order."""
