"""Analytics: what it all means."""
