"""What customers, contacts and leads are, and what may happen to them."""
