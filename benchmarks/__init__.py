"""Side-by-side runs of Gnomon against peers: `python -m benchmarks.NAME [--quick] [--json]`.

Each module measures one promise and states its method in its header; nothing here is part of the installed package.
"""
