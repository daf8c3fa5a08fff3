"""Runs the customer service: `python -m services.customer`."""

from services.customer.service import SERVICE

if __name__ == "__main__":
    SERVICE.main()
