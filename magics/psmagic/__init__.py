"""The IPython side of pskernel: ``%enter_pssession`` and its family are not part of this version yet."""
