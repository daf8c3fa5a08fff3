"""One method per rpc, each one transaction, told in order."""
