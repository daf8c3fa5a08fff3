"""Runs the contract service: `python -m services.contract`."""

from services.contract.service import SERVICE

if __name__ == "__main__":
    SERVICE.main()
