"""``python -m pskernel.cli``: the command, where the script is not on the path."""

from pskernel.cli.app import main

main()
