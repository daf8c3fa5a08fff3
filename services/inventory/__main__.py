"""`python -m services.inventory`: the inventory service as a process."""

from services.inventory.service import SERVICE

if __name__ == "__main__":
    SERVICE.main()
