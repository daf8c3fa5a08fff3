"""What an organization, its people, teams, roles, sessions and keys are, and what may happen to them."""
