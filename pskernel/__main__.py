"""``python -m pskernel``: the kernel's process."""

from pskernel.kernel.app import main

main()
