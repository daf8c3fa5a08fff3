"""The audit trail: facts read back, what changed nothing and is on record, and chains that show tampering."""
