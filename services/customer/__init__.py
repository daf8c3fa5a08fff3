"""Who we sell to: customers, the people there, and the leads that may become customers."""
