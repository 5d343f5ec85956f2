"""The programs that we are compared with, each a process of its own."""
