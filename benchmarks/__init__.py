"""How fast it is: scripts that print a table of figures; see ``benchmarks/README.md``."""
