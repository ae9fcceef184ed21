"""What is paid for more than is needed: usage, sizes, reservations and storage."""
