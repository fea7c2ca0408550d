"""The options of a target."""

from pskernel.options.container import ENGINES
from pskernel.options.ssh import is_pipe_name
from pskernel.options.table import CREDENTIAL_ADVICE, OptionInfo, Options, check_option, describe, read_options

__all__ = [
    "CREDENTIAL_ADVICE",
    "ENGINES",
    "OptionInfo",
    "Options",
    "check_option",
    "describe",
    "is_pipe_name",
    "read_options",
]
