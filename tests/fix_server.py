"""The name under which `fix_process` began."""

from fix_process import NewServer, Reply, Server, new_server, server, until

__all__ = ["NewServer", "Reply", "Server", "new_server", "server", "until"]
