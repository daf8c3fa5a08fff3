"""What the platform costs, beside what the same work costs without it."""
