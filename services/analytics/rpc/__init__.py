"""How reports are asked and answered."""
