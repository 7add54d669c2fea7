"""E-mail: telling people that a question waits for them, or that nobody has answered one."""
