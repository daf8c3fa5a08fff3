"""What can be asked of access, one file per noun."""
