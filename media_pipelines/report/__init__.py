"""A report on the library, worked out purely from what the database says. No Dagster, no database."""
