"""The API in this process; `server` of the folder above is one in a process of its own."""

from fix_api import api

__all__ = ["api"]
