"""Small programs that run inside hosts, with the standard library only."""
