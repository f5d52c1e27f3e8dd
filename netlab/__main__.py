"""Run the command line as ``python -m netlab``, also where another project has put its own ``netlab`` into PATH."""

from netlab.cli import main

main()
