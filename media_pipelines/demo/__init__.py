"""`make demo`: a throw-away platform, some videos, and every runnable job type, from a row to a verified file."""
