"""`make bench`: what we promise, measured beside stock Dagster and bare ffmpeg in the same run."""
