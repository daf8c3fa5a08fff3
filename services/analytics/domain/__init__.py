"""What the figures are, and the facts they come from."""
