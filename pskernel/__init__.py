"""PowerShell Remoting from Python: as a library, as a Jupyter kernel, as IPython magics."""

__version__ = "0.1.0.dev0"
