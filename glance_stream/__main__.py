"""``python -m glance_stream`` is the command ``glance-stream``."""

from glance_stream.cli import main

if __name__ == "__main__":
    main()
