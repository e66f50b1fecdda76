"""The work: what Dagster sees and what ffmpeg does. Reads and writes jobs only through `jobqueue_bridge`."""
