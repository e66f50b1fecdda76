"""The queue: the `jobs` table, who may run when, and the HTTP API over it. Knows neither Dagster nor ffmpeg."""
