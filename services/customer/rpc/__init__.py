"""What can be asked of the customer service, one file per noun."""
