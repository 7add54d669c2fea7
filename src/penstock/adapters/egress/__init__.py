"""What a process may connect to: hosts and networks that are listed, and nothing else.

targets.py   what is listed, and whether a host or an address is
guard.py     the list in force, with what its names have led to
hook.py      where Python's own sockets are held to it
"""
